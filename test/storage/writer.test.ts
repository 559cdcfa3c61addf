/** What a writer does about others, and about whatever is where its lock is to be. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { PasswordFile } from '../../src/password-file.js';
import { systemDisk } from '../../src/storage/disk.js';
import { expectOnly } from '../support/directory.js';
import { DISK_FUNCTIONS, diskCalls } from '../support/disk-calls.js';
import { HASH, hold, newFile, OTHER_WRITER, quick } from '../support/password-file.js';
import { deadName, livingName, nonce } from '../support/temp-files.js';

let directory: string;
let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ directory, path, file } = newFile());
});

describe('an edit that cannot acquire the lock', () => {
  const hasty = () => new PasswordFile(path, { ...quick, lock: { timeout: 50 } });

  test.each([
    ['file', () => writeFileSync(`${path}.writer`, 'notes')],
    ['symbolic link', () => symlinkSync(directory, `${path}.writer`)],
  ])('because of a %s in the place of the lock directory fails, and says so', async (_kind, make) => {
    make();
    await expect(file.setHash('alice', HASH)).rejects.toMatchObject({
      code: 'ERR_NOT_REPLACEABLE',
      message:
        `${path} cannot be edited, because ${path}.writer is a file or a link, and writers need that name for a ` +
        'directory. Remove it if nobody needs it, then repeat the call.',
    });
    expectOnly(directory, 'passwd.writer');
  });

  test('because of an unknown file in it waits, then fails with ERR_LOCK_TIMEOUT and names the file', async () => {
    await hold(path);
    await expect(hasty().setHash('alice', HASH)).rejects.toMatchObject({
      code: 'ERR_LOCK_TIMEOUT',
      message: expect.stringMatching(
        new RegExp(
          `^Waited \\d+ ms to write ${path}, and nothing was changed: ${path}\\.writer holds "${OTHER_WRITER}", ` +
            'which no writer of this library made\\. Remove it if nobody needs it\\.$',
        ),
      ),
    });
  });

  test('because of another writer reports what the name of its temp file says, and the time that it waited', async () => {
    mkdirSync(`${path}.writer`);
    const forged = `${nonce(1)}.1.5.00000000-0000-0000-0000-000000000000-4026531999`;
    writeFileSync(join(`${path}.writer`, forged), '');
    const started = performance.now();
    const error: Error = await hasty()
      .setHash('alice', HASH)
      .then(
        () => expect.unreachable(),
        reason => reason,
      );
    const passed = performance.now() - started;
    expect(error.message).toContain('Its name says process 1 in pid namespace 4026531999.');
    const [, waited] = /^Waited (\d+) ms /.exec(error.message) ?? [];
    expect(Number(waited)).toBeGreaterThanOrEqual(50);
    expect(Number(waited)).toBeLessThanOrEqual(Math.ceil(passed));
  });

  const isAcquiring = (name: string, [, to]: readonly unknown[]) =>
    name === 'rename' && String(to).endsWith('.writer');
  const isCommitting = (name: string, [, to]: readonly unknown[]) =>
    name === 'rename' && !String(to).endsWith('.writer');

  test.each<[what: string, message: string, windows: boolean, fail: typeof diskCalls.fail]>([
    [
      'because others acquire it first each time',
      'other writers were quicker each time. Try again, or allow more time (in the library with lock.timeout).',
      false,
      (name, args) => (isAcquiring(name, args) ? 'ENOTEMPTY' : undefined),
    ],
    [
      'because others remove its candidate directory each time',
      'other writers were quicker each time. Try again, or allow more time (in the library with lock.timeout).',
      false,
      (name, args) => (isAcquiring(name, args) ? 'ENOENT' : undefined),
    ],
    [
      'because this user may not read the lock directory',
      'this user may not read PATH.writer. Give the writers a group of their own.',
      false,
      (name, args) => (isAcquiring(name, args) ? 'ENOTEMPTY' : name === 'list' ? 'EACCES' : undefined),
    ],
    [
      'or commit because the password file is open all the time on Windows',
      'another process has it open all the time, or it is read-only. Change that.',
      true,
      (name, args) => (isCommitting(name, args) ? 'EPERM' : undefined),
    ],
  ])('%s fails with ERR_LOCK_TIMEOUT, and says what to do', async (_what, message, windows, fail) => {
    Object.assign(systemDisk, { windows });
    onTestFinished(() => void Object.assign(systemDisk, { windows: process.platform === 'win32' }));
    diskCalls.fail = fail;
    const error: Error = await hasty()
      .setHash('alice', HASH)
      .then(
        () => expect.unreachable(),
        reason => reason,
      );
    expect(error).toMatchObject({ code: 'ERR_LOCK_TIMEOUT' });
    expect(error.message.replace(/^Waited \d+ ms/, '').replaceAll(path, 'PATH')).toBe(
      ` to write PATH, and nothing was changed: ${message}`,
    );
  });
});

describe('the temp file of a writer of another host', () => {
  const foreign = `${nonce(1)}.1.5.00000000-0000-0000-0000-000000000000-4026531999`;
  const minutesAgo = (minutes: number) => Date.now() / 1000 - 60 * minutes;
  function leave(directory: string, age: number): void {
    mkdirSync(directory);
    writeFileSync(join(directory, foreign), '');
    utimesSync(join(directory, foreign), minutesAgo(age), minutesAgo(age));
  }

  test.each([
    [61, 'removed', []],
    [59, 'kept', [`passwd.${nonce(1)}.writer`]],
  ])('in a candidate directory, %i minutes old, is %s', async (age, _what, left) => {
    leave(`${path}.${nonce(1)}.writer`, age);
    await file.setHash('alice', HASH);
    expectOnly(directory, 'passwd', ...left);
  });

  test('in the lock directory is not judged by its age, because clocks differ', async () => {
    leave(`${path}.writer`, 600);
    const hasty = new PasswordFile(path, { ...quick, lock: { timeout: 50 } });
    await expect(hasty.setHash('alice', HASH)).rejects.toMatchObject({ code: 'ERR_LOCK_TIMEOUT' });
    expectOnly(`${path}.writer`, foreign);
  });
});

test('the heartbeat of a writer ends when its edit succeeds or fails', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  await file.setHash('alice', HASH);
  diskCalls.fail = name => (name === 'sync' ? 'EIO' : undefined);
  await expect(file.setHash('bob', HASH)).rejects.toMatchObject({ code: 'ERR_WRITE_FAILED' });
  expect(vi.getTimerCount()).toBe(0);
});

describe('planted candidate directories', () => {
  function plant(count: number, name: (n: number) => string | undefined): void {
    for (let n = 0; n < count; n++) {
      const directory = `${path}.${nonce(n)}.writer`;
      mkdirSync(directory);
      const inside = name(n);
      if (inside !== undefined) writeFileSync(join(directory, inside), '');
    }
  }

  test('cost a commit less than 100 calls, however many there are', async () => {
    const callsOfEdit = async (): Promise<number> => {
      let calls = 0;
      diskCalls.before = () => calls++;
      await file.setHash('alice', HASH);
      diskCalls.before = undefined;
      return calls;
    };
    plant(200, n => `not a temp file ${n}`);
    expect(await callsOfEdit()).toBeLessThan(100);
    expect(readdirSync(directory)).toHaveLength(201);
  });

  test('do not keep later commits from removing those of dead writers', async () => {
    plant(80, n => (n % 4 === 0 ? deadName(n) : `not a temp file ${n}`));
    const count = () => readdirSync(directory).length;
    while (count() > 60) await file.update(() => undefined);
    expect(count()).toBe(60);
  });

  test('of living writers are not removed', async () => {
    plant(1, livingName);
    await file.setHash('alice', HASH);
    expectOnly(directory, 'passwd', `passwd.${nonce(0)}.writer`);
  });

  test('that are links are not followed', async () => {
    mkdirSync(join(directory, 'elsewhere'));
    writeFileSync(join(directory, 'elsewhere', deadName(1)), 'not a temp file');
    symlinkSync('elsewhere', `${path}.${nonce(1)}.writer`);
    await file.setHash('alice', HASH);
    expectOnly(join(directory, 'elsewhere'), deadName(1));
    expectOnly(directory, 'elsewhere', 'passwd', `passwd.${nonce(1)}.writer`);
  });
});

/** An edit may succeed although a call fails, if the call makes no difference to it. */
describe.each([false, true])(
  'an edit with a call that fails each time, with the rules of NTFS: %s,',
  windows => {
    const hasty = () => new PasswordFile(path, { ...quick, lock: { timeout: 10 } });
    beforeEach(() => Object.assign(systemDisk, { windows }));
    afterEach(() => Object.assign(systemDisk, { windows: process.platform === 'win32' }));

    /** The outcome of an edit, and the turns of the event loop until it has settled. */
    async function settled(edit: Promise<unknown>): Promise<{ outcome: string; turns: number }> {
      let outcome = '';
      let turns = 0;
      void edit.then(
        value => {
          outcome = String(value);
        },
        error => {
          outcome = error.code ?? String(error);
        },
      );
      for (; outcome === ''; turns++) await turn();
      return { outcome, turns };
    }

    const calls = DISK_FUNCTIONS.flatMap(name =>
      (name === 'rename' ? ['EPERM', 'EACCES', 'EBUSY', 'ENOENT'] : ['EPERM', 'ENOENT']).map(
        code => [name, code] as const,
      ),
    );

    test.each(calls)('%s with %s, settles and yields to the event loop meanwhile', async (name, code) => {
      // The lock is held, or free, or left by a dead writer.
      for (const prepare of [() => undefined, () => hold(path), leaveLock]) {
        await prepare();
        let failed = 0;
        diskCalls.fail = each => (each === name && ++failed > 0 ? code : undefined);
        const { outcome, turns } = await settled(hasty().setHash('alice', HASH));
        diskCalls.fail = undefined;
        expect(outcome).toMatch(
          /^(added|updated|unchanged|ERR_(LOCK_TIMEOUT|NOT_REPLACEABLE|WRITE_FAILED|NOT_DURABLE|OWNERSHIP))$/,
        );
        expect(failed).toBeLessThan(100);
        if (failed > 4) expect(turns).toBeGreaterThan(4);
        rmSync(`${path}.writer`, { recursive: true, force: true });
      }
    });

    test('rejects when its signal aborts', async () => {
      const controller = new AbortController();
      diskCalls.fail = (name, [, to]) =>
        name === 'rename' && String(to).endsWith('.writer') ? (windows ? 'EPERM' : 'ENOENT') : undefined;
      diskCalls.before = name => {
        if (name === 'rename') setImmediate(() => controller.abort('enough'));
      };
      await expect(file.setHash('alice', HASH, { signal: controller.signal })).rejects.toBe('enough');
    });

    function leaveLock(): void {
      mkdirSync(`${path}.writer`);
      writeFileSync(join(`${path}.writer`, deadName(7)), '');
    }
  },
);

describe('an edit whose lock is broken', () => {
  /** Removes the temp file of the current owner of the lock, as a writer does that breaks a lock. */
  function fence(): void {
    for (const name of readdirSync(`${path}.writer`)) rmSync(join(`${path}.writer`, name));
  }

  test('each time fails with ERR_LOCK_TIMEOUT after 16 attempts, and changes nothing', async () => {
    await file.setHash('alice', HASH);
    let attempts = 0;
    diskCalls.before = name => {
      if (name !== 'sync') return;
      attempts++;
      fence();
    };
    await expect(file.setHash('bob', HASH)).rejects.toMatchObject({
      code: 'ERR_LOCK_TIMEOUT',
      message: expect.stringMatching(
        /and nothing was changed: other writers broke its lock again and again\.$/,
      ),
    });
    expect(attempts).toBe(16);
    expect(readFileSync(path, 'utf8')).toBe(`alice:${HASH}\n`);
    expectOnly(directory, 'passwd');
  });

  test('so that calls on its temp file fail, reads the file again, and succeeds', async () => {
    await file.setHash('alice', HASH);
    diskCalls.fail = name => {
      if (name !== 'sync') return undefined;
      diskCalls.fail = undefined;
      fence();
      return 'ESTALE';
    };
    expect(await file.setHash('bob', HASH)).toBe('added');
    expect(await file.users()).toEqual(['alice', 'bob']);
    expectOnly(directory, 'passwd');
  });

  test('once reads the file again, and succeeds', async () => {
    await file.setHash('alice', HASH);
    diskCalls.before = name => {
      if (name !== 'sync') return;
      diskCalls.before = undefined;
      fence();
      writeFileSync(path, `carol:${HASH}\n`);
    };
    expect(await file.setHash('bob', HASH)).toBe('added');
    expect(readFileSync(path, 'utf8')).toBe(`carol:${HASH}\nbob:${HASH}\n`);
  });

  test('once before there is a file succeeds', async () => {
    diskCalls.before = name => {
      if (name !== 'sync') return;
      diskCalls.before = undefined;
      fence();
    };
    expect(await file.setHash('alice', HASH)).toBe('added');
    expect(readFileSync(path, 'utf8')).toBe(`alice:${HASH}\n`);
  });

  test('or rather that of a dead writer before it, by another writer at the same time, succeeds', async () => {
    mkdirSync(`${path}.writer`);
    writeFileSync(join(`${path}.writer`, deadName(7)), '');
    diskCalls.before = name => {
      if (name === 'unlink' && readdirSync(`${path}.writer`).includes(deadName(7))) fence();
    };
    expect(await file.setHash('alice', HASH)).toBe('added');
    expectOnly(directory, 'passwd');
  });
});

test.each(['ENOENT', 'EIO', 'ETIMEDOUT'])(
  'a rename that fails with %s although it happened, as over NFS, is a commit',
  async code => {
    let renames = 0;
    diskCalls.fail = (name, [from, to]) => {
      if (name !== 'rename' || String(to).endsWith('.writer')) return undefined;
      renames++;
      renameSync(String(from), String(to));
      return code;
    };
    expect(await file.setHash('alice', HASH)).toBe('added');
    expect(renames).toBe(1);
    expect(readFileSync(path, 'utf8')).toBe(`alice:${HASH}\n`);
    expectOnly(directory, 'passwd');
  },
);

test.each([
  ['syncDirectory', 'EINVAL', '', false],
  ['syncDirectory', 'ENOTSUP', '', false],
  ['openDirectory', 'EPERM', ' on Windows', true],
])('an edit succeeds if %s fails with %s%s', async (call, code, _where, windows) => {
  Object.assign(systemDisk, { windows });
  onTestFinished(() => void Object.assign(systemDisk, { windows: process.platform === 'win32' }));
  diskCalls.fail = name => (name === call ? code : undefined);
  expect(await file.setHash('alice', HASH)).toBe('added');
  expect(await file.setHash('alice', HASH)).toBe('unchanged');
});

test('an edit whose directory is replaced while it waits for the lock fails and changes neither file', async () => {
  mkdirSync(join(directory, 'auth'));
  const moved = join(directory, 'auth.old');
  const waiting = new PasswordFile(join(directory, 'auth', 'passwd'), quick);
  await waiting.setHash('alice', HASH);
  let pauses = 0;
  diskCalls.fail = (name, [, to]) => {
    if (name !== 'rename' || !String(to).endsWith('/passwd.writer') || pauses++ > 0) return undefined;
    renameSync(join(directory, 'auth'), moved);
    mkdirSync(join(directory, 'auth'));
    copyFileSync(join(moved, 'passwd'), join(directory, 'auth', 'passwd'));
    return 'ENOTEMPTY';
  };
  await expect(waiting.setHash('bob', HASH)).rejects.toMatchObject({
    code: 'ERR_NOT_REPLACEABLE',
    message: expect.stringMatching(
      /another directory has taken the place of its directory meanwhile\. Repeat the call\.$/,
    ),
  });
  for (const each of ['auth', 'auth.old'])
    expect(readFileSync(join(directory, each, 'passwd'), 'utf8')).toBe(`alice:${HASH}\n`);
  expectOnly(moved, 'passwd');
});

test.each([
  [
    'EACCES',
    'ERR_NOT_REPLACEABLE',
    / because this user may not read its directory, or may not make files there\. Give the user both permissions\. The umask must not take those of the owner\.$/,
  ],
  ['EIO', 'ERR_WRITE_FAILED', / was not changed: EIO: /],
])(
  'an edit whose directory cannot be opened, by %s, fails with %s and changes nothing',
  async (fault, code, message) => {
    await file.setHash('alice', HASH);
    diskCalls.fail = name => (name === 'openDirectory' ? fault : undefined);
    await expect(file.setHash('bob', HASH)).rejects.toMatchObject({
      code,
      path,
      message: expect.stringMatching(message),
    });
    expect(readFileSync(path, 'utf8')).toBe(`alice:${HASH}\n`);
    expectOnly(directory, 'passwd');
  },
);

test('an edit that changes nothing fails with ERR_NOT_DURABLE, uncommitted, if the directory cannot be synced', async () => {
  await file.setHash('alice', HASH);
  diskCalls.fail = name => (name === 'syncDirectory' ? 'EIO' : undefined);
  await expect(file.setHash('alice', HASH)).rejects.toMatchObject({
    code: 'ERR_NOT_DURABLE',
    committed: false,
    message: expect.stringMatching(/^Nothing was to change, but the directory /),
  });
});

test('a commit whose directory cannot be synced fails with ERR_NOT_DURABLE, committed, and reloads the broker', async () => {
  const marker = join(directory, 'reloaded');
  const reloading = new PasswordFile(path, { ...quick, reload: { command: ['touch', marker] } });
  diskCalls.fail = name => (name === 'syncDirectory' ? 'EIO' : undefined);
  await expect(reloading.setHash('alice', HASH)).rejects.toMatchObject({
    code: 'ERR_NOT_DURABLE',
    committed: true,
    message: expect.stringMatching(/^The new file is in place, but the directory /),
  });
  await reloading.reloaded();
  expect(existsSync(marker)).toBe(true);
  expect(readFileSync(path, 'utf8')).toBe(`alice:${HASH}\n`);
});

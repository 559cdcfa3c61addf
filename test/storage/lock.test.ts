import { fstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished, test } from 'vitest';
import { PasswordFile } from '../../src/password-file.js';
import { systemDisk } from '../../src/storage/disk.js';
import { acquire, commit, commitLocked, type Outcome, type Writer } from '../../src/storage/lock.js';
import { lockDirectory } from '../../src/storage/lock-owner.js';
import { expectOnly, testDirectory } from '../support/directory.js';
import { diskCalls } from '../support/disk-calls.js';
import { type Exploring, explore } from '../support/model.js';
import { NtfsRegistry } from '../support/ntfs.js';
import { HASH, newFile, quick } from '../support/password-file.js';
import { linux, needs } from '../support/require.js';
import { deadName, livingName } from '../support/temp-files.js';

type Work = () => Promise<boolean>;

/** Reads the file before it owns the lock. */
async function readsFirst(writer: Writer, work: Work): Promise<Outcome> {
  await work();
  return commit(writer, await acquire(writer));
}

/** Breaks a lock by creating a temp file beside that of the owner, which can still be renamed to the file. */
async function leavesTheTempFile(writer: Writer, work: Work): Promise<Outcome> {
  const { disk } = writer;
  const lock = lockDirectory(writer.file);
  const movesIn: Writer = {
    ...writer,
    disk: {
      ...disk,
      unlink: async () => {
        const { temp } = movesIn;
        if (temp === undefined || temp.directory === lock) return;
        await disk.create(lock, temp.name, writer.directory);
        temp.directory = lock;
      },
      rename: async (from, to) => {
        if (from !== lock) await disk.rename(from, to);
      },
    },
  };
  return commitLocked(movesIn, work);
}

/** No commit is lost, and each writer comes to an end or a pause whatever the others do. */
const BOUNDED = { lost: undefined, stuck: 0, spins: 0 };

describe('writers in every interleaving', () => {
  it.each<[title: string, exploring: Omit<Exploring, 'run'>, states: number]>([
    ['2 writers of which one starts over, 1 death', { writers: 2, deaths: 1, retries: 1 }, 1_000],
    [
      '2 writers whose renames may fail with ENOENT although they happened, as over NFS',
      { writers: 2, deaths: 1, retries: 1, repeatedRenames: true },
      1_000,
    ],
    [
      "2 writers who may not remove each other's files",
      { writers: 2, deaths: 1, retries: 0, refusedRemovals: true },
      // Without refusals there are 1,581.
      5_000,
    ],
    ['2 writers with the rules of NTFS', { writers: 2, deaths: 1, retries: 1, windows: true }, 1_000],
  ])('lose no commit: %s', async (title, exploring, least) => {
    const { states, ends, ...bad } = await explore({ ...exploring, run: commitLocked });
    console.info(`${title}: ${states} states, ${ends} ends`);
    expect(bad).toEqual(BOUNDED);
    expect(states).toBeGreaterThanOrEqual(least);
  });

  it('spin if they do not pause, which the model detects', async () => {
    const { spins } = await explore({
      ...{ writers: 2, deaths: 0, retries: 0 },
      run: (writer, work) => commitLocked({ ...writer, pause: () => undefined }, work),
    });
    expect(spins).toBeGreaterThan(0);
  });

  it.each([
    ['the file is read before the lock is acquired', readsFirst],
    ['a broken lock leaves the temp file of its owner usable', leavesTheTempFile],
  ])('lose a commit, which the model detects, if %s', async (_what, run) => {
    const { lost } = await explore({ writers: 2, deaths: 0, retries: 0, run });
    expect(lost?.filter(call => call.includes('/directory/passwd {'))).toHaveLength(2);
  });
});

let directory: string;
let path: string;
let lock: string;
let file: PasswordFile;
beforeEach(() => {
  ({ directory, path, file } = newFile());
  lock = lockDirectory(path);
  const disk = { ...systemDisk };
  onTestFinished(() => void Object.assign(systemDisk, disk));
});

/** Makes the lock directory with a temp file of this name in it. */
function lockAs(name: string): void {
  mkdirSync(lock);
  writeFileSync(join(lock, name), '');
}

/** The outcome of an edit, or the code of its error. */
const edit = (username = 'alice') =>
  file.setHash(username, HASH).then<string, string>(
    outcome => outcome,
    ({ code }) => code,
  );

describe.each([false, true])('an edit, with the rules of NTFS: %s,', windows => {
  const isLock = (path: unknown) => String(path).endsWith('.writer');
  const CALLS = {
    'rename to the lock directory': (name: string, [, to]: readonly unknown[]) =>
      name === 'rename' && isLock(to),
    'rename over the file': (name: string, [, to]: readonly unknown[]) => name === 'rename' && !isLock(to),
    'open in the lock directory': (name: string) => name === 'open',
  };
  type Row = [call: keyof typeof CALLS, code: string, expected: string];
  const inUse = (call: keyof typeof CALLS, otherwise: string): Row[] =>
    ['EPERM', 'EACCES', 'EBUSY'].map(code => [call, code, windows ? 'added' : otherwise]);

  // Only with these rules is the temp file opened again in the lock directory.
  const opens: Row[] = [
    ...inUse('open in the lock directory', 'added'),
    ['open in the lock directory', 'ENOENT', 'added'],
    ['open in the lock directory', 'EIO', 'ERR_WRITE_FAILED'],
  ];

  test.each<Row>([
    ...inUse('rename to the lock directory', 'ERR_NOT_REPLACEABLE').slice(1),
    ['rename to the lock directory', 'EPERM', 'added'],
    ['rename to the lock directory', 'EXDEV', 'added'],
    ['rename to the lock directory', 'EEXIST', 'added'],
    ['rename to the lock directory', 'ENOTEMPTY', 'added'],
    ['rename to the lock directory', 'ENOENT', 'added'],
    ['rename to the lock directory', 'EIO', 'ERR_WRITE_FAILED'],
    ...inUse('rename over the file', 'ERR_NOT_REPLACEABLE'),
    ['rename over the file', 'ENOENT', 'added'],
    ['rename over the file', 'EIO', 'ERR_WRITE_FAILED'],
    ...(windows ? opens : []),
  ])('whose %s fails up to three times with %s results in %s', async (call, code, expected) => {
    Object.assign(systemDisk, { windows });
    let failures = 0;
    diskCalls.fail = (name, args) => (CALLS[call](name, args) && ++failures <= 3 ? code : undefined);
    expect(await edit()).toBe(expected);
    if (expected !== 'added') expect(failures).toBe(1);
    expectOnly(directory, ...(expected === 'added' ? ['passwd'] : []));
  });

  test('whose rename to an empty lock directory fails each time with EXDEV is given up', async () => {
    Object.assign(systemDisk, { windows });
    let failures = 0;
    diskCalls.fail = (name, args) =>
      CALLS['rename to the lock directory'](name, args) && ++failures ? 'EXDEV' : undefined;
    expect(await edit()).toBe('ERR_WRITE_FAILED');
    expect(failures).toBe(11);
    expectOnly(directory);
  });

  test('waits for a lock that is held, however often the rename to it fails with EXDEV', async () => {
    Object.assign(systemDisk, { windows });
    lockAs(livingName(7));
    let failures = 0;
    diskCalls.fail = (name, args) => {
      if (!CALLS['rename to the lock directory'](name, args) || failures === 15) return undefined;
      if (++failures === 15) rmSync(lock, { recursive: true });
      return 'EXDEV';
    };
    expect(await edit()).toBe('added');
    expect(failures).toBe(15);
    expectOnly(directory, 'passwd');
  });

  test('closes each descriptor once', async () => {
    Object.assign(systemDisk, { windows });
    let open = 0;
    const twice: unknown[] = [];
    diskCalls.fail = (name, [fd]) => {
      if (name === 'create' || name.startsWith('open')) open++;
      if (name !== 'close') return undefined;
      open--;
      try {
        fstatSync(fd as number);
      } catch {
        twice.push(fd);
      }
      return undefined;
    };
    expect([await edit(), await edit()]).toEqual(['added', 'unchanged']);
    expect(twice).toEqual([]);
    expect(open).toBe(0);
  });
});

describe('the lock directory', () => {
  // Writers of the model make no such name.
  const living = livingName(0xa);

  test('of a living writer makes others wait until ERR_LOCK_TIMEOUT', async () => {
    lockAs(living);
    file = new PasswordFile(path, { ...quick, lock: { timeout: 50 } });
    expect(await edit()).toBe('ERR_LOCK_TIMEOUT');
    expectOnly(directory, 'passwd.writer');
    expectOnly(lock, living);
  });

  test('that is empty is removed if the system renames no directory onto it', async () => {
    mkdirSync(lock);
    diskCalls.fail = (name, [, to]) =>
      name === 'rename' && to === lock && readdirSync(directory).includes('passwd.writer')
        ? 'EEXIST'
        : undefined;
    expect(await edit()).toBe('added');
    expectOnly(directory, 'passwd');
  });

  test('of a dead writer is renamed if its temp file may not be removed', async () => {
    lockAs(deadName(1));
    diskCalls.fail = (name, [directory]) =>
      name === 'unlink' && String(directory).endsWith('/passwd.writer') ? 'EPERM' : undefined;
    expect(await edit()).toBe('added');
    expectOnly(directory, 'passwd');
  });

  test('of a dead writer is not renamed if another writer has broken the lock and owns it by now', async () => {
    lockAs(deadName(1));
    diskCalls.before = name => {
      if (name !== 'unlink') return;
      diskCalls.before = undefined;
      rmSync(join(lock, deadName(1)));
      writeFileSync(join(lock, living), '');
    };
    file = new PasswordFile(path, { ...quick, lock: { timeout: 50 } });
    expect(await edit()).toBe('ERR_LOCK_TIMEOUT');
    expectOnly(lock, living);
  });

  test('with an abandoned temp file of this process, which could not be removed, is free for the next edit', async () => {
    await edit();
    diskCalls.fail = name => (name === 'unlink' ? 'EPERM' : undefined);
    expect(await edit()).toBe('unchanged');
    diskCalls.fail = undefined;
    file = new PasswordFile(path, { ...quick, lock: { stale: 60_000, timeout: 10_000 } });
    expect(await edit('bob')).toBe('added');
    expectOnly(directory, 'passwd');
  });
});

test.each(['create', 'rename'])(
  'a candidate directory that is swept before the %s is made again',
  async call => {
    let swept = 0;
    diskCalls.before = name => {
      if (name !== call || swept++ > 0) return;
      for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
    };
    expect(await edit()).toBe('added');
    expectOnly(directory, 'passwd');
  },
);

needs(linux).describe('with the rules of NTFS', () => {
  beforeEach(() => new NtfsRegistry(testDirectory()).rule());

  test('a file is made and replaced', async () => {
    expect([await edit(), await edit('bob')]).toEqual(['added', 'added']);
    expectOnly(directory, 'passwd');
  });

  test('the lock of a dead writer is broken', async () => {
    lockAs(deadName(1));
    expect(await edit()).toBe('added');
    expectOnly(directory, 'passwd');
  });

  test('a file that another reader has open is replaced once it is closed', async () => {
    await edit();
    const handle = await open(path);
    let refusals = 0;
    const { rename } = systemDisk;
    Object.assign(systemDisk, {
      rename: (from: string, to: string) => {
        try {
          return rename(from, to);
        } catch (error) {
          if (++refusals === 3) void handle.close();
          throw error;
        }
      },
    });
    expect(await edit('bob')).toBe('added');
    expect(refusals).toBeGreaterThanOrEqual(3);
  });
});

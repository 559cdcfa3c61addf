import fs, { readdirSync, readlinkSync, renameSync, rmdirSync, symlinkSync } from 'node:fs';
import {
  chmod,
  chown,
  lchown,
  lstat,
  mkdir,
  readFile,
  readlink,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { PasswordFile } from '../../src/password-file.js';
import { CLOCK_TICK, tickOf, writeError } from '../../src/storage/path.js';
import { callAs, NOBODY } from '../support/as-user.js';
import { beforeCall, spyOnBuiltin } from '../support/builtins.js';
import { expectOnly } from '../support/directory.js';
import { diskCalls } from '../support/disk-calls.js';
import { CALLS, HASH, newFile, quick } from '../support/password-file.js';
import { linux, needs, root } from '../support/require.js';

let directory: string;
let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ directory, path, file } = newFile());
});

describe('a symbolic link', () => {
  beforeEach(() => mkdir(join(directory, 'data')));
  const data = (name: string) => join(directory, 'data', name);

  test.each([
    ['that is relative', 'data/target'],
    ['with . and ..', './data/../data/target'],
    ['that is absolute', undefined],
    ['with more .. than there are directories', '../'.repeat(99)],
  ])('%s stays, and its target is replaced', async (_what, to = '') => {
    await writeFile(data('target'), `alice:${HASH}\n`);
    const link = to.endsWith('target') ? to : to + data('target');
    await symlink(link, path);
    const { ino } = await stat(data('target'));
    expect(await file.setHash('bob', HASH)).toBe('added');
    expect(await readlink(path)).toBe(link);
    expect((await lstat(data('target'))).isFile()).toBe(true);
    expect((await stat(data('target'))).ino).not.toBe(ino);
    expect(await file.users()).toEqual(['alice', 'bob']);
    expectOnly(directory, 'data', 'passwd');
    expectOnly(join(directory, 'data'), 'target');
  });

  needs(linux).describe('of /proc, which may lead into a container,', () => {
    test.each(CALLS)('makes %s fail with ERR_NOT_REPLACEABLE', async (_name, _writes, call) => {
      await writeFile(data('passwd'), `alice:${HASH}\n`);
      const through = new PasswordFile(`/proc/self/root${data('passwd')}`, quick);
      await expect(call(through)).rejects.toMatchObject({
        code: 'ERR_NOT_REPLACEABLE',
        message: expect.stringMatching(
          /^\/proc\/self is a link of \/proc, .* Pass the path of the file itself\.$/,
        ),
      });
      expect(await readFile(data('passwd'), 'utf8')).toBe(`alice:${HASH}\n`);
    });
  });

  test('before .. is followed first, as the kernel does', async () => {
    await mkdir(data('below'));
    await symlink('data/below', join(directory, 'link'));
    await writeFile(data('passwd'), `alice:${HASH}\n`);
    const kernels = new PasswordFile(`${directory}/link/../passwd`, quick);
    expect(await kernels.setHash('bob', HASH)).toBe('added');
    expect(await kernels.users()).toEqual(['alice', 'bob']);
    expect((await readFile(data('passwd'), 'utf8')).split('\n')).toHaveLength(3);
    expectOnly(directory, 'data', 'link');
  });

  test('to another one is followed, with links in the place of directories', async () => {
    await writeFile(data('target'), `alice:${HASH}\n`);
    await symlink('data', join(directory, 'directory'));
    await symlink('directory/second', path);
    await symlink('../directory/../data/target', data('second'));
    await file.setHash('bob', HASH);
    expect(await readFile(data('target'), 'utf8')).toBe(`alice:${HASH}\nbob:${HASH}\n`);
    expectOnly(join(directory, 'data'), 'second', 'target');
    expectOnly(directory, 'data', 'directory', 'passwd');
  });

  test('in a chain of 40 is followed, in one of 41 refused', async () => {
    await writeFile(path, `alice:${HASH}\n`);
    for (let n = 1; n <= 41; n++)
      await symlink(n === 1 ? 'passwd' : `link${n - 1}`, join(directory, `link${n}`));
    const users = (links: number) => new PasswordFile(join(directory, `link${links}`)).users();
    expect(await users(40)).toEqual(['alice']);
    await expect(users(41)).rejects.toMatchObject({ code: 'ERR_NOT_REPLACEABLE' });
  });

  test('that is exchanged and put back while it is read leads to its own target', async () => {
    await symlink('data/target', path);
    spyOnBuiltin(fs, 'readlinkSync').mockImplementationOnce(link => {
      renameSync(path, data('aside'));
      symlinkSync('data/other', path);
      const to = readlinkSync(link);
      renameSync(data('aside'), path);
      return to;
    });
    await file.setHash('alice', HASH);
    expectOnly(join(directory, 'data'), 'target');
  });

  /** Makes a link at the path, and lets the clock stand at its ctime, however busy the machine is. */
  async function linkOfThisTick(target: string): Promise<void> {
    await symlink(target, path);
    const { ctimeMs } = await lstat(path);
    spyOnBuiltin(Date, 'now').mockReturnValue(Math.floor(ctimeMs));
  }

  test.each([
    ['only after a clock tick, so that an exchange would show in its ctime', 'that all may write', 0o777, 1],
    ['only after a clock tick', 'that its group may write', 0o775, 1],
    ['at once', 'that only its owner may write', 0o755, 0],
    ['at once', 'that is sticky', 0o1777, 0],
  ])('that is new is read %s, in a directory %s', async (_when, _where, mode, waits) => {
    const wait = spyOnBuiltin(Atomics, 'wait');
    await chmod(directory, mode);
    await linkOfThisTick('data/target');
    await file.users();
    expect(wait.mock.calls.map(([, , , ms]) => ms)).toEqual(Array(waits).fill(CLOCK_TICK));
    expect(wait.mock.results.map(({ value }) => value)).toEqual(Array(waits).fill('timed-out'));
  });

  test('that takes the place of the file when it is opened is not followed', async () => {
    await writeFile(data('secret'), `mallory:${HASH}\n`);
    await writeFile(path, `alice:${HASH}\n`);
    beforeCall('openSync', path, () => {
      renameSync(path, data('aside'));
      symlinkSync(data('secret'), path);
    });
    await expect(file.users()).rejects.toMatchObject({ code: 'ERR_NOT_REPLACEABLE' });
  });

  needs(root).test(
    'that is new is read only after a clock tick, in a directory of another user',
    async () => {
      const wait = spyOnBuiltin(Atomics, 'wait');
      await chown(directory, 1883, 1883);
      await linkOfThisTick('data/target');
      await file.users();
      expect(wait).toHaveBeenCalledTimes(1);
    },
  );

  test.each(['.', 'data/..', 'data', '/'])(
    'to the directory %s is refused with ERR_NOT_REPLACEABLE',
    async to => {
      await symlink(to, path);
      const message = expect.stringMatching(/ is not a regular file\. Give the path of a file\.$/);
      await expect(file.users()).rejects.toMatchObject({ code: 'ERR_NOT_REPLACEABLE', message });
    },
  );

  test('that dangles stays, and its target is made', async () => {
    await symlink('data/target', path);
    expect(await file.users()).toEqual([]);
    expect(await file.setHash('alice', HASH)).toBe('added');
    expect(await readFile(data('target'), 'utf8')).toBe(`alice:${HASH}\n`);
    expect(await readlink(path)).toBe('data/target');
  });

  test.each(CALLS)(
    'into a missing directory makes %s fail with ERR_DIRECTORY_MISSING',
    async (_name, _writes, call) => {
      await symlink('nowhere/target', path);
      await expect(call(file)).rejects.toMatchObject({
        code: 'ERR_DIRECTORY_MISSING',
        message: expect.stringContaining(join(directory, 'nowhere')),
      });
    },
  );

  test.each(CALLS)('in a circle makes %s fail with ERR_NOT_REPLACEABLE', async (_name, _writes, call) => {
    await symlink('data/other', path);
    await symlink('../passwd', data('other'));
    await expect(call(file)).rejects.toMatchObject({
      code: 'ERR_NOT_REPLACEABLE',
      message: `${path} is a symbolic link that leads in a circle, changes all the time or leads to over 40 others.`,
    });
    expectOnly(directory, 'data', 'passwd');
    expectOnly(join(directory, 'data'), 'other');
  });
});

needs(root).describe('a symbolic link of another user', () => {
  const OTHER = 1883;
  const secret = () => join(directory, 'secret');
  beforeEach(() => writeFile(secret(), `alice:${HASH}\n`, { mode: 0o600 }));

  async function plant(link: string, to: string): Promise<void> {
    await symlink(to, link);
    await lchown(link, OTHER, OTHER);
  }

  async function expectRefusal(call: Promise<unknown>, link: string): Promise<void> {
    await expect(call).rejects.toMatchObject({
      code: 'ERR_NOT_REPLACEABLE',
      message:
        `${link} is a symbolic link of user ${OTHER}, who could lead this process (user 0) to any file with it. ` +
        'Pass the path of the file itself.',
    });
  }

  test.each(CALLS)('in the place of the file makes %s fail', async (_name, _writes, call) => {
    await plant(path, 'secret');
    await expectRefusal(call(file), path);
    expect(await readFile(secret(), 'utf8')).toBe(`alice:${HASH}\n`);
    expectOnly(directory, 'passwd', 'secret');
  });

  test('makes upgrade and check fail', async () => {
    await writeFile(secret(), 'alice:plain\n');
    await plant(path, 'secret');
    await expectRefusal(file.upgrade(), path);
    await expectRefusal(file.check(), path);
    expect(await readFile(secret(), 'utf8')).toBe('alice:plain\n');
  });

  test('that dangles is refused, and its target is not made', async () => {
    await plant(path, 'nowhere');
    await expectRefusal(file.create(), path);
    await expectRefusal(file.setHash('alice', HASH), path);
    expectOnly(directory, 'passwd', 'secret');
  });

  test.each(CALLS)('in the place of a directory makes %s fail', async (_name, _writes, call) => {
    await mkdir(join(directory, 'data'));
    await plant(join(directory, 'link'), 'data');
    await writeFile(join(directory, 'data/passwd'), `alice:${HASH}\n`);
    await expectRefusal(
      call(new PasswordFile(join(directory, 'link/passwd'), quick)),
      join(directory, 'link'),
    );
    expectOnly(join(directory, 'data'), 'passwd');
  });

  test('to which one of root leads is refused', async () => {
    await plant(join(directory, 'second'), 'secret');
    await symlink('second', path);
    await expectRefusal(file.users(), join(directory, 'second'));
  });

  test('is refused to an ordinary user, who may follow links of root and of that user', async () => {
    await chown(directory, NOBODY.uid, NOBODY.gid);
    await chown(secret(), NOBODY.uid, NOBODY.gid);
    await symlink('secret', path);
    expect(await callAs(NOBODY, path, {}, 'setHash', 'bob', HASH)).toBe('added');
    await lchown(path, NOBODY.uid, NOBODY.gid);
    expect(await callAs(NOBODY, path, {}, 'users')).toEqual(['alice', 'bob']);
    await lchown(path, OTHER, OTHER);
    await expect(callAs(NOBODY, path, {}, 'users')).rejects.toMatchObject({ code: 'ERR_NOT_REPLACEABLE' });
  });
});

/** Descriptors that lead into a directory. */
function descriptorsIn(directory: string): string[] {
  const paths = readdirSync('/proc/self/fd').map(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return paths.filter(to => to.startsWith(directory));
}

needs(linux).describe('an edit whose directory is exchanged while the path is followed', () => {
  let data: string;
  let old: string;
  beforeEach(async () => {
    [data, old] = [join(directory, 'data'), join(directory, 'old')];
    await mkdir(data);
    await writeFile(join(data, 'passwd'), '');
  });
  const edit = () => new PasswordFile(join(data, 'passwd')).setHash('alice', HASH);

  /** Once, before a call of `fs` for a path. */
  const exchangeBefore = (name: 'lstatSync' | 'openSync', at: string, putNew: () => void) => {
    let isDone = false;
    beforeCall(name, at, () => {
      if (isDone) return;
      isDone = true;
      renameSync(data, old);
      putNew();
    });
  };

  const putNew = () => {
    fs.mkdirSync(data);
    fs.writeFileSync(join(data, 'passwd'), '');
  };

  test('before it is opened, is made in the new one, and leaves nothing open', async () => {
    exchangeBefore('openSync', data, putNew);
    expect(await edit()).toBe('added');
    expect(await readFile(join(data, 'passwd'), 'utf8')).toBe(`alice:${HASH}\n`);
    expect(await readFile(join(old, 'passwd'), 'utf8')).toBe('');
    await expect.poll(() => descriptorsIn(directory)).toEqual([]);
  });

  test('after it is opened, fails, changes neither file, and leaves nothing open', async () => {
    exchangeBefore('lstatSync', join(data, 'passwd'), putNew);
    await expect(edit()).rejects.toMatchObject({ code: 'ERR_NOT_REPLACEABLE' });
    for (const each of [data, old]) expect(await readFile(join(each, 'passwd'), 'utf8')).toBe('');
    await expect.poll(() => descriptorsIn(directory)).toEqual([]);
  });

  needs(root).test('for a link of another user, fails and leads to no other file', async () => {
    const vault = join(directory, 'vault');
    await mkdir(vault);
    exchangeBefore('openSync', data, () => {
      symlinkSync(vault, data);
      fs.lchownSync(data, 1883, 1883);
    });
    await expect(edit()).rejects.toMatchObject({
      code: 'ERR_READ_FAILED',
      message: `The directory ${data} cannot be reached (ENOTDIR). It is no directory. Correct the path.`,
    });
    expectOnly(vault);
    await expect.poll(() => descriptorsIn(directory)).toEqual([]);
  });

  needs(root).test('for one with a link of another user, and put back, leads to no other file', async () => {
    const [vault, planted] = [join(directory, 'vault'), join(directory, 'planted')];
    await mkdir(vault);
    await mkdir(planted);
    await symlink(join(vault, 'passwd'), join(planted, 'link'));
    await lchown(join(planted, 'link'), 1883, 1883);
    await symlink('passwd', join(data, 'link'));
    let exchanges = 0;
    const exchange = (from: string, aside: string, to: string) => () => {
      exchanges++;
      renameSync(from, aside);
      renameSync(to, from);
    };
    beforeCall('readlinkSync', join(data, 'link'), exchange(data, old, planted));
    beforeCall('lstatSync', join(data, 'link'), () => {
      if (exchanges === 1) exchange(data, planted, old)();
    });
    expect(await new PasswordFile(join(data, 'link')).setHash('alice', HASH)).toBe('added');
    expect(exchanges).toBeGreaterThan(0);
    expectOnly(vault);
  });
});

needs(root).describe('a file in a directory that the user may search but not list', () => {
  test('can be read', async () => {
    const inner = join(directory, 'inner');
    await mkdir(inner);
    await writeFile(join(inner, 'passwd'), `alice:${HASH}\n`, { mode: 0o644 });
    await chmod(inner, 0o711);
    expect(await callAs(NOBODY, join(inner, 'passwd'), {}, 'users')).toEqual(['alice']);
  });
});

needs(root).describe('an edit by root on a system without /proc, such as macOS,', () => {
  beforeEach(() => {
    const platform = Object.getOwnPropertyDescriptor(process, 'platform') as PropertyDescriptor;
    onTestFinished(() => void Object.defineProperty(process, 'platform', platform));
    Object.defineProperty(process, 'platform', { ...platform, value: 'darwin' });
  });

  test.each([
    ['of root', 'added', 0, 0o755],
    ['of root that others may not search', 'added', 0, 0o700],
    ['of user 1883', 'ERR_NOT_REPLACEABLE', 1883, 0o755],
    ['of user 1', 'ERR_NOT_REPLACEABLE', 1, 0o755],
    ['that its group may write', 'ERR_NOT_REPLACEABLE', 0, 0o775],
    ['that all others may write', 'ERR_NOT_REPLACEABLE', 0, 0o757],
  ])('in a directory %s results in %s', async (_what, expected, uid, mode) => {
    await chown(directory, uid, uid);
    await chmod(directory, mode);
    expect(await file.setHash('alice', HASH).catch(({ code }) => code)).toBe(expected);
    expectOnly(directory, ...(expected === 'added' ? ['passwd'] : []));
  });
});

test('an edit whose directory is removed meanwhile fails with ERR_DIRECTORY_MISSING', async () => {
  diskCalls.before = name => {
    if (name === 'mkdir') rmdirSync(directory);
  };
  await expect(file.setHash('alice', HASH)).rejects.toMatchObject({
    code: 'ERR_DIRECTORY_MISSING',
    message: `The directory ${directory} does not exist. Make or mount it first.`,
  });
});

/** System errors that tests cannot cause everywhere. */
describe('a system error', () => {
  const explain = (code: string, message: string, errno?: number) =>
    (writeError(Object.assign(new Error(message), { code, errno }), path) as Error).message;

  test('is reported with the path of the user in place of /proc/self/fd', () => {
    const message =
      "EIO: i/o error, rename '/proc/self/fd/23/passwd.writer/temp' -> '/proc/self/fd/23/passwd'";
    const [from, to] = [join(directory, 'passwd.writer/temp'), path];
    expect(explain('EIO', message)).toBe(
      `${path} was not changed: EIO: i/o error, rename '${from}' -> '${to}'. Fix that, then repeat the call.`,
    );
  });

  test('is reported with the path also where that contains the pattern of a replacement', () => {
    path = '/data/$&/passwd';
    expect(explain('EIO', "EIO: i/o error, open '/proc/self/fd/23/passwd'")).toBe(
      "/data/$&/passwd was not changed: EIO: i/o error, open '/data/$&/passwd'. Fix that, then repeat the call.",
    );
  });

  test('of an exhausted disk quota, for which Node has no name, is reported as EDQUOT', () => {
    const message = 'Unknown system error -122: Unknown system error -122, write';
    expect(explain('Unknown system error -122', message, -122)).toBe(
      `${path} was not changed: EDQUOT: the disk quota is exhausted. Fix that, then repeat the call.`,
    );
  });

  test.each([
    ['/data/..2026_01_01/passwd', / comes from a Kubernetes Secret or ConfigMap, /],
    ['/data/..2026_01_01/conf/passwd', / comes from a Kubernetes Secret or ConfigMap, /],
    ['/data/passwd', / is mounted read-only\. /],
    ['/data/..passwd', / is mounted read-only\. /],
  ])('EROFS for %s is explained by a Kubernetes Secret or a read-only mount', (path, expected) => {
    const error = Object.assign(new Error('read-only file system'), { code: 'EROFS' });
    expect((writeError(error, path) as Error).message).toMatch(expected);
  });
});

needs(linux).test('a read without a free descriptor fails with ERR_READ_FAILED, which says so', async () => {
  const cause = Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE', syscall: 'open' });
  beforeCall('openSync', directory, () => {
    throw cause;
  });
  await expect(file.users()).rejects.toMatchObject({
    code: 'ERR_READ_FAILED',
    message: `The directory ${directory} cannot be reached (EMFILE). Fix that, then repeat the call.`,
    cause,
  });
});

test('tickOf is over two seconds for a time without a fraction of a second, as coarse file systems have it', () => {
  const second = 1_700_000_000_000_000_000n;
  expect([second, second + 1n, second + 999_999_999n].map(tickOf)).toEqual([2_020, CLOCK_TICK, CLOCK_TICK]);
});

describe('an edit', () => {
  test.each([0o600, 0o640, 0o644, 0o660, 0o400, 0o666].map(mode => [mode.toString(8), mode] as const))(
    'keeps the mode %s',
    async (_mode, mode) => {
      await writeFile(path, `alice:${HASH}\n`);
      await chmod(path, mode);
      await file.setHash('bob', HASH);
      expect((await stat(path)).mode & 0o7777).toBe(mode);
    },
  );

  test('does not keep set-user-id and set-group-id', async () => {
    await writeFile(path, `alice:${HASH}\n`);
    await chmod(path, 0o6755);
    await file.setHash('bob', HASH);
    expect((await stat(path)).mode & 0o7777).toBe(0o755);
  });

  test.each([
    ['000', 0],
    ['077', 0o077],
  ] as const)('gives a new file its mode with the umask %s', async (_umask, umask) => {
    const before = process.umask(umask);
    try {
      await file.create();
      await new PasswordFile(`${path}2`, { create: { mode: 0o644 } }).create();
    } finally {
      process.umask(before);
    }
    expect((await stat(path)).mode & 0o7777).toBe(0o600);
    expect((await stat(`${path}2`)).mode & 0o7777).toBe(0o644);
  });

  test('does not apply the option create to an existing file', async () => {
    await writeFile(path, `alice:${HASH}\n`, { mode: 0o640 });
    await new PasswordFile(path, { create: { mode: 0o644 } }).setHash('bob', HASH);
    expect((await stat(path)).mode & 0o7777).toBe(0o640);
  });

  needs(root).test('keeps owner and group', async () => {
    await writeFile(path, `alice:${HASH}\n`);
    await chown(path, 1234, 2345);
    await file.setHash('bob', HASH);
    expect(await stat(path)).toMatchObject({ uid: 1234, gid: 2345 });
  });

  for (const [what, uid, gid] of [
    ['a group', 0, 1883],
    ['an owner', 1883, 0],
  ] as const) {
    needs(root).test(`keeps ${what} that alone differs from that of this process`, async () => {
      await writeFile(path, `alice:${HASH}\n`);
      await chown(path, uid, gid);
      await file.setHash('bob', HASH);
      expect(await stat(path)).toMatchObject({ uid, gid });
    });
  }

  needs(root).test(
    'by root gives a new file the owner of the directory, or that of the option create',
    async () => {
      await chown(directory, 1234, 2345);
      await file.create();
      expect(await stat(path)).toMatchObject({ uid: 1234, gid: 2345 });
      await new PasswordFile(`${path}2`, { create: { uid: 3456 } }).create();
      expect(await stat(`${path}2`)).toMatchObject({ uid: 3456, gid: 2345 });
      await new PasswordFile(`${path}3`, { create: { uid: 0, gid: 0 } }).create();
      expect(await stat(`${path}3`)).toMatchObject({ uid: 0, gid: 0 });
    },
  );
});

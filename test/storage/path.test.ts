import { chmod, chown, lstat, mkdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { PasswordFile } from '../../src/password-file.js';
import { expectOnly } from '../support/folder.js';
import { CALLS, HASH, newFile } from '../support/password-file.js';
import { needs, root } from '../support/require.js';

let folder: string;
let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ folder, path, file } = newFile());
});

describe('symbolic links', () => {
  beforeEach(() => mkdir(join(folder, 'data')));
  const data = (name: string) => join(folder, 'data', name);

  test.each([
    ['relative', 'data/target'],
    ['with dots', './data/../data/target'],
    ['absolute', undefined],
  ])('%s: the target is replaced, the link stays', async (_what, to) => {
    await writeFile(data('target'), `alice:${HASH}\n`);
    const link = to ?? data('target');
    await symlink(link, path);
    const { ino } = await stat(data('target'));
    expect(await file.setHash('bob', HASH)).toBe('added');
    expect(await readlink(path)).toBe(link);
    expect((await lstat(data('target'))).isFile()).toBe(true);
    expect((await stat(data('target'))).ino).not.toBe(ino);
    expect(await file.users()).toEqual(['alice', 'bob']);
    expectOnly(folder, 'data', 'passwd');
    expectOnly(join(folder, 'data'), 'target');
  });

  test('a chain, over links of folders', async () => {
    await writeFile(data('target'), `alice:${HASH}\n`);
    await symlink('data', join(folder, 'folder'));
    await symlink('folder/second', path);
    await symlink('../folder/../data/target', data('second'));
    await file.setHash('bob', HASH);
    expect(await readFile(data('target'), 'utf8')).toBe(`alice:${HASH}\nbob:${HASH}\n`);
    expectOnly(join(folder, 'data'), 'second', 'target');
    expectOnly(folder, 'data', 'folder', 'passwd');
  });

  test('a dangling one: the target is made', async () => {
    await symlink('data/target', path);
    expect(await file.users()).toEqual([]);
    expect(await file.setHash('alice', HASH)).toBe('added');
    expect(await readFile(data('target'), 'utf8')).toBe(`alice:${HASH}\n`);
    expect(await readlink(path)).toBe('data/target');
  });

  test.each(CALLS)('one into a folder that is missing is an error to %s', async (_name, _writes, call) => {
    await symlink('nowhere/target', path);
    await expect(call(file)).rejects.toMatchObject({
      code: 'ERR_DIRECTORY_MISSING',
      message: expect.stringContaining(join(folder, 'nowhere')),
    });
  });

  test.each(CALLS)('a circle is an error to %s', async (_name, _writes, call) => {
    await symlink('data/other', path);
    await symlink('../passwd', data('other'));
    await expect(call(file)).rejects.toMatchObject({
      code: 'ERR_NOT_REPLACEABLE',
      message: `${path} is a symbolic link that leads in a circle, or that changes all the time.`,
    });
    expectOnly(folder, 'data', 'passwd');
    expectOnly(join(folder, 'data'), 'other');
  });
});

describe('owner and mode', () => {
  test.each([0o600, 0o640, 0o644, 0o660, 0o400, 0o666].map(mode => [mode.toString(8), mode] as const))(
    'mode %s is kept',
    async (_mode, mode) => {
      await writeFile(path, `alice:${HASH}\n`);
      await chmod(path, mode);
      await file.setHash('bob', HASH);
      expect((await stat(path)).mode & 0o7777).toBe(mode);
    },
  );

  test.each([
    ['none', 0],
    ['077', 0o077],
  ] as const)('a new file gets its mode whatever the umask: %s', async (_umask, umask) => {
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

  test('create does not touch a file that is there', async () => {
    await writeFile(path, `alice:${HASH}\n`, { mode: 0o640 });
    await new PasswordFile(path, { create: { mode: 0o644 } }).setHash('bob', HASH);
    expect((await stat(path)).mode & 0o7777).toBe(0o640);
  });

  needs(root).test('owner and group are kept', async () => {
    await writeFile(path, `alice:${HASH}\n`);
    await chown(path, 1234, 2345);
    await file.setHash('bob', HASH);
    expect(await stat(path)).toMatchObject({ uid: 1234, gid: 2345 });
  });

  needs(root).test('a new file is the folder’s owner’s, or whose create says', async () => {
    await chown(folder, 1234, 2345);
    await file.create();
    expect(await stat(path)).toMatchObject({ uid: 1234, gid: 2345 });
    await new PasswordFile(`${path}2`, { create: { uid: 3456 } }).create();
    expect(await stat(`${path}2`)).toMatchObject({ uid: 3456, gid: 2345 });
    await new PasswordFile(`${path}3`, { create: { uid: 0, gid: 0 } }).create();
    expect(await stat(`${path}3`)).toMatchObject({ uid: 0, gid: 0 });
  });
});

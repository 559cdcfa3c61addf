/** Edits of unusual files and in unusual places succeed, or fail with the right code and leave everything unchanged. */
import { once } from 'node:events';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import {
  chmod,
  chown,
  link,
  mkdir,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { hashPasswordSync } from '../../src/hash/hash.js';
import type { PasswordFileOptions } from '../../src/options.js';
import { PasswordFile } from '../../src/password-file.js';
import { callAs, NOBODY, ORDINARY } from '../support/as-user.js';
import { startChild } from '../support/children.js';
import { openIn } from '../support/descriptors.js';
import { expectOnly, mount, run, testDirectory } from '../support/directory.js';
import { fuse, linux, loopDevices, mounting, needs, program, root } from '../support/require.js';
import { deadName } from '../support/temp-files.js';

const HASH = hashPasswordSync('secret', { iterations: 1 });
const OTHER = hashPasswordSync('other secret', { iterations: 1 });
const ALICE = `alice:${HASH}\n`;

let directory: string;
let path: string;
let file: PasswordFile;
beforeEach(() => {
  directory = testDirectory();
  path = join(directory, 'passwd');
  file = new PasswordFile(path);
});

/** All files in a directory, with their inodes, modes, owners and contents. */
function census(under: string): Record<string, unknown[]> {
  const found: Record<string, unknown[]> = {};
  for (const name of readdirSync(under, { recursive: true, encoding: 'utf8' })) {
    const each = join(under, name);
    const stats = lstatSync(each);
    const { ino, mode, uid, gid, nlink } = stats;
    found[name] = [ino, mode, uid, gid, nlink];
    if (stats.isFile()) found[name].push(readFileSync(each, 'latin1'));
    if (stats.isSymbolicLink()) found[name].push(readlinkSync(each));
  }
  return found;
}

/** Expects that a call rejects with this code and message, and that everything in the directory is as it was. */
async function expectRefusal(call: () => Promise<unknown>, code: string, message: RegExp): Promise<void> {
  const before = census(directory);
  await expect(call()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  expect(census(directory)).toEqual(before);
}

describe('edits keep all other lines of a file', () => {
  test.each([
    ['that starts with a comment', `# users\n${ALICE}`],
    ['that starts with an empty line', `\n${ALICE}`],
    ['with empty lines', `\n\n${ALICE}\n\n`],
    ['with a line of blanks', ` \t\n${ALICE}\r\n`],
    ['with malformed lines', `what\n:::\n${ALICE}bob\n`],
    ['with a byte order mark', `\ufeff\n${ALICE}`],
    ['with NULs', `\0\0\n${ALICE}\0\n`],
    ['with duplicate names of other users', `bob:x\n${ALICE}bob:y\n`],
    ['without a final line feed', ALICE.trimEnd()],
  ])('%s', async (_what, text) => {
    await writeFile(path, text);
    expect(await file.setHash('zoe', HASH)).toBe('added');
    expect(readFileSync(path, 'utf8')).toBe(`${text.replace(/[^\n]$/, '$&\n')}zoe:${HASH}\n`);
    expect(await file.setHash('alice', hashPasswordSync('new'))).toBe('updated');
    expect(await file.removeUser('alice')).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe(
      `${text.replace(/[^\n]$/, '$&\n').replace(ALICE, '')}zoe:${HASH}\n`,
    );
    expectOnly(directory, 'passwd');
  });

  test('and leave one line of a duplicate name', async () => {
    await writeFile(path, `alice:x\nbob:y\n alice :z\n`);
    expect(await file.setHash('alice', HASH)).toBe('updated');
    expect(readFileSync(path, 'utf8')).toBe(`${ALICE}bob:y\n`);
  });
});

describe('the file at the path', () => {
  test('is the target of a symbolic link, which stays', async () => {
    await mkdir(join(directory, 'data'));
    await writeFile(join(directory, 'data/target'), ALICE);
    await symlink('data/target', path);
    await file.setHash('bob', HASH);
    expect(lstatSync(path).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(directory, 'data/target'), 'utf8')).toBe(`${ALICE}bob:${HASH}\n`);
    expectOnly(directory, 'data', 'passwd');
    expectOnly(join(directory, 'data'), 'target');
  });

  test('is refused with ERR_NOT_REPLACEABLE if it has several hard links', async () => {
    await writeFile(path, ALICE);
    await link(path, join(directory, 'other'));
    const message =
      /passwd has 2 hard links, and replacing it would part them\. Use a symbolic link in place of /;
    await expectRefusal(() => file.setHash('bob', HASH), 'ERR_NOT_REPLACEABLE', message);
    expect(await file.users()).toEqual(['alice']);
  });

  test('is refused with ERR_NOT_REPLACEABLE if it is a directory', async () => {
    await mkdir(path);
    await writeFile(join(path, 'passwd'), ALICE);
    const message = /passwd is not a regular file\. Give the path of a file\.$/;
    await expectRefusal(() => file.setHash('bob', HASH), 'ERR_NOT_REPLACEABLE', message);
    await expectRefusal(() => file.create(), 'ERR_NOT_REPLACEABLE', message);
    await expectRefusal(() => file.users(), 'ERR_NOT_REPLACEABLE', message);
  });

  needs(program('mkfifo')).test(
    'is refused with ERR_NOT_REPLACEABLE, without waiting, if it is a FIFO',
    async () => {
      run('mkfifo', path);
      const message = /passwd is not a regular file\. Give the path of a file\.$/;
      await expectRefusal(() => file.setHash('bob', HASH), 'ERR_NOT_REPLACEABLE', message);
      await expectRefusal(() => file.users(), 'ERR_NOT_REPLACEABLE', message);
    },
  );

  test('is refused with ERR_NOT_REPLACEABLE if it is a socket', async () => {
    const server = createServer().listen(path);
    await once(server, 'listening');
    const message = /passwd is not a regular file\. Give the path of a file\.$/;
    try {
      await expectRefusal(() => file.setHash('bob', HASH), 'ERR_NOT_REPLACEABLE', message);
      await expectRefusal(() => file.users(), 'ERR_NOT_REPLACEABLE', message);
    } finally {
      server.close();
    }
  });

  for (const [what, kernelFile] of [
    ['more', '/proc/version'],
    ['fewer', '/sys/devices/system/cpu/online'],
  ] as const) {
    needs(linux).test(
      `is refused with ERR_READ_FAILED if it has ${what} bytes than its size says each time that it is read`,
      async () => {
        await symlink(kernelFile, path);
        const message = /^\/(proc|sys)\/.* changes each time it is read\. /;
        await expectRefusal(() => file.users(), 'ERR_READ_FAILED', message);
      },
    );
  }

  test('is refused with ERR_READ_FAILED if it has 2 GiB', async () => {
    await writeFile(path, ALICE);
    await truncate(path, 2 ** 31);
    const message =
      /passwd has 2147483648 bytes, and only files of up to 2147483647 bytes are read\. Spread its users/;
    const refusal = { code: 'ERR_READ_FAILED', message: expect.stringMatching(message) };
    await expect(file.setHash('bob', HASH)).rejects.toMatchObject(refusal);
    await expect(file.verify('alice', 'secret')).rejects.toMatchObject(refusal);
    expect((await stat(path)).size).toBe(2 ** 31);
    expectOnly(directory, 'passwd');
  });

  test('is refused with ERR_READ_FAILED if the path leads through another file', async () => {
    await writeFile(path, ALICE);
    const through = new PasswordFile(join(path, 'passwd'));
    const message =
      /The directory .*passwd cannot be reached \(ENOTDIR\)\. It is no directory\. Correct the path\.$/;
    await expectRefusal(() => through.setHash('bob', HASH), 'ERR_READ_FAILED', message);
    await expectRefusal(() => through.users(), 'ERR_READ_FAILED', message);
  });
});

describe('a file name', () => {
  // The candidate directory beside the file has a name that is 24 bytes longer.
  test.each([
    [231, 'x'.repeat(231)],
    [230, 'é'.repeat(115)],
  ])('of %i bytes can be edited', async (_length, name) => {
    const long = new PasswordFile(join(directory, name));
    await long.setHash('alice', HASH);
    expect(await long.users()).toEqual(['alice']);
    expectOnly(directory, name);
  });

  test.each([
    [232, 'x'.repeat(232)],
    [232, 'é'.repeat(116)],
    [255, 'x'.repeat(255)],
  ])('of %i bytes is refused with ERR_NOT_REPLACEABLE, and the file can be read', async (_length, name) => {
    await writeFile(join(directory, name), ALICE);
    const long = new PasswordFile(join(directory, name));
    const message = / has too long a name to be edited\. Give it a shorter one\.$/;
    await expectRefusal(() => long.setHash('bob', HASH), 'ERR_NOT_REPLACEABLE', message);
    expect(await long.users()).toEqual(['alice']);
  });

  test('of 256 bytes, more than the system allows, is refused with ERR_READ_FAILED', async () => {
    const long = new PasswordFile(join(directory, 'x'.repeat(256)));
    await expectRefusal(
      () => long.setHash('bob', HASH),
      'ERR_READ_FAILED',
      / cannot be reached \(ENAMETOOLONG\)\. A name in the path is too long\. Give a shorter one\.$/,
    );
  });
});

describe('an edit by an ordinary user', () => {
  const { uid, gid } = ORDINARY;
  const isRoot = process.geteuid?.() === 0;
  beforeEach(async () => {
    await writeFile(path, ALICE);
    if (!isRoot) return;
    await chown(directory, uid, gid);
    await chown(path, uid, gid);
  });

  test('of the user’s own file keeps its owner and mode', async () => {
    await chmod(path, 0o640);
    expect(await callAs(ORDINARY, path, {}, 'setHash', 'bob', HASH)).toBe('added');
    expect(await stat(path)).toMatchObject({ uid, gid, mode: 0o100640 });
    expect(readFileSync(path, 'utf8')).toBe(`${ALICE}bob:${HASH}\n`);
    expectOnly(directory, 'passwd');
  });

  test('in a read-only directory fails with ERR_NOT_REPLACEABLE, and verify works', async () => {
    await chmod(directory, 0o555);
    const message =
      /passwd cannot be replaced, because this user may not read its directory, or may not make files there\. Give the user both permissions\. The umask must not take those of the owner\.$/;
    await expectRefusal(
      () => callAs(ORDINARY, path, {}, 'setHash', 'bob', HASH),
      'ERR_NOT_REPLACEABLE',
      message,
    );
    expect(await callAs(ORDINARY, path, {}, 'verify', 'alice', 'secret')).toBe(true);
  });

  test('that creates a file in a read-only directory fails with ERR_NOT_REPLACEABLE', async () => {
    await rm(path);
    await chmod(directory, 0o555);
    const message =
      /passwd cannot be replaced, because this user may not read its directory, or may not make files there\./;
    await expectRefusal(() => callAs(ORDINARY, path, {}, 'create'), 'ERR_NOT_REPLACEABLE', message);
  });

  test('in a directory that the user may not search fails with ERR_READ_FAILED', async () => {
    const inner = join(directory, 'inner');
    await mkdir(inner);
    await rename(path, join(inner, 'passwd'));
    await chmod(inner, 0o000);
    const call = () => callAs(ORDINARY, join(inner, 'passwd'), {}, 'setHash', 'bob', HASH);
    const refusal = {
      code: 'ERR_READ_FAILED',
      message: `The directory ${inner} cannot be reached (EACCES). Fix the permissions of its directories.`,
    };
    await expect(call()).rejects.toMatchObject(refusal);
    await chmod(inner, 0o755);
    expectOnly(inner, 'passwd');
    expect(readFileSync(join(inner, 'passwd'), 'utf8')).toBe(ALICE);
  });

  test('of a file that the user may not read fails with ERR_READ_FAILED', async () => {
    await chmod(path, 0o000);
    const call = () => callAs(ORDINARY, path, {}, 'setHash', 'bob', HASH);
    await expect(call()).rejects.toMatchObject({
      code: 'ERR_READ_FAILED',
      message: expect.stringMatching(
        /passwd cannot be read: EACCES: .*\. Run as its owner or as root \(with CAP_DAC_OVERRIDE\), or let this user's group read it\.$/,
      ),
    });
    await chmod(path, 0o600);
    expectOnly(directory, 'passwd');
    expect(readFileSync(path, 'utf8')).toBe(ALICE);
  });

  test('in a sticky directory of the user’s own succeeds', async () => {
    await chmod(directory, 0o1777);
    expect(await callAs(ORDINARY, path, {}, 'setHash', 'bob', HASH)).toBe('added');
    expectOnly(directory, 'passwd');
  });

  test('that creates a file for another user fails with ERR_OWNERSHIP, unless allowOwnerChange is set', async () => {
    await rm(path);
    const create = { uid: uid + 1 };
    const message =
      /This process may not give .*passwd the owner \d+:\d+, so replacing it could lock the broker out\. Run as that user or as root, or set allowOwnerChange \(in the library\)/;
    await expectRefusal(() => callAs(ORDINARY, path, { create }, 'create'), 'ERR_OWNERSHIP', message);
    expect(await callAs(ORDINARY, path, { create, allowOwnerChange: true }, 'create')).toBe(true);
    expect(await stat(path)).toMatchObject({ uid });
  });
});

needs(root).describe('an edit by an ordinary user, among files of others,', () => {
  const { uid, gid } = NOBODY;
  const edit = (options = {}) => callAs(NOBODY, path, options, 'setHash', 'bob', HASH);
  beforeEach(async () => {
    await chown(directory, uid, gid);
    await writeFile(path, ALICE, { mode: 0o644 });
  });

  test('of another user’s file fails with ERR_OWNERSHIP', async () => {
    const message =
      /This process may not give .*passwd the owner 0:0, so replacing it could lock the broker out\./;
    await expectRefusal(() => edit(), 'ERR_OWNERSHIP', message);
    await expectRefusal(() => callAs(NOBODY, path, {}, 'removeUser', 'alice'), 'ERR_OWNERSHIP', message);
  });

  test('of another user’s file changes its owner if allowOwnerChange is set', async () => {
    expect(await edit({ allowOwnerChange: true })).toBe('added');
    expect(await stat(path)).toMatchObject({ uid, gid, mode: 0o100644 });
    expect(readFileSync(path, 'utf8')).toBe(`${ALICE}bob:${HASH}\n`);
    expectOnly(directory, 'passwd');
  });

  test('of another user’s file keeps a group that the user belongs to if allowOwnerChange is set', async () => {
    const group = 23_456;
    await chown(path, 0, group);
    await chmod(path, 0o660);
    const member = { ...NOBODY, groups: [group] };
    const call = (options: PasswordFileOptions) => callAs(member, path, options, 'setHash', 'bob', HASH);
    await expectRefusal(() => call({}), 'ERR_OWNERSHIP', new RegExp(`the owner 0:${group},`));
    expect(await call({ allowOwnerChange: true })).toBe('added');
    expect(await stat(path)).toMatchObject({ uid, gid: group, mode: 0o100660 });
  });

  test('of another user’s file succeeds if it changes nothing', async () => {
    const before = census(directory);
    expect(await callAs(NOBODY, path, {}, 'setHash', 'alice', HASH)).toBe('unchanged');
    expect(census(directory)).toEqual(before);
  });

  test('in another user’s directory that all may write succeeds', async () => {
    await chown(directory, 0, 0);
    await chown(path, uid, gid);
    await chmod(directory, 0o777);
    expect(await edit()).toBe('added');
    expectOnly(directory, 'passwd');
  });

  test('that creates a file in another user’s directory that all may write makes the user its owner', async () => {
    await rm(path);
    await chown(directory, 0, 0);
    await chmod(directory, 0o777);
    expect(await edit()).toBe('added');
    expect(await stat(path)).toMatchObject({ uid, gid });
  });

  test('in another user’s sticky directory fails with ERR_NOT_REPLACEABLE, and one by root succeeds', async () => {
    await chown(directory, 0, 0);
    await chown(path, uid, gid);
    await chmod(directory, 0o1777);
    const message =
      /passwd lies in a sticky directory of another user \(as \/tmp is\)\. Put it into a directory of the service's own\.$/;
    await expectRefusal(() => edit(), 'ERR_NOT_REPLACEABLE', message);
    await rm(path);
    await expectRefusal(() => callAs(NOBODY, path, {}, 'create'), 'ERR_NOT_REPLACEABLE', message);
    // Root may replace any file there. A new one gets the directory's owner.
    await chown(directory, 1883, 1883);
    expect(await file.create()).toBe(true);
    expect(await stat(path)).toMatchObject({ uid: 1883, gid: 1883 });
  });
});

needs(root, mounting).describe('an edit on a file system', () => {
  const tmpfs = (...options: string[]) =>
    mount('-t', 'tmpfs', '-o', ['mode=755', ...options].join(','), 'none', directory);
  const makeReadOnly = () => run('mount', '-o', 'remount,ro', directory);

  test('that is read-only fails with ERR_NOT_REPLACEABLE, and verify works', async () => {
    tmpfs();
    await writeFile(path, ALICE);
    makeReadOnly();
    const message = /passwd is mounted read-only\. Mount its directory with write permission\.$/;
    await expectRefusal(() => file.setHash('bob', HASH), 'ERR_NOT_REPLACEABLE', message);
    await expectRefusal(() => file.removeUser('alice'), 'ERR_NOT_REPLACEABLE', message);
    expect(await file.verify('alice', 'secret')).toBe(true);
  });

  test('fails with ERR_WRITE_FAILED on ENOSPC and leaves the file unchanged', async () => {
    tmpfs('size=160k');
    const many = Array.from({ length: 1000 }, (_, n) => `user${n}:${HASH}\n`).join('');
    await writeFile(path, many);
    const message = /passwd was not changed: ENOSPC: .* Fix that, then repeat the call\.$/;
    await expectRefusal(() => file.setHash('zoe', HASH), 'ERR_WRITE_FAILED', message);
    await expectRefusal(() => file.setUser('user7', 'new'), 'ERR_WRITE_FAILED', message);
    // Once the file has half its size, there is space for another one.
    await truncate(path, many.indexOf('user500:'));
    expect(await file.setHash('zoe', HASH)).toBe('added');
    expect(await file.users()).toHaveLength(501);
    expectOnly(directory, 'passwd');
  });

  test('without a free byte fails with ERR_WRITE_FAILED, and succeeds when there is space', async () => {
    tmpfs('size=8k');
    await writeFile(path, ALICE);
    const filled = writeFile(join(directory, 'filler'), Buffer.alloc(64 << 10));
    await expect(filled).rejects.toMatchObject({ code: 'ENOSPC' });
    const message = /passwd was not changed: ENOSPC: /;
    await expectRefusal(() => file.setHash('bob', HASH), 'ERR_WRITE_FAILED', message);
    await rm(join(directory, 'filler'));
    expect(await file.setHash('bob', HASH)).toBe('added');
  });

  test.each([
    ['directory', 3],
    ['file', 4],
  ])('without a free inode for another %s fails with ERR_WRITE_FAILED', async (_what, inodes) => {
    tmpfs(`nr_inodes=${inodes}`);
    await writeFile(path, ALICE);
    await writeFile(join(directory, 'filler'), '');
    const message = /passwd was not changed: ENOSPC: /;
    await expectRefusal(() => file.setHash('bob', HASH), 'ERR_WRITE_FAILED', message);
  });

  test('fails with ERR_NOT_REPLACEABLE if the file itself is a mount point', async () => {
    await writeFile(join(directory, 'source'), ALICE);
    await writeFile(path, '');
    mount('--bind', join(directory, 'source'), path);
    const message =
      /passwd is itself a mount point, as a single-file bind mount is\. Mount the directory that holds it instead\.$/;
    await expectRefusal(() => file.setHash('bob', HASH), 'ERR_NOT_REPLACEABLE', message);
    await expectRefusal(() => file.removeUser('alice'), 'ERR_NOT_REPLACEABLE', message);
    expect(await file.setHash('alice', HASH)).toBe('unchanged');
    expect(await file.verify('alice', 'secret')).toBe(true);
  });

  test('fails with ERR_NOT_REPLACEABLE in a Kubernetes Secret', async () => {
    // The layout of the kubelet: each update is a new directory, and the link ..data is changed to it.
    tmpfs();
    await mkdir(join(directory, '..2026_01_01_00_00_00.123456789'));
    await writeFile(join(directory, '..2026_01_01_00_00_00.123456789/passwd'), ALICE);
    await symlink('..2026_01_01_00_00_00.123456789', join(directory, '..data'));
    await symlink('..data/passwd', path);
    makeReadOnly();
    const message =
      /passwd comes from a Kubernetes Secret or ConfigMap, which is read-only\. Change it by the Kubernetes API, or use a volume\.$/;
    await expectRefusal(() => file.setHash('bob', HASH), 'ERR_NOT_REPLACEABLE', message);
    expect(await file.users()).toEqual(['alice']);
  });
});

needs(mounting, loopDevices, program('mkfs.ext4')).describe('on a disk with times of whole seconds', () => {
  beforeEach(() => {
    const image = join(testDirectory(), 'image');
    // Inodes of 128 bytes have no room for fractions of a second.
    run('mkfs.ext4', '-q', '-I', '128', image, '4M');
    mount('-o', 'loop', image, directory);
  });

  test('a file is read again after a change in the same second', async () => {
    for (const hash of [HASH, OTHER, HASH, OTHER]) {
      await writeFile(path, `alice:${hash}\n`);
      expect(await file.getHash('alice')).toBe(hash);
    }
  });

  test.each([
    ['that all may write is refused with ERR_NOT_REPLACEABLE', 0o777, 'ERR_NOT_REPLACEABLE', undefined],
    ['that only its owner may write is followed', 0o755, 'alice', undefined],
    ['that only root may write is followed for another user', 0o755, 'alice', NOBODY],
  ])('a link that has just changed in a directory %s', async (_what, mode, expected, user) => {
    await chmod(directory, mode);
    await writeFile(join(directory, 'target'), ALICE, { mode: 0o644 });
    const usersByNewLink = async () => {
      await rm(path, { force: true });
      await symlink('target', path);
      const users = user === undefined ? file.users() : callAs(user, path, {}, 'users');
      return users.then(String, ({ code }) => code);
    };
    await expect.poll(usersByNewLink).toBe(expected);
  });
});

needs(mounting, fuse, program('sshfs')).describe('on a mount that caches what stat says', () => {
  let served: string;
  let there: string;
  let options: string;
  beforeEach(async () => {
    served = join(directory, 'served');
    const mounted = join(directory, 'mounted');
    const server = join(directory, 'server');
    await mkdir(served);
    await mkdir(mounted);
    await writeFile(server, '#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n', { mode: 0o755 });
    // sshfs caches what it knows of paths, the kernel caches nothing.
    options = `ssh_command=${server},attr_timeout=0,entry_timeout=0`;
    mount('-t', 'fuse.sshfs', '-o', options, `nowhere:${served}`, mounted);
    path = join(mounted, 'passwd');
    there = join(served, 'passwd');
  });

  test('a read sees what another host has added since the last one', async () => {
    await writeFile(there, ALICE);
    await utimes(there, 1, 1);
    file = new PasswordFile(path);
    expect(await file.users()).toEqual(['alice']);
    expect(await new PasswordFile(there).setHash('bob', HASH)).toBe('added');
    expect(await file.users()).toEqual(['alice', 'bob']);
    expect(openIn(join(directory, 'mounted'))).toEqual([]);
  });

  test('a lock of a dead writer is broken, although the rename to it fails with EPERM', async () => {
    await mkdir(`${there}.writer`);
    await writeFile(join(`${there}.writer`, deadName(7)), '');
    file = new PasswordFile(path);
    expect(await file.setHash('alice', HASH)).toBe('added');
    expectOnly(served, 'passwd');
  });

  test('the lock of a stopped writer is broken, although its temp file stays until it is closed', async () => {
    await using owner = await startChild('lock-owner', { path });
    owner.kill('SIGSTOP');
    file = new PasswordFile(path, { lock: { stale: 1_000 } });
    expect(await file.setHash('alice', HASH)).toBe('added');
    expect(await file.users()).toEqual(['alice']);
  });

  test('whose files all seem to belong to another user, edits succeed', async () => {
    const mapped = join(directory, 'mapped');
    await mkdir(mapped);
    mount('-t', 'fuse.sshfs', '-o', `${options},uid=1883,gid=1883`, `nowhere:${served}`, mapped);
    file = new PasswordFile(join(mapped, 'passwd'));
    expect(await file.setHash('alice', HASH)).toBe('added');
    expect(await file.setHash('bob', HASH)).toBe('added');
    expectOnly(served, 'passwd');
  });
});

import { chmod, chown, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { PasswordFileOptions } from '../../src/options.js';
import { NOBODY } from '../support/as-user.js';
import { expectOnly } from '../support/directory.js';
import { HASH, newFile } from '../support/password-file.js';
import { namespaces, needs, root, userNamespaces } from '../support/require.js';
import { runScript } from '../support/script.js';

let directory: string;
let path: string;
beforeEach(() => {
  ({ directory, path } = newFile());
});

needs(root, namespaces).describe('without /proc', () => {
  // What is mounted over it has no process in it.
  const through = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh'];
  const setHash = () =>
    runScript(
      `const { PasswordFile } = await load('src/index.ts');
      return new PasswordFile(args.path).setHash('bob', args.hash).catch(({ code, message }) => ({ code, message }));`,
      { through, args: { path, hash: HASH } },
    );

  test.each([
    ['of another user', 1883, 0o755, 'run as user 1883'],
    ['of its own', 0, 0o777, 'take their permission'],
  ])(
    'root may not edit a file in a directory %s that others may write',
    async (_whose, owner, mode, remedy) => {
      await writeFile(path, `alice:${HASH}\n`);
      await chown(directory, owner, owner);
      await chmod(directory, mode);
      expect(await setHash()).toEqual({
        code: 'ERR_NOT_REPLACEABLE',
        message:
          `${path} lies in a directory that others may write, where root needs /proc to be safe. ` +
          `Mount /proc, or ${remedy}.`,
      });
      expectOnly(directory, 'passwd');
    },
  );

  test('root may edit files in a directory of its own', async () => {
    expect(await setHash()).toBe('added');
    expectOnly(directory, 'passwd');
  });
});

needs(root, namespaces).test(
  'without /proc, systemDisk creates, lists, looks at and removes files by their paths',
  async () => {
    const names = await runScript(
      `const { systemDisk } = await load('src/storage/disk.ts');
    systemDisk.mkdir(args);
    systemDisk.close(systemDisk.create(args, 'new', { uid: 0, gid: 0, mode: 0o700 }));
    const before = systemDisk.list(args, 10);
    systemDisk.modified(args, 'new');
    systemDisk.unlink(args, 'new');
    return [before, systemDisk.list(args, 10)];`,
      {
        // What is mounted over it has no process in it.
        through: ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh'],
        args: join(directory, 'candidate'),
      },
    );
    expect(names).toEqual([['new'], []]);
  },
);

needs(root, userNamespaces).test(
  'the file of a user outside the user namespace of this process is ERR_OWNERSHIP, unless allowOwnerChange is set',
  async () => {
    const { uid, gid } = NOBODY;
    await writeFile(path, `alice:${HASH}\n`, { mode: 0o644 });
    await chown(path, uid, gid);
    const edit = (options: PasswordFileOptions) =>
      runScript(
        `
      const { PasswordFile } = await load('src/password-file.ts');
      const file = new PasswordFile(args.path, args.options);
      return file.setHash('bob', args.hash).catch(({ code }) => code);
    `,
        { through: ['unshare', '--map-root-user'], args: { path, options, hash: HASH } },
      );
    expect(await edit({})).toBe('ERR_OWNERSHIP');
    expect(await stat(path)).toMatchObject({ uid, gid });
    expect(await edit({ allowOwnerChange: true })).toBe('added');
    expect(await stat(path)).toMatchObject({ uid: 0, mode: 0o100644 });
  },
);

test('a process that ran out of file descriptors has a complete temp file name afterwards', async () => {
  const [without, with_] = await runScript(
    `const { openSync, closeSync } = await import('node:fs');
    const { tempFileName } = await load('src/storage/lock-owner.ts');
    const opened = [];
    try { for (;;) opened.push(openSync('/dev/null')); } catch {}
    const without = tempFileName('0123456789abcdef');
    for (const fd of opened) closeSync(fd);
    return [without, tempFileName('0123456789abcdef')];`,
    { through: ['sh', '-c', 'ulimit -n 256; exec "$@"', 'sh'] },
  );
  expect(without).toMatch(/^0123456789abcdef\.\d+\.\.-$/);
  expect(with_).toMatch(/^0123456789abcdef\.\d+\.\d+\.[0-9a-f-]{36}-\d+$/);
});

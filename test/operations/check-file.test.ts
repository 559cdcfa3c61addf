/** `PasswordFile.check`: the findings that only the file system shows. */
import { spawnSync } from 'node:child_process';
import { unlinkSync } from 'node:fs';
import { chmod, chown, copyFile, mkdir, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { canRead } from '../../src/operations/check-file.js';
import { PasswordFile } from '../../src/password-file.js';
import { beforeCall } from '../support/builtins.js';
import { run, testDirectory } from '../support/directory.js';
import { needs, program, root } from '../support/require.js';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = testDirectory();
  path = join(directory, 'passwd');
  await writeFile(path, `alice:${hashPasswordSync('pw')}\n`, { mode: 0o600 });
});

/** The findings about the file as a whole. */
async function check(options: Parameters<PasswordFile['check']>[0] = {}, broker: '2.0' | '2.1' = '2.1') {
  const { loads, users, findings } = await new PasswordFile(path, { broker }).check(options);
  return {
    loads,
    users,
    codes: findings.filter(({ line }) => line === 0).map(({ severity, code }) => [severity, code]),
  };
}

describe('check', () => {
  test('finds nothing in a good file', async () => {
    expect(await check()).toEqual({ loads: true, users: ['alice'], codes: [] });
  });

  test('reports the findings in the lines too', async () => {
    await writeFile(path, 'alice:plain\n');
    const { loads, findings } = await new PasswordFile(path).check();
    expect(loads).toBe(false);
    expect(findings).toMatchObject([{ line: 1, severity: 'error', code: 'PLAIN_TEXT', username: 'alice' }]);
  });

  test.each([
    ['2.0', true, 'warning', /itself\.$/],
    ['2.1', false, 'error', /; or set that, and the option brokerFollowsLinks/],
  ] as const)(
    'reports SYMBOLIC_LINK for a symbolic link, with broker %s',
    async (broker, loads, severity, remedy) => {
      const target = path;
      path = join(directory, 'link');
      await symlink(target, path);
      expect(await check({}, broker)).toMatchObject({ loads, codes: [[severity, 'SYMBOLIC_LINK']] });
      const { findings } = await new PasswordFile(path, { broker }).check();
      expect(findings[0]?.message).toMatch(remedy);
    },
  );

  test('reports SYMBOLIC_LINK as a warning with brokerFollowsLinks', async () => {
    const target = path;
    path = join(directory, 'link');
    await symlink(target, path);
    const file = new PasswordFile(path, { broker: '2.1', brokerFollowsLinks: true });
    expect(await file.check()).toMatchObject({
      loads: true,
      users: ['alice'],
      findings: [{ line: 0, severity: 'warning', code: 'SYMBOLIC_LINK' }],
    });
    await writeFile(target, 'alice:plain\n');
    expect(await file.check()).toMatchObject({ loads: false, users: [] });
  });

  test('reports MISSING_FILE if there is no file', async () => {
    await unlink(path);
    const { loads, users, findings } = await new PasswordFile(path).check();
    expect({ loads, users }).toEqual({ loads: false, users: [] });
    expect(findings).toMatchObject([{ line: 0, severity: 'error', code: 'MISSING_FILE' }]);
  });

  test('reports MISSING_FILE if another program removes the file before it is read', async () => {
    const report = new PasswordFile(path, { broker: '2.1' }).check({ brokerUser: { uid: 4711, gid: 4711 } });
    unlinkSync(path);
    const { loads, users, findings } = await report;
    expect({ loads, users }).toEqual({ loads: false, users: [] });
    expect(findings).toMatchObject([{ line: 0, severity: 'error', code: 'MISSING_FILE' }]);
  });

  test('reports MISSING_FILE if another program removes the file during the check', async () => {
    let looks = 0;
    beforeCall('lstatSync', path, () => {
      if (looks++ === 0) unlinkSync(path);
    });
    const { loads, users, findings } = await new PasswordFile(path).check();
    expect({ loads, users }).toEqual({ loads: false, users: [] });
    expect(findings).toMatchObject([{ line: 0, severity: 'error', code: 'MISSING_FILE' }]);
  });

  test.each([
    ['EACCES', "Run as its owner or as root (with CAP_DAC_OVERRIDE), or let this user's group read it."],
    ['EIO', 'Fix that (EIO), then repeat the call.'],
  ])('fails with ERR_READ_FAILED if lstat fails with %s', async (code, remedy) => {
    const refusal = Object.assign(new Error(`${code}: the reason`), { code });
    beforeCall('lstatSync', path, () => {
      throw refusal;
    });
    await expect(new PasswordFile(path).check()).rejects.toMatchObject({
      code: 'ERR_READ_FAILED',
      message: `${path} cannot be read: ${code}: the reason. ${remedy}`,
      cause: refusal,
    });
  });

  test('rejects with the reason of a signal that is aborted already, whatever is at the path', async () => {
    const signal = AbortSignal.abort(new Error('no longer'));
    await expect(check({ signal })).rejects.toThrow('no longer');
    await unlink(path);
    await mkdir(path);
    await expect(check({ signal })).rejects.toThrow('no longer');
  });

  test.each(['directory', 'FIFO'])('reports NOT_A_FILE for a %s', async what => {
    await unlink(path);
    if (what === 'directory') await mkdir(path);
    else run('mkfifo', path);
    expect(await check()).toEqual({ loads: false, users: [], codes: [['error', 'NOT_A_FILE']] });
  });

  test.each(['604', '602', '601', '644'])('reports WORLD_ACCESSIBLE for the mode 0%s', async mode => {
    await chmod(path, Number.parseInt(mode, 8));
    expect(await check()).toMatchObject({ loads: true, codes: [['warning', 'WORLD_ACCESSIBLE']] });
  });

  test('reports nothing for permissions of the group', async () => {
    await chmod(path, 0o660);
    expect((await check()).codes).toEqual([]);
  });

  test('reports NOT_READABLE if the user of the broker may not read the file', async () => {
    const broker = { uid: 64_321, gid: 64_321 };
    expect(await check({ brokerUser: broker })).toEqual({
      loads: false,
      users: [],
      codes: [
        ['error', 'NOT_READABLE'],
        ['warning', 'FOREIGN_OWNER'],
        ['warning', 'FOREIGN_GROUP'],
      ],
    });
  });

  test('reports FOREIGN_GROUP if the file has another group than the user of the broker', async () => {
    const { uid, gid } = await stat(path);
    expect((await check({ brokerUser: { uid, gid } })).codes).toEqual([]);
    expect(await check({ brokerUser: { uid, gid: gid + 1 } })).toMatchObject({
      loads: true,
      codes: [['warning', 'FOREIGN_GROUP']],
    });
  });

  needs(root).test('takes the further groups of the user of the broker into account', async () => {
    await chown(path, 0, 54_322);
    await chmod(path, 0o640);
    const user = { uid: 54_321, gid: 54_321 };
    const foreign = [
      ['warning', 'FOREIGN_OWNER'],
      ['warning', 'FOREIGN_GROUP'],
    ];
    for (const groups of [undefined, [], [54_323]]) {
      expect(await check({ brokerUser: { ...user, groups } })).toMatchObject({
        loads: false,
        codes: [['error', 'NOT_READABLE'], ...foreign],
      });
    }
    expect(await check({ brokerUser: { ...user, groups: [54_323, 54_322] } })).toMatchObject({
      loads: true,
      codes: foreign,
    });
  });

  needs(root).test('reports nothing for a file without permissions if the broker is root', async () => {
    await chmod(path, 0);
    expect((await check({ brokerUser: { uid: 0, gid: 0 } })).codes).toEqual([]);
  });

  test.each<[what: string, brokerUser: unknown, message: RegExp]>([
    ['user', 'root', /brokerUser/],
    ['user', null, /^brokerUser must be an object/],
    ['user', 0, /^brokerUser must be an object/],
    ['user', '', /^brokerUser must be an object/],
    ['user', false, /^brokerUser must be an object/],
    ['user without a uid', { gid: 0 }, /brokerUser must be an object with uid and gid\./],
    ['user without a gid', { uid: 0 }, /brokerUser must be an object with uid and gid\./],
    ['uid', { uid: -1, gid: 0 }, /brokerUser\.uid must be a whole number from 0 to 4294967294\./],
    ['gid', { uid: 0, gid: 2 ** 32 - 1 }, /brokerUser\.gid must be a whole number from 0 to 4294967294\./],
    ['group', { uid: 0, gid: 0, groups: 5 }, /brokerUser\.groups must be an array of group ids\./],
    ['group', { uid: 0, gid: 0, groups: [5, '6'] }, /brokerUser\.groups must be an array of group ids\./],
  ])('refuses a brokerUser with a bad %s: %j', async (_what, brokerUser, message) => {
    await expect(check({ brokerUser } as never)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    });
  });

  test('reports no modes and owners on Windows', async () => {
    const platform = Object.getOwnPropertyDescriptor(process, 'platform') as PropertyDescriptor;
    await chmod(path, 0o606);
    try {
      Object.defineProperty(process, 'platform', { ...platform, value: 'win32' });
      expect(await check({ brokerUser: { uid: 64_321, gid: 64_321 } })).toEqual({
        loads: true,
        users: ['alice'],
        codes: [],
      });
    } finally {
      Object.defineProperty(process, 'platform', platform);
    }
  });

  test.each(['.', 'inner', 'inner/most'])(
    'reports NOT_READABLE if the user of the broker may not enter a directory, with the file in %s of it',
    async inner => {
      await mkdir(join(directory, inner), { recursive: true });
      path = join(directory, inner, 'file');
      await writeFile(path, '', { mode: 0o604 });
      await chmod(directory, 0o700);
      const brokerUser = { uid: 64_321, gid: 64_321 };
      const { loads, findings } = await new PasswordFile(path).check({ brokerUser });
      expect(loads).toBe(false);
      const message = expect.stringContaining(`because of the mode of the directory ${directory}. `);
      expect(findings).toContainEqual(expect.objectContaining({ code: 'NOT_READABLE', message }));
    },
  );

  needs(root, program('setpriv')).test(
    'reports NOT_READABLE exactly if the kernel refuses to open the file',
    async () => {
      const [uid, gid] = [64_321, 64_322];
      const files: string[] = [];
      const refused: string[] = [];
      for (const [owner, group] of [
        [uid, 0],
        [0, gid],
        [0, 0],
      ] as const) {
        for (const mode of [0o600, 0o640, 0o604, 0o040, 0o400, 0o044, 0o311, 0o751]) {
          const file = `${path}-${owner}-${group}-${mode.toString(8)}`;
          await copyFile(path, file);
          await chown(file, owner, group);
          await chmod(file, mode);
          files.push(file);
          const { findings } = await new PasswordFile(file).check({ brokerUser: { uid, gid } });
          if (findings.some(({ code }) => code === 'NOT_READABLE')) refused.push(file);
        }
      }
      const user = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
      const script = 'for file; do cat "$file" >/dev/null 2>&1 || echo "$file"; done';
      const shell = spawnSync('setpriv', [...user, 'sh', '-c', script, 'sh', ...files], { encoding: 'utf8' });
      expect(shell.stdout.trim().split('\n')).toEqual(refused);
    },
  );
});

test.each([
  ['may read the file', true, 0o604],
  ['may not read the file', false, 0o640],
  ['would find no file', false, undefined],
])('canRead of a user who %s is %s', async (_what, expected, mode) => {
  if (mode === undefined) await unlink(path);
  else await chmod(path, mode);
  expect(canRead({ uid: 64_321, gid: 64_321 }, path)).toBe(expected);
});

/** The program of the packed package, run by npx. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { copyFile, cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryDirectory } from '../support/leftovers.js';
import { needs } from '../support/require.js';
import { onTerminal, pseudoTerminal, quoted } from '../support/terminal.js';

const execute = promisify(execFile);
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const NPM_FLAGS = ['--offline', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];

const temporary = temporaryDirectory('package');
const sources = join(temporary.path, 'sources');
const user = join(temporary.path, 'user');
afterAll(() => temporary[Symbol.dispose]());

/** Builds in a copy, because other tests build in this directory too. */
beforeAll(async () => {
  await mkdir(sources);
  await mkdir(user);
  for (const name of ['src', 'man']) await cp(join(PROJECT, name), join(sources, name), { recursive: true });
  for (const name of ['package.json', 'tsconfig.json', 'tsup.config.ts', 'LICENSE']) {
    await copyFile(join(PROJECT, name), join(sources, name));
  }
  await symlink(join(PROJECT, 'node_modules'), join(sources, 'node_modules'));
  await execute('npx', ['--no-install', 'tsup', '--no-dts'], { cwd: sources });
  await execute('npm', ['pack', '--ignore-scripts', '--pack-destination', user, ...NPM_FLAGS], {
    cwd: sources,
  });
  const [tarball = ''] = readdirSync(user);
  // Without this file, npm installs into a directory above that has one.
  await writeFile(join(user, 'package.json'), '{}');
  await execute('npm', ['install', ...NPM_FLAGS, `./${tarball}`], { cwd: user });
}, 120_000);

function npx(...argv: string[]) {
  return execute('npx', ['--no-install', 'mosquitto-passwd-ts', ...argv], { cwd: user, env: QUIET });
}

const QUIET = { ...process.env, npm_config_update_notifier: 'false', npm_config_loglevel: 'error' };

test('npx mosquitto-passwd-ts adds, changes and removes users', async () => {
  expect(await npx('-c', '-b', 'passwd', 'alice', 'one')).toEqual({
    stdout: 'Adding password for user alice\n',
    stderr: '',
  });
  const { stdout: password } = await npx('--generate', 'passwd', 'bob');
  const file = new PasswordFile(join(user, 'passwd'));
  expect(await file.verify('alice', 'one')).toBe(true);
  expect(await file.verify('bob', password.trimEnd())).toBe(true);
  await npx('-D', 'passwd', 'alice');
  expect(await file.users()).toEqual(['bob']);
  await expect(npx('-D', 'passwd', 'alice')).rejects.toMatchObject({
    code: 1,
    stderr: 'Warning: User alice not found in password file.\n',
  });
});

needs(pseudoTerminal).test('npx mosquitto-passwd-ts prompts on the terminal', async () => {
  const { screen, status } = await onTerminal(
    `cd ${quoted(user)}; ${quoted('npx', '--no-install', 'mosquitto-passwd-ts', '-c', 'typed', 'carol')}`,
    [
      ['Password: ', 'three\r'],
      ['Reenter password: ', 'three\r'],
    ],
  );
  expect({ screen, status }).toEqual({
    screen: expect.stringMatching(/Password: \nReenter password: \nAdding password for user carol\n/),
    status: 0,
  });
  expect(screen).not.toContain('three');
});

test('npx mosquitto-passwd-ts --version prints the version of the package', async () => {
  const { version } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
  expect((await npx('--version')).stdout).toBe(`mosquitto-passwd-ts ${version}\n`);
});

test('a global installation has the program and its man page', async () => {
  const prefix = join(temporary.path, 'global');
  const [tarball = ''] = readdirSync(user).filter(name => name.endsWith('.tgz'));
  await execute('npm', ['install', '--global', '--prefix', prefix, ...NPM_FLAGS, join(user, tarball)]);
  const { stdout } = await execute(join(prefix, 'bin/mosquitto-passwd-ts'), ['--help']);
  expect(stdout).toMatch(/^mosquitto-passwd-ts is a tool for managing password files/);
  const page = realpathSync(join(prefix, 'share/man/man1/mosquitto-passwd-ts.1'));
  expect(readFileSync(page, 'utf8')).toMatch(/^\.TH MOSQUITTO/);
});

/** The program's --dynsec: what it prints, and how it replaces the plugin's file. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { formatHash, hashPasswordSync } from 'mosquitto-passwd-ts';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { read, replace } from '../../src/cli/dynamic-security.js';
import { NOBODY } from '../support/as-user.js';
import { beforeCall } from '../support/builtins.js';
import { call, type Ended, PROGRAM } from '../support/cli.js';
import { expectOnly, testDirectory } from '../support/directory.js';
import { linux, needs, program, root } from '../support/require.js';
import { tracing } from '../support/strace.js';

const SALT = Buffer.alloc(12, 1);
const KEY = Buffer.alloc(64, 2);
const HASH = formatHash({ algorithm: 'pbkdf2-sha512', iterations: 101, salt: SALT, key: KEY });
const ADMIN = { username: 'admin', encoded_password: HASH, roles: [{ rolename: 'admin' }] };
const CONFIG = { clients: [ADMIN], roles: [{ rolename: 'admin' }, { rolename: 'device' }], extra: 1 };
const TEXT = JSON.stringify(CONFIG);
const NOTES =
  'A broker that ran meanwhile does not read this, and overwrites it. Then stop the broker and repeat this.\n' +
  'Keep a copy for Mosquitto 2.0: it cannot read the file once 2.1 has saved it.\n';

let directory: string;
let config: string;

beforeEach(() => {
  directory = testDirectory();
  config = join(directory, 'config.json');
  writeFileSync(config, TEXT, { mode: 0o640 });
  writeFileSync(join(directory, 'passwd'), `alice:${HASH}\nbob:${HASH}\n`, { mode: 0o600 });
});

function run(...argv: string[]): Promise<Ended> {
  return call(['--dynsec', 'config.json', ...argv, 'passwd'], { cwd: directory });
}

/** A call that fails, and leaves the plugin's file and its directory as they are. */
async function refused(...argv: string[]): Promise<string> {
  const before = readFileSync(config, 'utf8');
  const { stderr, ...ended } = await run(...argv);
  expect(ended).toEqual({ status: 1, signal: null, stdout: '' });
  expect(readFileSync(config, 'utf8')).toBe(before);
  return stderr;
}

const client = (username: string, roles: string[] = []) => ({
  username,
  password: KEY.toString('base64'),
  salt: SALT.toString('base64'),
  iterations: 101,
  ...(roles.length > 0 && { roles: roles.map(rolename => ({ rolename })) }),
});

function clients(): unknown {
  return JSON.parse(readFileSync(config, 'utf8')).clients;
}

describe('--dynsec', () => {
  test('adds the users with the role', async () => {
    expect(await run('--role', 'device')).toEqual({
      status: 0,
      signal: null,
      stdout: `Clients in config.json: 2 added, 0 replaced.\n${NOTES}`,
      stderr: '',
    });
    expect(JSON.parse(readFileSync(config, 'utf8'))).toEqual({
      ...CONFIG,
      clients: [client('bob', ['device']), client('alice', ['device']), ADMIN],
    });
    expectOnly(directory, 'config.json', 'passwd');
  });

  test('adds clients in the form of 2.1 with --broker 2.1', async () => {
    expect(await run('--broker', '2.1', '--quiet')).toEqual({
      status: 0,
      signal: null,
      stdout: '',
      stderr: '',
    });
    const encoded_password = HASH;
    expect(clients()).toEqual([
      { username: 'bob', encoded_password },
      { username: 'alice', encoded_password },
      ADMIN,
    ]);
  });

  test('indents the file by tabs, as Mosquitto 2.0 does', async () => {
    await run();
    const all = { ...CONFIG, clients: [client('bob'), client('alice'), ADMIN] };
    expect(readFileSync(config, 'utf8')).toBe(`${JSON.stringify(all, undefined, '\t')}\n`);
  });

  test('replaces clients only with --force', async () => {
    await run();
    expect(await refused('--role', 'device')).toMatch(/^Error: config\.json has the client bob and 1 more /);
    const { status, stdout } = await run('--role', 'device', '--force');
    expect([status, stdout]).toEqual([0, `Clients in config.json: 0 added, 2 replaced.\n${NOTES}`]);
    expect(clients()).toEqual([client('bob', ['device']), client('alice', ['device']), ADMIN]);
  });

  test('exits with 1, reports whom it leaves out, and adds the others', async () => {
    const of64 = hashPasswordSync('one', { salt: Buffer.alloc(64) });
    const lines = [`carol:${of64}`, 'dave:plain', `alice:${HASH}`, `admin:${HASH}`, ''];
    writeFileSync(join(directory, 'passwd'), lines.join('\n'));
    const { status, stdout, stderr } = await run('--force');
    expect([status, stdout]).toEqual([1, `Clients in config.json: 1 added, 0 replaced.\n${NOTES}`]);
    const [dave, ...others] = stderr.trimEnd().split('\n');
    expect(dave).toMatch(/^passwd:2: error: .*a password in plain text/);
    expect(others).toEqual([
      'passwd: error: User carol: The plugin of Mosquitto 2.0 reads no salt of 64 bytes, only 12.',
      'passwd: error: User admin: In config.json this client is an administrator, and stays.',
    ]);
    expect(clients()).toEqual([client('alice'), ADMIN]);
  });

  test('reports the lines that it cannot read at once, also where it then fails', async () => {
    writeFileSync(join(directory, 'passwd'), 'dave:plain\n');
    expect(await refused('--role', 'pump')).toMatch(
      /^passwd:1: error: .*\nError: config\.json has no role pump\./,
    );
  });

  test('does not write if there are no clients to add', async () => {
    writeFileSync(join(directory, 'passwd'), '');
    const before = statSync(config, { bigint: true });
    expect(await run()).toMatchObject({
      status: 0,
      stdout: 'Clients in config.json: 0 added, 0 replaced.\n',
    });
    expect(statSync(config, { bigint: true })).toMatchObject({ ino: before.ino, ctimeNs: before.ctimeNs });
  });

  test.each([
    [['--role', 'pump'], 'Error: config.json has no role pump. Make it with '],
    [['--role', 'admin'], 'Error: The role admin in config.json is for administrators. Make another one '],
    [['--role', ''], 'Error: --role takes the name of a role.'],
  ])(
    'refuses a role that does not exist, is not valid or is for administrators: %j',
    async (argv, message) => {
      expect(await refused(...argv)).toContain(message);
    },
  );

  test('refuses a file that is not one of the plugin, and does not quote it', async () => {
    const problem =
      'Error: config.json is not a file of mosquitto_ctrl dynsec init: it is not JSON in UTF-8 with lists of clients and roles.\n';
    writeFileSync(config, 'root:secret');
    expect(await refused()).toBe(problem);
    writeFileSync(config, Buffer.from(TEXT.replace('admin', 'é'), 'latin1'));
    expect(await refused()).toBe(problem);
  });

  test('warns of more than 10,000 clients with one role', async () => {
    const line = (_: unknown, i: number) => `device_${i}:${HASH}\n`;
    writeFileSync(join(directory, 'passwd'), Array.from({ length: 10_000 }, line).join(''));
    expect(await run('--role', 'device')).toMatchObject({ status: 0, stderr: '' });
    writeFileSync(join(directory, 'passwd'), `alice:${HASH}\n`);
    const { status, stderr } = await run('--role', 'device');
    expect([status, stderr]).toEqual([
      0,
      expect.stringMatching(/^Warning: 10001 clients have the role device\. .* 1 to 4 s, .* 10 to 104 s\. /),
    ]);
  });
});

describe('--dynsec, which replaces the file of the plugin,', () => {
  test('keeps the mode of the file', async () => {
    chmodSync(config, 0o604);
    expect(await run()).toMatchObject({ status: 0 });
    expect(statSync(config).mode & 0o7777).toBe(0o604);
  });

  needs(linux).describe('refuses a symbolic link', () => {
    test.each([
      ['the file', 'config.json'],
      ['a directory above', 'linked/config.json'],
    ])('instead of %s', async (_title, path) => {
      mkdirSync(join(directory, 'inner'));
      renameSync(config, join(directory, 'inner/config.json'));
      symlinkSync('inner/config.json', config);
      symlinkSync('inner', join(directory, 'linked'));
      const { status, stderr } = await call(['--dynsec', path, 'passwd'], { cwd: directory });
      const message = `Error: There is a symbolic link in ${path}. Pass the path without it.\n`;
      expect([status, stderr]).toEqual([1, message]);
      expect(readFileSync(join(directory, 'inner/config.json'), 'utf8')).toBe(TEXT);
    });
  });

  test.each([
    ['a missing file', () => undefined, 'Unable to open file config.json. No such file or directory.'],
    ['a directory', () => mkdirSync(config), 'config.json is not a file.'],
  ])('refuses %s', async (_title, prepare, message) => {
    renameSync(config, `${config}.old`);
    prepare();
    expect(await run()).toEqual({ status: 1, signal: null, stdout: '', stderr: `Error: ${message}\n` });
  });

  test('refuses a symbolic link that takes the place of the file when it is opened', () => {
    const workingDirectory = process.cwd();
    onTestFinished(() => process.chdir(workingDirectory));
    beforeCall('openSync', 'config.json', () => {
      renameSync(config, `${config}.old`);
      symlinkSync('config.json.old', config);
    });
    expect(() => read(config)).toThrow(/^Unable to open file .*config\.json\. /);
  });

  needs(linux, program('mkfifo')).test('refuses a FIFO without waiting for it', async () => {
    renameSync(config, `${config}.old`);
    execFileSync('mkfifo', [config]);
    expect(await run()).toMatchObject({ status: 1, stderr: 'Error: config.json is not a file.\n' });
  });
});

needs(linux, ...tracing).describe('--dynsec under strace', () => {
  function traced(...options: string[]) {
    const argv = ['-f', '-y', '-s', '0', '-qq', '-o', 'log', ...options, process.execPath, PROGRAM];
    const { status, stderr } = spawnSync('strace', [...argv, '--dynsec', 'config.json', 'passwd'], {
      cwd: directory,
      encoding: 'utf8',
    });
    const log = readFileSync(join(directory, 'log'), 'utf8');
    unlinkSync(join(directory, 'log'));
    return { status, stderr, log };
  }

  test('writes a new private file, gives it owner and mode, and syncs it and, after the rename, its directory', () => {
    const { status, log } = traced('-e', 'trace=openat,write,fchown,fchmod,fsync,rename');
    expect(status).toBe(0);
    expect(log).toMatch(/ openat\(.*"\.\w+\.tmp", O_WRONLY\|O_CREAT\|O_EXCL\|.*, 0600\)/);
    const calls = log.split('\n').filter(line => /\.tmp\b|fsync/.test(line));
    const names = calls.map(line => / (\w+)\(/.exec(line)?.[1]);
    expect(names).toEqual(['openat', 'write', 'fchown', 'fchmod', 'fsync', 'rename', 'fsync']);
  });

  test.each([
    ['file', 1, 1, 'config.json was not changed: '],
    ['directory', 2, 3, 'config.json was changed, but may not be on disk yet: '],
  ])('reports that the %s cannot be synced', (_what, when, status, message) => {
    const ended = traced('-e', 'trace=fsync', '-e', `inject=fsync:error=EIO:when=${when}`);
    expect(ended).toMatchObject({ status, stderr: expect.stringContaining(message) });
    expectOnly(directory, 'config.json', 'passwd');
    expect(readFileSync(config, 'utf8') === TEXT).toBe(status === 1);
  });
});

needs(linux, root).describe('--dynsec as root, in a directory that another user may write,', () => {
  const others = (path: string) => chownSync(path, NOBODY.uid, NOBODY.gid);

  test('keeps owner and group', async () => {
    others(directory);
    others(config);
    expect(await run()).toMatchObject({ status: 0 });
    const { uid, gid, mode } = statSync(config);
    expect([uid, gid, mode & 0o7777]).toEqual([NOBODY.uid, NOBODY.gid, 0o640]);
  });

  test('replaces the file in its directory although that has been replaced by a symbolic link', () => {
    const target = join(directory, 'target');
    const home = join(directory, 'home');
    for (const directory of [target, home]) {
      mkdirSync(directory);
      writeFileSync(join(directory, 'config.json'), TEXT);
    }
    const path = join(home, 'config.json');
    const workingDirectory = process.cwd();
    onTestFinished(() => process.chdir(workingDirectory));
    const { stats } = read(path);
    renameSync(home, `${home}.old`);
    symlinkSync('target', home);
    replace(path, stats, 'new');
    expectOnly(target, 'config.json');
    expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe(TEXT);
    expect(readFileSync(join(`${home}.old`, 'config.json'), 'utf8')).toBe('new');
  });

  test('does not change the file under its other hard links', async () => {
    const secret = join(directory, 'secret.json');
    linkSync(config, secret);
    expect(await run()).toMatchObject({ status: 0 });
    expect(readFileSync(secret, 'utf8')).toBe(TEXT);
  });
});

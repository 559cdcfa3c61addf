/** A `PasswordFile` with the option `reload`, and real brokers. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { confirmLogin } from '../../src/broker/login.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import type { PasswordFileOptions } from '../../src/options.js';
import { PasswordFile } from '../../src/password-file.js';
import { type Broker, findBrokers, login, type RunningBroker, startBroker } from '../support/broker.js';
import { testDirectory } from '../support/directory.js';
import { broker, describeBrokers, needs, root } from '../support/require.js';
import { runScript } from '../support/script.js';
import { tracing } from '../support/strace.js';

const host = '127.0.0.1';

describeBrokers('a PasswordFile with the option reload', program => {
  let path: string;
  let broker: RunningBroker;

  beforeEach(async () => {
    path = join(testDirectory(), 'passwd');
    await writeFile(path, `base:${hashPasswordSync('pw')}\n`, { mode: 0o600 });
    broker = await startBroker(program, { passwordFile: path });
  });
  afterEach(() => broker.stop());

  function service(options: PasswordFileOptions = {}): PasswordFile {
    return new PasswordFile(path, {
      broker: program.release,
      reload: { pid: broker.pid, minInterval: 0 },
      ...options,
    });
  }

  test('makes added, updated and removed users take effect', async () => {
    const file = service();
    const { username, password } = await file.provision();
    await file.reloaded();
    await confirmLogin({ host, port: broker.port, username, password });

    await file.setUser(username, 'another');
    await file.reloaded();
    await confirmLogin({ host, port: broker.port, username, password: 'another' });
    expect(await login(broker.port, username, password)).toBe(5);

    await file.removeUser(username);
    await file.reloaded();
    await broker.answers();
    expect(await login(broker.port, username, 'another')).toBe(5);
  });

  test('makes the broker reload once more after 100 commits during a reload, and all users are in at the end', async () => {
    const file = service();
    const before = broker.reloads;
    // The first reload then lasts until all commits are made.
    process.kill(broker.pid, 'SIGSTOP');
    for (let i = 0; i < 100; i++) await file.setHash(`device-${i}`, hashPasswordSync('pw'));
    process.kill(broker.pid, 'SIGCONT');
    await file.reloaded();
    await broker.answers();
    expect(await login(broker.port, 'device-0', 'pw')).toBe(0);
    expect(await login(broker.port, 'device-99', 'pw')).toBe(0);
    // A third one comes if the commits take so long that the first reload is given up.
    expect(broker.reloads - before).toBeGreaterThan(1);
    expect(broker.reloads - before).toBeLessThan(4);
  });

  test('does not make Mosquitto 2.1 reload a file that another program has damaged, which would end it', async () => {
    const reported: unknown[] = [];
    const file = service({
      reload: { pid: broker.pid, minInterval: 0, onError: error => reported.push(error) },
    });
    const before = broker.reloads;
    await writeFile(path, `${await readFile(path, 'utf8')}base:duplicate\n`);
    expect(await file.setUser('late', 'pw')).toBe('added');
    const reloaded = file.reloaded();
    if (program.release === '2.1') {
      await expect(reloaded).rejects.toMatchObject({
        code: 'ERR_RELOAD_REFUSED',
        findings: [{ line: 2, code: 'DUPLICATE_NAME', username: 'base' }, { code: 'PLAIN_TEXT' }],
      });
      expect(reported).toMatchObject([{ code: 'ERR_RELOAD_REFUSED' }]);
      expect(broker.reloads).toBe(before);
      expect(await login(broker.port, 'base', 'pw')).toBe(0);

      await file.setUser('base', 'pw');
    }
    await file.reloaded();
    await confirmLogin({ host, port: broker.port, username: 'late', password: 'pw' });
  });

  test('rejects reloaded(), not the edit, if the broker has ended, and tries again at the next call', async () => {
    const reported: unknown[] = [];
    const file = service({
      reload: { pid: broker.pid, minInterval: 0, onError: error => reported.push(error) },
    });
    await broker.stop();
    expect(await file.setUser('alice', 'pw')).toBe('added');
    await expect(file.reloaded()).rejects.toMatchObject({ code: 'ERR_RELOAD_FAILED' });
    await expect(file.reloaded()).rejects.toMatchObject({ code: 'ERR_RELOAD_FAILED' });
    expect(reported.length).toBeGreaterThanOrEqual(2);
    expect(await file.verify('alice', 'pw')).toBe(true);
  });

  needs(root).test(
    'does not make a broker reload a file that its user cannot read, and reports that in check()',
    async () => {
      const id = (flag: string) => Number(spawnSync('id', [flag, 'mosquitto'], { encoding: 'utf8' }).stdout);
      const user = { uid: id('-u'), gid: id('-g') };
      await chown(path, user.uid, user.gid);
      await broker.stop();
      broker = await startBroker(program, { passwordFile: path, user: 'mosquitto' });
      const file = service();
      expect(await file.check({ brokerUser: user })).toMatchObject({ loads: true, users: ['base'] });

      await chown(path, 0, 0);
      const { loads, findings } = await file.check({ brokerUser: user });
      expect({ loads, code: findings[0]?.code }).toEqual({ loads: false, code: 'NOT_READABLE' });
      await expect(file.reloaded({ force: true })).rejects.toMatchObject({ code: 'ERR_RELOAD_REFUSED' });
      expect(broker.reloads).toBe(0);
      expect(await login(broker.port, 'base', 'pw')).toBe(0);

      const lives = await broker.reload();
      if (program.release === '2.1') expect(lives).toBe(false);
      else expect(await login(broker.port, 'base', 'pw')).toBe(5);
    },
  );
});

needs(broker('2.1')).describe('a reload of Mosquitto 2.1 through a symbolic link', () => {
  async function linked(options: PasswordFileOptions) {
    const path = join(testDirectory(), 'passwd');
    const link = join(testDirectory(), 'link');
    await writeFile(path, `base:${hashPasswordSync('pw')}\n`, { mode: 0o600 });
    await symlink(path, link);
    const program = findBrokers().find(({ release }) => release === '2.1') as Broker;
    const env = { MOSQUITTO_UNSAFE_ALLOW_SYMLINKS: '1' };
    const running = await startBroker(program, { passwordFile: link, env });
    onTestFinished(() => running.stop());
    return { running, file: new PasswordFile(link, { reload: { pid: running.pid }, ...options }) };
  }

  test('is made with brokerFollowsLinks', async () => {
    const { running, file } = await linked({ brokerFollowsLinks: true });
    await file.setUser('alice', 'pw');
    await file.reloaded();
    expect(await login(running.port, 'alice', 'pw')).toBe(0);
  });

  test('is ERR_RELOAD_REFUSED without brokerFollowsLinks: a broker that does not follow links would exit', async () => {
    const { running, file } = await linked({});
    await file.setUser('alice', 'pw');
    await expect(file.reloaded()).rejects.toMatchObject({
      code: 'ERR_RELOAD_REFUSED',
      findings: expect.arrayContaining([expect.objectContaining({ code: 'SYMBOLIC_LINK' })]),
    });
    expect(running.reloads).toBe(0);
  });
});

describe('PasswordFile.reloaded', () => {
  test('fails with ERR_INVALID_ARGUMENT without the option reload', async () => {
    const file = new PasswordFile(join(testDirectory(), 'passwd'));
    await expect(file.reloaded()).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
  });

  test('resolves at once if nothing was committed', async () => {
    const reload = { command: ['false'] };
    await expect(
      new PasswordFile(join(testDirectory(), 'passwd'), { reload }).reloaded(),
    ).resolves.toBeUndefined();
  });

  test('waits for the end of a command', async () => {
    const directory = testDirectory();
    const reported = join(directory, 'reported');
    const file = new PasswordFile(join(directory, 'passwd'), { reload: { command: ['touch', reported] } });
    await file.setUser('alice', 'pw');
    await file.reloaded();
    await expect(readFile(reported, 'utf8')).resolves.toBe('');
  });

  needs(...tracing).test('also covers a commit that failed with ERR_NOT_DURABLE', async () => {
    const reported = join(testDirectory(), 'reported');
    const error = await runScript(
      `
      const { PasswordFile } = await load('src/index.ts');
      const file = new PasswordFile(args.path, { reload: { command: ['touch', args.reported] } });
      const error = await file.setUser('alice', 'pw').catch(error => error);
      await file.reloaded();
      return error;
    `,
      {
        args: { path: join(testDirectory(), 'passwd'), reported },
        // The second fsync is that of the directory.
        through: [
          ...['env', 'UV_THREADPOOL_SIZE=1', 'strace', '-f', '-o', '/dev/null', '-e', 'trace=fsync'],
          ...['-e', 'inject=fsync:error=EIO:when=2'],
        ],
      },
    );
    expect(error).toMatchObject({ code: 'ERR_NOT_DURABLE', committed: true });
    expect(existsSync(reported)).toBe(true);
  });

  test('rejects with the reason of an abort', async () => {
    const file = new PasswordFile(join(testDirectory(), 'passwd'), { reload: { command: ['sleep', '0.2'] } });
    await file.setUser('alice', 'pw');
    const reason = new Error('no longer');
    await expect(file.reloaded({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await file.reloaded();
  });
});

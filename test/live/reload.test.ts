import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { confirmLogin } from '../../src/broker/login.js';
import { reloadBroker } from '../../src/broker/reload.js';
import type { ReloadTarget } from '../../src/broker/reload-target.js';
import { hashPassword } from '../../src/hash/hash.js';
import { freePort, login, type RunningBroker, startBroker } from '../support/broker.js';
import { certificate } from '../support/certificate.js';
import { describeBrokers, namespaces, needs, program, root } from '../support/require.js';
import { runScript } from '../support/script.js';

const host = '127.0.0.1';
const PASSWORD = 'correct horse';

let directory: string;
let passwordFile: string;
let pidFile: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'reload-live-'));
  // The user of the broker reads the password file and writes the pid file.
  await chmod(directory, 0o777);
  passwordFile = join(directory, 'passwords');
  pidFile = join(directory, 'mosquitto.pid');
  await users('alice');
});
afterEach(() => rm(directory, { recursive: true }));

/** Writes a password file with these users. */
async function users(...names: string[]): Promise<void> {
  const lines = names.map(async name => `${name}:${await hashPassword(PASSWORD)}\n`);
  await writeFile(passwordFile, (await Promise.all(lines)).join(''));
}

async function confirm(broker: RunningBroker, username: string): Promise<void> {
  await confirmLogin({ host, port: broker.port, username, password: PASSWORD });
}

/** The result of a login that is tried for half a second. */
function attempt(broker: RunningBroker, username: string): Promise<unknown> {
  return confirmLogin({ host, port: broker.port, username, password: PASSWORD, timeout: 500 }).then(
    () => 'in',
    error => error.code,
  );
}

/** The user that the broker of Debian's package runs as, or one that every system has. */
async function brokerUser(): Promise<string> {
  return /^mosquitto:/m.test(await readFile('/etc/passwd', 'utf8')) ? 'mosquitto' : 'nobody';
}

/** Calls reloadBroker in another process, which root has turned into one of this user. */
function reloadAs(user: { uid: number; gid: number }, target: ReloadTarget): Promise<string> {
  const body = `
    const { reloadBroker } = await load('src/broker/reload.ts');
    process.setgroups([]);
    process.setgid(args.user.gid);
    process.setuid(args.user.uid);
    return reloadBroker(args.target).then(() => 'reloaded', error => error.code + ': ' + error.message);
  `;
  return runScript(body, { args: { user, target } });
}

describeBrokers('reloadBroker', broker => {
  const start = (config = '', user?: string) =>
    startBroker(broker, { passwordFile, config: `pid_file ${pidFile}\n${config}`, user });

  const ways: Array<[string, (running: RunningBroker) => ReloadTarget]> = [
    ['pid', ({ pid }) => ({ pid })],
    ['pid file', () => ({ pidFile })],
    ['a command', ({ pid }) => ({ command: ['sh', '-c', 'kill -HUP "$0"', `${pid}`] })],
  ];
  test.each(ways)('makes added, changed and removed users take effect, by %s', async (_, targetOf) => {
    await using running = await start();
    const target = targetOf(running);
    expect(await login(running.port, 'bob', PASSWORD)).toBe(5);

    await users('alice', 'bob');
    await reloadBroker(target);
    await confirm(running, 'bob');
    await confirm(running, 'alice');

    await writeFile(passwordFile, `bob:${await hashPassword('another')}\n`);
    await reloadBroker(target);
    await confirmLogin({ host, port: running.port, username: 'bob', password: 'another' });
    expect(await login(running.port, 'bob', PASSWORD)).toBe(5);
    expect(await login(running.port, 'alice', PASSWORD)).toBe(5);
    expect(running.reloads).toBe(2);
  });

  needs(namespaces).test('finds the only broker of its pid namespace by its name', async () => {
    await users('alice', 'bob');
    const body = `
      const { writeFile, readFile } = await import('node:fs/promises');
      const { startBroker } = await load('test/support/broker.ts');
      const { reloadBroker } = await load('src/broker/reload.ts');
      const { confirmLogin } = await load('src/broker/login.ts');
      const { broker, passwordFile, password } = args;
      const both = await readFile(passwordFile);
      await writeFile(passwordFile, '');
      const running = await startBroker(broker, { passwordFile });
      await writeFile(passwordFile, both);
      await reloadBroker({ process: 'mosquitto' });
      await confirmLogin({ host: '127.0.0.1', port: running.port, username: 'bob', password });
      const second = await startBroker(broker, { passwordFile });
      const message = await reloadBroker({ process: 'mosquitto' }).catch(error => error.message);
      const pids = [running.pid, second.pid];
      await second.stop();
      await reloadBroker({ process: 'mosquitto' });
      const twice = await running.reloaded(2);
      await running.stop();
      const gone = await reloadBroker({ process: 'mosquitto' }).catch(error => error.message);
      return { message, pids, twice, gone };
    `;
    const result = await runScript(body, {
      through: ['unshare', '--pid', '--fork', '--mount-proc'],
      args: { broker, passwordFile, password: PASSWORD },
    });
    expect(result.message).toContain(`2 processes are called mosquitto (${result.pids.join(', ')})`);
    expect(result.twice).toBe(true);
    expect(result.gone).toContain('is called mosquitto. Is the broker running?');
  });

  test('fails if the broker has ended and removed its pid file', async () => {
    const running = await start();
    await running.stop();
    const message = await reloadBroker({ pidFile }).catch(error => error.message);
    expect(message).toContain(`The pid file ${pidFile} cannot be read (ENOENT). Is the broker running`);
  });

  test('fails if the broker was killed and has left its pid file', async () => {
    const running = await start();
    process.kill(running.pid, 'SIGKILL');
    await running.exited;
    const message = await reloadBroker({ pidFile }).catch(error => error.message);
    expect(message).toContain(`pid ${running.pid} (in ${pidFile}) is not running`);
    await running.stop();
  });

  test('does not end a broker that is still starting', async () => {
    // So large a file that the broker writes its pid a while before it listens for SIGHUP.
    const hash = await hashPassword(PASSWORD);
    const lines = Array.from({ length: 100_000 }, (_, n) => `user${n}:${hash}\n`);
    await writeFile(passwordFile, lines.join(''));
    const starting = start();
    const written = () => readFile(pidFile, 'utf8').catch(() => '');
    while ((await written()) === '') await pause(1);
    await reloadBroker({ pidFile });
    await using running = await starting;
    expect(await running.reloaded(1)).toBe(true);
    await confirm(running, 'user99999');
  });

  // As two containers, first each with its own pid namespace, then with a shared one.
  needs(namespaces, program('nsenter')).test(
    'refuses a broker in another pid namespace, and finds it from within that',
    async () => {
      const port = await freePort();
      const config = join(directory, 'mosquitto.conf');
      const lines = [
        `listener ${port} ${host}`,
        `password_file ${passwordFile}`,
        `pid_file ${pidFile}`,
        'user root',
      ];
      await writeFile(config, `${lines.join('\n')}\n`);
      const unshare = ['--kill-child', '--pid', '--fork', '--mount-proc', broker.path, '-c', config];
      const container = spawn('unshare', unshare, { stdio: 'ignore' });
      try {
        await confirmLogin({ host, port, username: 'alice', password: PASSWORD });
        const pid = await readFile(pidFile, 'utf8');
        expect(pid).toBe('1');
        const error = await reloadBroker({ pidFile }).catch(error => error);
        const name = (await readFile('/proc/1/comm', 'utf8')).trim();
        expect(error).toMatchObject({ code: 'ERR_RELOAD_FAILED', path: pidFile });
        expect(error.message).toContain(`pid 1 (in ${pidFile}) is ${name}, `);
        expect(error.message).toContain('pid: "service:mosquitto"');

        const children = await readFile(`/proc/${container.pid}/task/${container.pid}/children`, 'utf8');
        for (const target of [{ process: 'mosquitto' }, { pidFile }, { pid: 1 }]) {
          const username = `by ${Object.keys(target)}`;
          await users(username);
          const body = `
          const { reloadBroker } = await load('src/broker/reload.ts');
          await reloadBroker(args);
        `;
          const through = ['nsenter', '--target', children.trim(), '--pid', 'unshare', '--mount-proc'];
          await runScript(body, { through, args: target });
          expect(await login(port, username, PASSWORD)).toBe(0);
        }
      } finally {
        container.kill('SIGKILL');
        await once(container, 'exit');
      }
    },
  );

  needs(root).test(
    'fails if this process may not signal the broker, and works as the user of the broker',
    async () => {
      await using running = await start('', await brokerUser());
      const { uid, gid } = await stat(`/proc/${running.pid}`);
      expect(uid).not.toBe(0);
      await chmod(passwordFile, 0o644);
      await users('alice', 'bob');

      const refusal = await reloadAs({ uid: 54321, gid: 54321 }, { pid: running.pid });
      expect(refusal).toContain(
        `ERR_RELOAD_FAILED: pid ${running.pid} is mosquitto, but this process (uid 54321) may not signal it. Run as ` +
          `the broker's user (uid ${uid}) or as root`,
      );
      expect(running.reloads).toBe(0);

      expect(await reloadAs({ uid, gid }, { pid: running.pid })).toBe('reloaded');
      expect(await login(running.port, 'bob', PASSWORD)).toBe(0);
    },
  );

  needs(root).test(
    'is followed by a failure of confirmLogin if the broker may not read the file',
    async () => {
      await users('alice', 'bob');
      await chmod(passwordFile, 0o600);
      const user = await brokerUser();
      const [uid, gid] = ['-u', '-g'].map(what => Number(execFileSync('id', [what, user])));
      await chown(passwordFile, Number(uid), Number(gid));
      await using running = await start('', user);
      await confirm(running, 'bob');
      await users('alice', 'bob', 'carol');
      await chown(passwordFile, 0, 0);
      const reload = reloadBroker({ pid: running.pid });
      if (broker.release === '2.0') await reload;
      else await expect(reload).rejects.toMatchObject({ code: 'ERR_RELOAD_FAILED' });
      // From then on Mosquitto 2.0 lets nobody in; 2.1 exits.
      const code = broker.release === '2.0' ? 'ERR_LOGIN_REFUSED' : 'ERR_LOGIN_FAILED';
      expect(await attempt(running, 'carol')).toBe(code);
    },
  );
});

describeBrokers('confirmLogin', broker => {
  test('ends its session with DISCONNECT', async () => {
    await using running = await startBroker(broker, { passwordFile });
    const alice = { host, port: running.port, username: 'alice', password: PASSWORD };
    await confirmLogin({ ...alice, clientId: 'confirming' });
    expect(await running.logged('Received DISCONNECT from confirming')).toBe(true);
    expect(running.log()).not.toContain('ession timeout');
  });

  test('fails with ERR_LOGIN_TIMEOUT while the broker is stopped, and waits until it goes on', async () => {
    await using running = await startBroker(broker, { passwordFile });
    process.kill(running.pid, 'SIGSTOP');
    expect(await attempt(running, 'alice')).toBe('ERR_LOGIN_TIMEOUT');
    const confirmed = confirm(running, 'alice');
    process.kill(running.pid, 'SIGCONT');
    await confirmed;
  });

  test('waits for a reload that is under way', async () => {
    await using running = await startBroker(broker, { passwordFile });
    await users('alice', 'bob');
    const confirmed = confirm(running, 'bob');
    await running.logged('not authorised');
    await reloadBroker({ pid: running.pid });
    await expect(confirmed).resolves.toBeUndefined();
  });

  test('fails if a reload has ended the broker, or the broker has dropped the user', async () => {
    await using running = await startBroker(broker, { passwordFile });
    await writeFile(passwordFile, 'bob:$7$broken\n', { flag: 'a' });
    const reload = reloadBroker({ pid: running.pid });
    if (broker.release === '2.0') await reload;
    else {
      await expect(reload).rejects.toMatchObject({
        code: 'ERR_RELOAD_FAILED',
        message: expect.stringContaining(
          `pid ${running.pid} ended before it had read the file, and its log may say why.`,
        ),
      });
    }
    const code = broker.release === '2.0' ? 'ERR_LOGIN_REFUSED' : 'ERR_LOGIN_FAILED';
    expect(await attempt(running, 'bob')).toBe(code);
  });

  // 2.0.21 and 2.1.2 drop a CONNECT of more than 100,000 bytes.
  test('sends a name and a password as long as the broker takes them', async () => {
    const username = `${'ü'.repeat(32_767)}!`;
    const password = 'p'.repeat(34_000);
    await writeFile(passwordFile, `${username}:${await hashPassword(password)}\n`);
    await using running = await startBroker(broker, { passwordFile });
    const login = confirmLogin({ host, port: running.port, username, password });
    await expect(login).resolves.toBeUndefined();
  });

  test('is refused without a client identifier that the broker allows', async () => {
    await using running = await startBroker(broker, { passwordFile, config: 'clientid_prefixes device-' });
    const alice = { host, port: running.port, username: 'alice', password: PASSWORD };
    const error = await confirmLogin({ ...alice, timeout: 500 }).catch(error => error);
    expect(error.code).toBe('ERR_LOGIN_REFUSED');
    expect(error.message).toContain('With clientid_prefixes there, set clientId.');
    await confirmLogin({ ...alice, clientId: 'device-1' });
  });

  test('has a keep-alive that a broker with max_keepalive 10 accepts', async () => {
    await using running = await startBroker(broker, { passwordFile, config: 'max_keepalive 10' });
    await expect(confirm(running, 'alice')).resolves.toBeUndefined();
  });

  needs(program('openssl')).test(
    'speaks TLS, with a client certificate if the broker asks for one',
    async () => {
      const { key, cert } = certificate(directory);
      const [port, strictPort] = [await freePort(), await freePort()];
      const listener = (port: number) => `listener ${port} ${host}\ncertfile ${cert}\nkeyfile ${key}\n`;
      const config = `${listener(port)}${listener(strictPort)}cafile ${cert}\nrequire_certificate true\n`;
      await using running = await startBroker(broker, { passwordFile, config });
      const ca = await readFile(cert);
      const alice = { host: 'localhost', port, username: 'alice', password: PASSWORD };
      const failure = (options: object) =>
        confirmLogin({ ...alice, ...options }).then(
          () => undefined,
          error => error,
        );

      await confirmLogin({ ...alice, tls: { ca } });
      expect(await failure({ tls: true })).toMatchObject({
        code: 'ERR_LOGIN_FAILED',
        cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
      });
      expect(await failure({ tls: { ca }, password: 'wrong', timeout: 500 })).toMatchObject({
        code: 'ERR_LOGIN_REFUSED',
      });

      await confirmLogin({ ...alice, port: strictPort, tls: { ca, cert: ca, key: await readFile(key) } });
      // At the first attempt, although the broker looks for the certificate only after the handshake of the client.
      expect(await failure({ port: strictPort, tls: { ca } })).toMatchObject({
        code: 'ERR_LOGIN_FAILED',
        cause: { code: expect.stringContaining('CERTIFICATE_REQUIRED') },
      });

      const plain = await failure({ timeout: 500 });
      expect(plain.code).toBe('ERR_LOGIN_FAILED');
      expect(plain.message).toContain('If it speaks TLS, set tls (on the command line --cafile).');
      const wrong = await failure({ host, port: running.port, tls: true, timeout: 500 });
      expect(wrong.code).toBe('ERR_LOGIN_FAILED');
      expect(wrong.message).toContain('If it has no TLS, leave out tls (on the command line --cafile).');
    },
  );
});

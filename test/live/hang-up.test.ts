/** When a reload of a real broker is over, as the kernel shows it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { reloadBroker } from '../../src/broker/reload.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { PasswordFile } from '../../src/password-file.js';
import { login, type RunningBroker, startBroker } from '../support/broker.js';
import { testDirectory } from '../support/directory.js';
import { describeBrokers, linux, namespaces, needs, root } from '../support/require.js';
import { runScript } from '../support/script.js';

/** Waits until SIGHUP is pending for a process that is stopped. */
async function untilSent({ pid }: { pid: number }): Promise<void> {
  while (!/^ShdPnd:\s*\S*[13579bdf]$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) await pause(5);
}

/** Stops a process, and waits until it has stopped. */
async function stop({ pid }: { pid: number }): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  while (!/^State:\s*T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) await pause(5);
}

/** Whether a process has a file open. */
function isOpenIn({ pid }: { pid: number }, path: string): boolean {
  return readdirSync(`/proc/${pid}/fd`).some(fd => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === path;
    } catch {
      // It has been closed since.
      return false;
    }
  });
}

/** A shell that is called mosquitto: the kernel names a process after the file it starts. */
function namedMosquitto(): string {
  const path = join(testDirectory(), 'mosquitto');
  symlinkSync('/bin/sh', path);
  return path;
}

describeBrokers('a reload', program => {
  async function start({ config = '' } = {}) {
    const directory = testDirectory();
    const passwordFile = join(directory, 'passwd');
    writeFileSync(passwordFile, `base:${hashPasswordSync('pw')}\n`, { mode: 0o600 });
    const broker = await startBroker(program, { passwordFile, config: config.replaceAll('DIR', directory) });
    onTestFinished(() => broker.stop());
    return { directory, passwordFile, broker };
  }

  test('is over when reloaded() resolves: the broker lets the user in at once', async () => {
    const { passwordFile, broker } = await start();
    const file = new PasswordFile(passwordFile, { broker: program.release, reload: { pid: broker.pid } });
    for (let i = 0; i < 20; i++) {
      const { username, password } = await file.provision();
      await file.reloaded();
      expect(await login(broker.port, username, password)).toBe(0);
    }
    expect(broker.reloads).toBe(20);
  });

  test('is over when reloadBroker resolves', async () => {
    const { passwordFile, broker } = await start();
    for (let i = 0; i < 5; i++) {
      writeFileSync(passwordFile, `user-${i}:${hashPasswordSync('pw')}\n`);
      await reloadBroker({ pid: broker.pid });
      expect(await login(broker.port, `user-${i}`, 'pw')).toBe(0);
    }
  });

  test('is made once more for a call that comes during the first', async () => {
    const { passwordFile, broker } = await start();
    const hash = hashPasswordSync('pw');
    writeFileSync(passwordFile, Array.from({ length: 10_000 }, (_, i) => `user-${i}:${hash}\n`).join(''));
    await Promise.all([reloadBroker({ pid: broker.pid }), reloadBroker({ pid: broker.pid })]);
    expect(await broker.reloaded(2)).toBe(true);
    expect(broker.reloads).toBe(2);
  });

  test('reads a change that was made while the broker reloaded because of another program', async () => {
    const { passwordFile, broker } = await start();
    const hash = hashPasswordSync('pw');
    const old = Array.from({ length: 100_000 }, (_, i) => `user-${i}:${hash}\n`).join('');
    writeFileSync(passwordFile, old);
    writeFileSync(`${passwordFile}.new`, `${old}alice:${hash}\n`, { mode: 0o600 });
    process.kill(broker.pid, 'SIGHUP');
    while (!isOpenIn(broker, passwordFile)) await turn();
    renameSync(`${passwordFile}.new`, passwordFile);
    await reloadBroker({ pid: broker.pid });
    expect(await login(broker.port, 'alice', 'pw')).toBe(0);
  });

  test('ends although a test has replaced the timers by fake ones', async () => {
    const { broker } = await start();
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    await reloadBroker({ pid: broker.pid });
    vi.useRealTimers();
    expect(await broker.reloaded(1)).toBe(true);
  });

  test('fails with ERR_RELOAD_FAILED if the broker is stopped and does not take the signal', async () => {
    const { broker } = await start();
    await stop(broker);
    await expect(reloadBroker({ pid: broker.pid }, { timeout: 200 })).rejects.toMatchObject({
      code: 'ERR_RELOAD_FAILED',
      message: `pid ${broker.pid} is mosquitto, but has not reloaded within 200 ms. Is it stopped? It reloads when it goes on.`,
    });
    process.kill(broker.pid, 'SIGCONT');
    expect(await broker.reloaded(1)).toBe(true);
  });

  test('rejects at an abort while it waits for the broker', async () => {
    const { broker } = await start();
    await stop(broker);
    const controller = new AbortController();
    const reload = reloadBroker({ pid: broker.pid }, { signal: controller.signal });
    const rejected = expect(reload).rejects.toThrow('no more');
    await untilSent(broker);
    controller.abort(new Error('no more'));
    await rejected;
    process.kill(broker.pid, 'SIGCONT');
  });

  /** A broker that is named by its pid file. */
  async function byPidFile() {
    const { directory, passwordFile, broker } = await start({ config: 'pid_file DIR/pid' });
    const reload = { pidFile: join(directory, 'pid') };
    const file = new PasswordFile(passwordFile, { broker: program.release, reload });
    return { directory, passwordFile, broker, file };
  }

  async function replacement(
    directory: string,
    passwordFile: string,
    pidFile: string,
  ): Promise<RunningBroker> {
    const config = `pid_file ${join(directory, pidFile)}`;
    const broker = await startBroker(program, { passwordFile, config });
    onTestFinished(() => broker.stop());
    return broker;
  }

  test('fails with ERR_RELOAD_FAILED if the broker ends before it has read the file', async () => {
    const { broker, file } = await byPidFile();
    await stop(broker);
    await file.setUser('alice', 'pw');
    const reloaded = expect(file.reloaded()).rejects.toMatchObject({
      code: 'ERR_RELOAD_FAILED',
      message: expect.stringMatching(/^pid \d+ \(in .*\) ended before it had read the file.*Start it again/),
    });
    await untilSent(broker);
    process.kill(broker.pid, 'SIGKILL');
    await reloaded;
  });

  test('is made by the broker that has taken the place of the one that ended', async () => {
    const { directory, passwordFile, broker, file } = await byPidFile();
    const older = await replacement(directory, passwordFile, 'pid.older');
    await stop(broker);
    await file.setUser('alice', 'pw');
    const reloaded = file.reloaded();
    await untilSent(broker);
    renameSync(join(directory, 'pid.older'), join(directory, 'pid'));
    process.kill(broker.pid, 'SIGKILL');
    await reloaded;
    expect(await login(older.port, 'alice', 'pw')).toBe(0);
    expect(older.reloads).toBe(1);
  });

  needs(root, namespaces).test(
    'begins at least a second after the one before if the kernel does not show when that is over',
    async () => {
      const { passwordFile, broker } = await start();
      const times = await runScript(
        `
      const { PasswordFile } = await load('src/index.ts');
      const { confirmLogin } = await load('src/broker/login.ts');
      const file = new PasswordFile(args.passwordFile, { reload: { pid: args.pid } });
      const times = [performance.now()];
      for (const username of ['alice', 'bob']) {
        await file.setUser(username, 'pw');
        await file.reloaded();
        times.push(performance.now());
        await confirmLogin({ host: '127.0.0.1', port: args.port, username, password: 'pw' });
      }
      return times;
    `,
        {
          // As a kernel without schedstat.
          through: [
            'unshare',
            '--mount',
            'sh',
            '-c',
            `mount --bind /dev/null /proc/${broker.pid}/schedstat && exec "$@"`,
            'sh',
          ],
          args: { passwordFile, pid: broker.pid, port: broker.port },
        },
      );
      // Measured from before the first signal, because reloaded() may resolve late after that.
      expect(times[2] - times[0]).toBeGreaterThanOrEqual(1_000);
    },
  );
});

needs(linux).describe('a reload of a broker that is never asleep', () => {
  test('is waited for until the timeout, and a further signal is sent then', async () => {
    const busy = spawn(namedMosquitto(), ['-c', 'trap "echo SIGHUP" HUP; echo ready; while :; do :; done'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(async () => {
      busy.kill('SIGKILL');
      await once(busy, 'exit');
    });
    const lines = createInterface({ input: busy.stdout })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe('ready');
    const start = performance.now();
    await reloadBroker({ pid: busy.pid as number }, { timeout: 300 });
    expect(performance.now() - start).toBeGreaterThanOrEqual(299);
    for (let signals = 0; signals < 2; signals++) expect((await lines.next()).value).toBe('SIGHUP');
  });
});

needs(linux).describe('a reload of a broker that is stopped while it reloads', () => {
  test('fails with ERR_RELOAD_FAILED at the timeout', async () => {
    const broker = spawn(
      namedMosquitto(),
      ['-c', 'trap "kill -STOP $$" HUP; echo ready; while :; do :; done'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    onTestFinished(async () => {
      broker.kill('SIGKILL');
      await once(broker, 'exit');
    });
    await once(broker.stdout, 'data');
    const pid = broker.pid as number;
    await expect(reloadBroker({ pid }, { timeout: 300 })).rejects.toMatchObject({
      code: 'ERR_RELOAD_FAILED',
      message: `pid ${pid} is mosquitto, but has not reloaded within 300 ms. Is it stopped? It reloads when it goes on.`,
    });
  });
});

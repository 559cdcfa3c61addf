import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { ProcessView } from '../../src/broker/process-view.js';
import { reloadBroker } from '../../src/broker/reload.js';
import type { ReloadTarget } from '../../src/broker/reload-target.js';
import { PasswordFile } from '../../src/password-file.js';
import { timers, yieldToEventLoop } from '../../src/util/event-loop.js';
import { openIn } from '../support/descriptors.js';
import { linux, need, needs, root } from '../support/require.js';
import { leftBy } from '../support/resources.js';
import { perl, standIn, uniqueName } from '../support/stand-in.js';

let directory: string;
const started: ChildProcessByStdio<Writable | null, Readable | null, null>[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'reload-'));
});
afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
  await rm(directory, { recursive: true });
});

async function pidFile(content: string | Uint8Array): Promise<string> {
  const path = join(directory, 'broker.pid');
  await writeFile(`${path}.new`, content);
  await rename(`${path}.new`, path);
  return path;
}

async function deadPid(): Promise<number> {
  const child = spawn('true');
  await once(child, 'exit');
  return child.pid as number;
}

async function nameOf(pid: number): Promise<string> {
  return (await readFile(`/proc/${pid}/comm`, 'utf8')).trim();
}

/** Waits until a process has ended, whether or not its parent has waited for it. */
async function ended(pid: number): Promise<void> {
  const status = () => readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State: Z');
  while (!/^State:\s*Z/m.test(await status())) await pause(5);
}

/** A zombie of this name: a process that has ended, and whose parent does not wait for it. */
async function zombie(name: string): Promise<number> {
  const path = join(directory, name);
  await writeFile(path, '#!/bin/sh\nkill -STOP $$\n');
  await chmod(path, 0o755);
  const parent = spawn('sh', ['-c', '"$0" & echo $!; exec sleep 1000', path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  started.push(parent);
  const pid = Number((await once(parent.stdout, 'data'))[0]);
  while ((await nameOf(parent.pid as number)) !== 'sleep') await pause(5);
  while ((await nameOf(pid)) !== name) await pause(5);
  process.kill(pid, 'SIGKILL');
  await ended(pid);
  return pid;
}

/** The message of the ERR_RELOAD_FAILED that a target gets. */
async function failure(target: ReloadTarget, options = { timeout: 0 }): Promise<string> {
  const error = await reloadBroker(target, options).then(
    () => undefined,
    error => error,
  );
  expect(error).toMatchObject({ name: 'PasswordFileError', code: 'ERR_RELOAD_FAILED' });
  return error.message;
}

const RECIPES = /pid: "service:mosquitto".*shareProcessNamespace.*process, mosquitto,.*docker kill/s;

needs(linux, perl).describe('reloadBroker({ pid })', () => {
  test('sends SIGHUP to the process', async () => {
    const broker = await standIn();
    await reloadBroker({ pid: broker.pid });
    expect(await broker.hangups()).toBe(1);
  });

  test('refuses a process of another name, and sends it nothing', async () => {
    const other = await standIn({ name: 'mosquitto_sub' });
    const message = await failure({ pid: other.pid });
    expect(message).toContain(`pid ${other.pid} is mosquitto_sub, not mosquitto. `);
    expect(message).toMatch(RECIPES);
    expect(await other.hangups()).toBe(0);
  });

  test('refuses this process', async () => {
    const message = await failure({ pid: process.pid });
    expect(message).toContain(
      `pid ${process.pid} is ${await nameOf(process.pid)}, but not the broker: it is this very process. `,
    );
    expect(message).toMatch(RECIPES);
  });

  test('refuses the parent of this process', async () => {
    const message = await failure({ pid: process.ppid });
    expect(message).toContain(
      `pid ${process.ppid} is ${await nameOf(process.ppid)}, but not the broker: it is an ancestor of this process. `,
    );
  });

  test('fails if the process has ended', async () => {
    const pid = await deadPid();
    const message = await failure({ pid });
    expect(message).toContain(`pid ${pid} is not running: the broker has ended.`);
    expect(message).toMatch(RECIPES);
  });

  test('fails if the process is a zombie', async () => {
    const pid = await zombie('mosquitto');
    expect(await failure({ pid })).toContain(`pid ${pid} is a mosquitto that has ended (a zombie).`);
  });

  test('waits until the broker listens for SIGHUP, which would end it before', async () => {
    const broker = await standIn({ listening: false });
    const reload = reloadBroker({ pid: broker.pid });
    await broker.listen();
    await reload;
    expect(await broker.hangups()).toBe(1);
  });

  test('fails, and sends nothing, if the process does not listen for SIGHUP within the timeout', async () => {
    const broker = await standIn({ listening: false });
    const message = await failure({ pid: broker.pid }, { timeout: 50 });
    expect(message).toContain(`pid ${broker.pid} is mosquitto, but has not listened for SIGHUP within 50 ms`);
    expect(await broker.hangups()).toBe(0);
  });

  test('rejects at an abort while it waits for a broker to listen for SIGHUP', async () => {
    const broker = await standIn({ listening: false });
    const controller = new AbortController();
    const reload = reloadBroker({ pid: broker.pid }, { signal: controller.signal });
    const reason = new Error('no more');
    controller.abort(reason);
    await expect(reload).rejects.toBe(reason);
    expect(await broker.hangups()).toBe(0);
  });

  test('sends nothing if its AbortSignal is aborted already', async () => {
    const broker = await standIn();
    const reason = new Error('no more');
    await expect(reloadBroker({ pid: broker.pid }, { signal: AbortSignal.abort(reason) })).rejects.toBe(
      reason,
    );
    expect(await broker.hangups()).toBe(0);
  });
});

needs(linux, perl).describe('reloadBroker({ pidFile })', () => {
  test.each(['', '\n'])('sends SIGHUP to the process, with %j after the pid', async ending => {
    const broker = await standIn();
    const path = await pidFile(`${broker.pid}${ending}`);
    await reloadBroker({ pidFile: path });
    expect(await broker.hangups()).toBe(1);
    await reloadBroker({ pidFile: pathToFileURL(path) });
    expect(await broker.hangups()).toBe(1);
  });

  test('refuses a process of another name that has the pid now', async () => {
    const other = await standIn({ name: 'other' });
    const path = await pidFile(`${other.pid}`);
    const error = await reloadBroker({ pidFile: path }).catch(error => error);
    expect(error).toMatchObject({ code: 'ERR_RELOAD_FAILED', path });
    expect(error.message).toContain(`pid ${other.pid} (in ${path}) is other, not mosquitto. `);
    expect(error.message).toMatch(RECIPES);
    expect(await other.hangups()).toBe(0);
  });

  test('fails if the process has ended and its pid file is still there', async () => {
    const pid = await deadPid();
    const path = await pidFile(`${pid}\n`);
    expect(await failure({ pidFile: path })).toContain(`pid ${pid} (in ${path}) is not running`);
  });

  test('reads the pid file again while it waits for a broker to listen for SIGHUP', async () => {
    const broker = await standIn();
    const starting = await standIn({ listening: false });
    const path = await pidFile(`${starting.pid}`);
    const reload = reloadBroker({ pidFile: path });
    await pidFile(`${broker.pid}`);
    await reload;
    expect(await broker.hangups()).toBe(1);
    expect(await starting.hangups()).toBe(0);
  });

  test.each([
    '',
    ' \n',
    'abc',
    '-1',
    '0',
    '1e3',
    '12 34',
    '12\n34\n',
    '99999999999',
    '\0\0\0\0',
    '1'.repeat(10_000),
    'alice:$7$101$AQIDBAUGBwgJCgsM',
  ])('refuses a pid file without a pid (%#)', async content => {
    const path = await pidFile(content);
    const message = await failure({ pidFile: path });
    expect(message).toContain(`The pid file ${path} holds no pid`);
    expect(message).toContain('Is it the pid_file of mosquitto.conf?');
  });

  test('fails if the pid file is missing, a directory or a FIFO', async () => {
    const missing = join(directory, 'missing');
    const error = await reloadBroker({ pidFile: missing }).catch(error => error);
    expect(error).toMatchObject({ code: 'ERR_RELOAD_FAILED', path: missing, cause: { code: 'ENOENT' } });
    expect(error.message).toContain('cannot be read (ENOENT). Is the broker running');
    expect(await failure({ pidFile: directory })).toContain(`${directory} cannot be read (EISDIR)`);
    const fifo = join(directory, 'fifo');
    expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
    expect(await failure({ pidFile: fifo })).toContain('holds no pid');
  });
});

needs(linux, perl).describe('reloadBroker({ process })', () => {
  test('sends SIGHUP to the process', async () => {
    const name = uniqueName();
    const broker = await standIn({ name });
    await reloadBroker({ process: name });
    expect(await broker.hangups()).toBe(1);
  });

  test('sends nothing to a process whose name only begins with the given one', async () => {
    const name = uniqueName();
    const broker = await standIn({ name });
    await failure({ process: name.slice(0, -1) });
    expect(await broker.hangups()).toBe(0);
  });

  test('fails, and sends nothing, if two processes have the name', async () => {
    const name = uniqueName();
    const brokers = [await standIn({ name }), await standIn({ name })] as const;
    const message = await failure({ process: name });
    const [, shown, ...pids] = /^2 processes are called (.*) \((\d+), (\d+)\)/.exec(message) ?? [];
    expect(shown).toBe(name);
    expect(new Set(pids.map(Number))).toEqual(new Set(brokers.map(({ pid }) => pid)));
    expect(message).toContain(' (on the command line --reload PIDFILE or --reload PID)');
    for (const broker of brokers) expect(await broker.hangups()).toBe(0);
  });

  test('ignores a zombie of that name', async () => {
    const name = uniqueName();
    await zombie(name);
    expect(await failure({ process: name })).toMatch(
      /^None of .* Zombies and ancestors of this process do not /,
    );
    const broker = await standIn({ name });
    await reloadBroker({ process: name });
    expect(await broker.hangups()).toBe(1);
  });

  test('fails if no process has the name', async () => {
    const name = uniqueName();
    const message = await failure({ process: name });
    expect(message).toMatch(
      new RegExp(`^None of the \\d+ processes here is called ${name}\\. Is the broker running`),
    );
    expect(message).toMatch(RECIPES);
  });
});

needs(linux, root, perl).describe('reloadBroker({ process }) and processes of other users', () => {
  const stranger = { user: 54_321 };

  test('sends SIGHUP to a broker of root, whoever asks', async () => {
    const name = uniqueName();
    const broker = await standIn({ name });
    for (const id of ['getuid', 'geteuid'] as const) {
      const spy = vi.spyOn(process, id as 'getuid').mockReturnValue(stranger.user);
      onTestFinished(() => spy.mockRestore());
    }
    await reloadBroker({ process: name });
    expect(await broker.hangups()).toBe(1);
  });

  test('sends SIGHUP to the broker of root although another user has a process of that name', async () => {
    const name = uniqueName();
    const other = await standIn({ name, as: stranger });
    const broker = await standIn({ name });
    await reloadBroker({ process: name });
    expect(await broker.hangups()).toBe(1);
    expect(await other.hangups()).toBe(0);
  });

  test('refuses the process of another user if the broker is down', async () => {
    const name = uniqueName();
    const other = await standIn({ name, as: stranger });
    const message = await failure({ process: name });
    expect(message).toContain(
      `belongs to root or to the user of this process, but pid ${other.pid} belongs to user 54321.`,
    );
    expect(message).toContain(`{ process: '${name}', uid: 54321 }`);
    expect(await other.hangups()).toBe(0);
  });

  test('does not take a setuid program of another user for a process of root', async () => {
    const name = uniqueName();
    const other = await standIn({ name, as: stranger, setuid: true });
    expect(await failure({ process: name })).toContain('belongs to user 54321');
    expect(await other.hangups()).toBe(0);
  });

  test('sends SIGHUP to the process of the user in the option uid', async () => {
    const name = uniqueName();
    const roots = await standIn({ name });
    const broker = await standIn({ name, as: stranger });
    await reloadBroker({ process: name, uid: 54321 });
    expect(await broker.hangups()).toBe(1);
    expect(await roots.hangups()).toBe(0);
  });
});

needs(linux, perl).describe('the name of a process', () => {
  test('is escaped in messages', async () => {
    const other = await standIn({ name: '\x1b[31mred\x07' });
    const message = await failure({ pid: other.pid });
    expect(message).toContain(`pid ${other.pid} is \\u{1b}[31mred\\u{7}, not mosquitto`);
    expect(message).not.toMatch(/\p{Cc}/u);
  });
});

needs(linux, perl).describe('reloadBroker, if the broker ends before it has read the file,', () => {
  /** A reload of a broker that is busy with SIGHUP until it is killed. Resolves when the broker has got the signal. */
  async function interrupted() {
    const broker = await standIn({ work: 1e9 });
    const path = await pidFile(`${broker.pid}`);
    const reloaded = reloadBroker({ pidFile: path });
    const settled = reloaded.then(
      () => 'reloaded',
      error => error,
    );
    await broker.hangup();
    return { broker, settled };
  }

  test('sends SIGHUP to the broker that has taken its place', async () => {
    const { broker, settled } = await interrupted();
    const next = await standIn();
    await pidFile(`${next.pid}`);
    await broker.kill();
    expect(await settled).toBe('reloaded');
    expect(await next.hangups()).toBe(1);
  });

  test('fails if the broker in its place ends too', async () => {
    const { broker, settled } = await interrupted();
    const next = await standIn({ work: 1e9 });
    await pidFile(`${next.pid}`);
    await broker.kill();
    await next.hangup();
    await next.kill();
    expect(await settled).toMatchObject({
      code: 'ERR_RELOAD_FAILED',
      message: expect.stringMatching(/ended before it had read the file/),
    });
  });

  test('rejects at an abort while it waits for the broker in its place', async () => {
    const broker = await standIn({ work: 1e9 });
    const path = await pidFile(`${broker.pid}`);
    const controller = new AbortController();
    const reload = reloadBroker({ pidFile: path }, { signal: controller.signal });
    const reason = new Error('no more');
    const rejected = expect(reload).rejects.toBe(reason);
    await broker.hangup();
    const next = await standIn({ listening: false });
    await pidFile(`${next.pid}`);
    const looks = vi.spyOn(controller.signal, 'throwIfAborted');
    await broker.kill();
    await vi.waitFor(() => expect(looks).toHaveBeenCalled());
    controller.abort(reason);
    await rejected;
    expect(await next.hangups()).toBe(0);
  });

  test('fails if no broker has taken its place', async () => {
    const { broker, settled } = await interrupted();
    await broker.kill();
    expect(await settled).toMatchObject({
      code: 'ERR_RELOAD_FAILED',
      message: expect.stringMatching(/ended before it had read the file.*Start it again/),
      cause: { code: 'ERR_RELOAD_FAILED' },
    });
  });
});

/** The kernel shows what a process waits for. A process that has just been started may not wait yet. */
const waits = need('/proc/PID/wchan', () => {
  const look = 'for i in $(seq 200); do w=$(cat "/proc/$p/wchan"); [ "$w" = 0 ] || break; done';
  const { stdout } = spawnSync('sh', ['-c', `sleep 60 & p=$!; ${look}; kill $p; echo "$w"`]);
  return /[a-z]/.test(String(stdout));
});

needs(linux, perl, waits).test(
  'reloadBroker waits for a broker that sleeps while it reloads, as for a file system in user space',
  async () => {
    const broker = await standIn({ reads: true });
    const look = vi.spyOn(ProcessView.prototype, 'state');
    onTestFinished(() => look.mockRestore());
    const settled = vi.fn();
    const reload = reloadBroker({ pid: broker.pid }).then(settled);
    await broker.hangup();
    const asleep = async () => /^State:\s*S/m.test(await readFile(`/proc/${broker.pid}/status`, 'utf8'));
    while (!(await asleep())) await yieldToEventLoop();
    look.mockClear();
    while (look.mock.calls.length < 3 && settled.mock.calls.length === 0) await yieldToEventLoop();
    expect(settled).not.toHaveBeenCalled();
    broker.write();
    await reload;
  },
);

needs(linux, perl).describe('reloads of one broker at the same time', () => {
  const timeout = 1e6;
  const WORK = 60;

  /** Milliseconds of CPU time. */
  function usedBy(pid: number): number {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  }

  /** A broker, and the CPU time that it had used at each SIGHUP of this process. */
  async function watched(work = WORK) {
    const broker = await standIn({ work });
    const used: number[] = [];
    const kill = process.kill.bind(process);
    const spy = vi.spyOn(process, 'kill').mockImplementation((pid, signal) => {
      if (pid === broker.pid && signal === 'SIGHUP') used.push(usedBy(pid));
      return kill(pid, signal);
    });
    onTestFinished(() => spy.mockRestore());
    return { broker, target: { pid: broker.pid }, used };
  }

  /** A reload that is not over within the timeout. The broker may not even have taken the signal. */
  async function tooShort(target: ReloadTarget, timeout: number): Promise<void> {
    await reloadBroker(target, { timeout }).catch(error => expect(error.code).toBe('ERR_RELOAD_FAILED'));
  }

  async function stopped() {
    const { broker, target, used } = await watched();
    await stop(broker.pid);
    return { broker, target, used };
  }

  async function stop(pid: number): Promise<void> {
    process.kill(pid, 'SIGSTOP');
    while (!/^State:\s*T/m.test(await readFile(`/proc/${pid}/status`, 'utf8'))) await pause(5);
  }

  /** Expects two signals, the second after the first reload: during that it would be lost. */
  function expectOneAfterTheOther([first, second, ...others]: number[], work = WORK): void {
    expect(Number(second) - Number(first)).toBeGreaterThan(work / 2);
    expect(others).toEqual([]);
  }

  test('come one after the other, and all calls that wait share the next one', async () => {
    const { broker, target, used } = await watched();
    await Promise.all(Array.from({ length: 4 }, () => reloadBroker(target, { timeout })));
    expect(usedBy(broker.pid) - Number(used[1])).toBeGreaterThan(WORK / 2);
    expectOneAfterTheOther(used);
    expect(await broker.hangups()).toBe(2);
  });

  test('come one after the other, although two copies of this library make them', async () => {
    const { target, used } = await watched();
    vi.resetModules();
    const copy = await import('../../src/broker/reload.js');
    expect(copy.reloadBroker).not.toBe(reloadBroker);
    await Promise.all([reloadBroker(target, { timeout }), copy.reloadBroker(target, { timeout })]);
    expectOneAfterTheOther(used);
  });

  test('come one after the other, even if the first call is aborted after its signal', async () => {
    const { broker, target, used } = await watched();
    const controller = new AbortController();
    const first = reloadBroker(target, { timeout, signal: controller.signal });
    await broker.hangup();
    const reason = new Error('no more');
    controller.abort(reason);
    await expect(first).rejects.toBe(reason);
    await reloadBroker(target, { timeout });
    expectOneAfterTheOther(used);
  });

  test('do not keep the process alive after an abort', async () => {
    const { target, used } = await stopped();
    const controller = new AbortController();
    const aborted = async () => {
      const reload = reloadBroker(target, { timeout, signal: controller.signal });
      while (used.length === 0) await yieldToEventLoop();
      controller.abort();
      await expect(reload).rejects.toThrow();
    };
    expect(await leftBy(aborted)).toEqual([]);
  });

  test('are made although a call that waits is aborted', async () => {
    const { target, used } = await watched();
    const controller = new AbortController();
    const first = reloadBroker(target, { timeout });
    const second = reloadBroker(target, { timeout, signal: controller.signal });
    const third = reloadBroker(target, { timeout });
    const reason = new Error('no more');
    controller.abort(reason);
    await expect(second).rejects.toBe(reason);
    await Promise.all([first, third]);
    expectOneAfterTheOther(used);
  });

  test('are made although the broker did not take an earlier signal in time', async () => {
    const { broker, target, used } = await stopped();
    const first = failure(target, { timeout: 50 });
    const second = reloadBroker(target, { timeout });
    expect(await first).toMatch(/has not reloaded within 50 ms/);
    process.kill(broker.pid, 'SIGCONT');
    await second;
    expectOneAfterTheOther(used);
  });

  test('come one after the other, although the broker is busy with the first one beyond its timeout', async () => {
    const { target, used } = await watched(10 * WORK);
    await tooShort(target, 1);
    await reloadBroker(target, { timeout });
    expectOneAfterTheOther(used, 10 * WORK);
  });

  test('are repeated after one of another process, during which the signal is lost', async () => {
    const { broker, target, used } = await watched(10 * WORK);
    const pauses = vi.spyOn(timers, 'setTimeout');
    onTestFinished(() => pauses.mockRestore());
    spawnSync('kill', ['-HUP', String(broker.pid)]);
    await broker.hangup();
    const [reload, waits] = [reloadBroker(target, { timeout }), pauses.mock.calls];
    while (used.length === 0) await yieldToEventLoop();
    // Had it fallen asleep meanwhile, one signal would have been enough.
    expect(waits.slice(0, 7).map(([, wait]) => wait)).toEqual([1, 2, 4, 8, 16, 32, 64]);
    await reload;
    expectOneAfterTheOther(used, 10 * WORK);
  });

  test('are not repeated with the timeout 0, also if the broker is awake', async () => {
    const { broker, target, used } = await watched(10 * WORK);
    spawnSync('kill', ['-HUP', String(broker.pid)]);
    await broker.hangup();
    await tooShort(target, 0);
    expect(used).toHaveLength(1);
    // It waits until the other one is not watched any more.
    await reloadBroker(target, { timeout });
    expect(used).toHaveLength(2);
  });

  test('of several calls that find the broker awake share a signal', async () => {
    const { broker, target, used } = await watched(10 * WORK);
    spawnSync('kill', ['-HUP', String(broker.pid)]);
    await broker.hangup();
    await Promise.all(Array.from({ length: 4 }, () => reloadBroker(target, { timeout })));
    expectOneAfterTheOther(used, 10 * WORK);
  });

  test('are repeated after the one under way if their signal came during that, where it is lost', async () => {
    const { broker, target, used } = await stopped();
    const first = reloadBroker(target, { timeout });
    await failure(target, { timeout: 1 });
    expect(used).toHaveLength(2);
    process.kill(broker.pid, 'SIGCONT');
    await first;
    await expect.poll(() => used).toHaveLength(3);
    expectOneAfterTheOther(used.slice(1));
  });

  test('are made once with the timeout 0, and also during another one', async () => {
    const { broker, target, used } = await watched();
    await tooShort(target, 0);
    await reloadBroker(target, { timeout });
    expectOneAfterTheOther(used);
    await stop(broker.pid);
    const first = reloadBroker(target, { timeout });
    await failure(target, { timeout: 0 });
    expect(used).toHaveLength(4);
    process.kill(broker.pid, 'SIGCONT');
    await first;
  });

  test('watch a broker that does not take the signals only once, and each fail within their timeout', async () => {
    const { broker, target, used } = await stopped();
    const calls = Array.from({ length: 4 }, () => failure(target, { timeout: 50 }));
    for (const message of await Promise.all(calls)) expect(message).toMatch(/has not reloaded within 50 ms/);
    expect(used).toHaveLength(4);
    const open = openIn(`/proc/${broker.pid}`);
    expect(open).toContain('status');
    expect(new Set(open).size).toBe(open.length);
  });

  test('wait for each other no longer than their own timeout', async () => {
    const { broker, target, used } = await stopped();
    const first = reloadBroker(target, { timeout });
    expect(await failure(target, { timeout: 50 })).toMatch(/has not reloaded within 50 ms/);
    expect(used).toHaveLength(2);
    process.kill(broker.pid, 'SIGCONT');
    await first;
  });

  test('each fail if the broker ends', async () => {
    const { broker, target } = await watched(1e9);
    const first = failure(target, { timeout });
    const second = failure(target, { timeout });
    await broker.hangup();
    await broker.kill();
    expect(await first).toMatch(/ended before it had read the file/);
    expect(await second).toMatch(/is not running|is a mosquitto that has ended \(a zombie\)/);
  });
});

describe('reloadBroker({ command })', () => {
  const shell = (script: string, ...args: string[]) => ({ command: ['sh', '-c', script, 'sh', ...args] });

  test('runs the program without a shell, and resolves if it ends with status 0', async () => {
    const file = join(directory, 'out');
    await reloadBroker(shell('printf "%s|" "$@" >"$1"', file, '$HOME; false', '* "'));
    expect(await readFile(file, 'utf8')).toBe(`${file}|$HOME; false|* "|`);
  });

  test('fails with the status and standard error of a program that ends with another status', async () => {
    const message = await failure(shell('printf "\\n no\\n\\tway \\033[0m\\n" >&2; exit 3'), {
      timeout: 10_000,
    });
    expect(message).toBe('sh ended with status 3 ("no way [0m"). Run it by hand to see why.');
    expect(await failure(shell('exit 4'), { timeout: 10_000 })).toBe(
      'sh ended with status 4. Run it by hand to see why.',
    );
  });

  test('fails with status and standard error although a background process keeps standard error open', async () => {
    const file = join(directory, 'background');
    const script = 'sleep 1000 & echo $! >"$1"; echo "no such service" >&2; exit 3';
    const message = await failure(shell(script, file), { timeout: 2 ** 31 - 1 });
    process.kill(Number(await readFile(file, 'utf8')), 'SIGKILL');
    expect(message).toBe('sh ended with status 3 ("no such service"). Run it by hand to see why.');
  });

  test('fails with the name of the signal that ended the program', async () => {
    expect(await failure(shell('kill -KILL $$'), { timeout: 10_000 })).toBe(
      'sh was ended by SIGKILL. Run it by hand to see why.',
    );
  });

  test('quotes only the end of a long standard error', async () => {
    const script =
      'i=0; while [ $i -lt 20000 ]; do echo "line $i" >&2; i=$((i+1)); done; echo the end >&2; exit 1';
    const message = await failure(shell(script), { timeout: 60_000 });
    expect(message.length).toBeLessThan(1_100);
    expect(message).toMatch(/line 19999 the end"\)\. Run it by hand to see why\.$/);
  });

  test('fails if the program does not exist or cannot be started', async () => {
    const missing = join(directory, 'missing');
    const error = await reloadBroker({ command: [missing] }).catch(error => error);
    expect(error).toMatchObject({ code: 'ERR_RELOAD_FAILED', cause: { code: 'ENOENT' } });
    expect(error.message).toContain(`${missing} could not be started (ENOENT). Is it installed here`);
    const text = await pidFile('text');
    await expect(reloadBroker({ command: [text] })).rejects.toMatchObject({
      message: expect.stringMatching(/ could not be started \(EACCES\)\.$/),
      cause: { code: 'EACCES' },
    });
    await expect(reloadBroker({ command: ['true', 'x'.repeat(1e7)] })).rejects.toMatchObject({
      code: 'ERR_RELOAD_FAILED',
      cause: { code: 'E2BIG' },
    });
  });

  test.each([['missing'], ['true', 'x'.repeat(1e7)]])(
    'shows no argument of a program that cannot be started (%#)',
    async (program, ...args) => {
      const path = program === 'true' ? program : join(directory, program);
      const command = [path, ...args, '--password=correct-horse'];
      const error = await reloadBroker({ command }).catch(error => error);
      expect(error).toMatchObject({ code: 'ERR_RELOAD_FAILED', cause: { syscall: 'spawn' } });
      expect(inspect(error, { depth: 9, maxStringLength: 1e8 })).not.toContain('correct-horse');
    },
  );

  test('adds one listener to a signal, however many calls use it', async () => {
    const controller = new AbortController();
    const reloads = Array.from({ length: 11 }, () =>
      reloadBroker({ command: ['sleep', '1000'] }, { signal: controller.signal }),
    );
    const settled = Promise.allSettled(reloads);
    await expect.poll(() => getEventListeners(controller.signal, 'abort').length).toBeGreaterThan(0);
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
    const reason = new Error('no more');
    controller.abort(reason);
    expect(await settled).toEqual(Array(11).fill({ status: 'rejected', reason }));
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  /** A program that stops itself, so that only SIGKILL ends it. */
  async function endless() {
    const name = uniqueName();
    const path = join(directory, name);
    await writeFile(path, '#!/bin/sh\nkill -STOP $$\n');
    await chmod(path, 0o755);
    const isRunning = async () => {
      for (const pid of await readdir('/proc')) {
        const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
        if (status.startsWith(`Name:\t${name}\n`) && !/^State:\s*Z/m.test(status)) return true;
      }
      return false;
    };
    return { path, isRunning };
  }

  needs(linux).test('kills a program that does not end within the timeout', async () => {
    const { path, isRunning } = await endless();
    const message = await failure({ command: [path] }, { timeout: 300 });
    expect(message).toBe(
      `${path} did not end within 300 ms, so it was killed. What it had started may still run. Run it by hand to see what it waits for.`,
    );
    await expect.poll(isRunning).toBe(false);
  });

  needs(linux).test('kills the program at an abort', async () => {
    const { path, isRunning } = await endless();
    const controller = new AbortController();
    const reload = reloadBroker({ command: [path] }, { signal: controller.signal });
    reload.catch(() => {});
    await expect.poll(isRunning, { timeout: 30_000 }).toBe(true);
    const reason = new Error('no more');
    controller.abort(reason);
    await expect(reload).rejects.toBe(reason);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
    await expect.poll(isRunning).toBe(false);
  });

  test('rejects at an abort right after the call', async () => {
    const controller = new AbortController();
    const reload = reloadBroker(shell('sleep 1000'), { signal: controller.signal, timeout: 2 ** 31 - 1 });
    const reason = new Error('no more');
    controller.abort(reason);
    await expect(reload).rejects.toBe(reason);
  });

  test('does not wait for a background process that the program has started, nor keeps the process alive for it', async () => {
    const file = join(directory, 'background');
    const call = () => reloadBroker(shell('sleep 1000 & echo $! >"$1"', file), { timeout: 50_000 });
    expect(await leftBy(call)).toEqual([]);
    const pid = Number(await readFile(file, 'utf8'));
    expect(process.kill(pid, 'SIGKILL')).toBe(true);
  });
});

test.each([
  [undefined],
  [null],
  ['mosquitto'],
  [{}],
  [{ pid: undefined }],
  [{ pid: 5, process: 'mosquitto' }],
  [{ pidFile: '/run/mosquitto.pid', command: ['true'] }],
  [{ pid: 0 }],
  [{ pid: -1 }],
  [{ pid: 1.5 }],
  [{ pid: Number.NaN }],
  [{ pid: 2 ** 31 }],
  [{ pid: '1' }],
  [{ pid: null }],
  [{ pidFile: '' }],
  [{ pidFile: 'a\0b' }],
  [{ pidFile: 5 }],
  [{ pidFile: new URL('https://example.com/pid') }],
  [{ process: '' }],
  [{ process: 5 }],
  [{ process: 'sixteen-letters!' }],
  [{ process: 'ééééééééx' }],
  [{ command: 'true' }],
  [{ command: [] }],
  [{ command: [''] }],
  [{ command: ['true', 5] }],
  [{ command: ['true', 'a\0b'] }],
  [{ process: 'mosquitto', uid: -1 }],
  [{ process: 'mosquitto', uid: 2 ** 32 - 1 }],
  [{ process: 'mosquitto', uid: 'mosquitto' }],
  [{ pid: 5, uid: 1883 }],
  [{ pid: 5, pidfile: '/run/mosquitto.pid' }],
])('reloadBroker and the option reload refuse the target %j', async target => {
  const invalid = expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' });
  await expect(reloadBroker(target as ReloadTarget)).rejects.toEqual(invalid);
  if (target === undefined) return;
  expect(() => new PasswordFile('passwd', { reload: target as ReloadTarget })).toThrow(invalid);
});

test.each<[ReloadTarget]>([
  [{ pid: 1 }],
  [{ pid: 2 ** 31 - 1 }],
  [{ process: 'mosquitto', uid: 0 }],
  [{ process: 'mosquitto', uid: 2 ** 32 - 2 }],
])('the option reload takes the target %j', reload => {
  expect(new PasswordFile('passwd', { reload })).toBeInstanceOf(PasswordFile);
});

test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '5', 2 ** 31])(
  'reloadBroker refuses the timeout %j',
  async timeout => {
    const options = { timeout: timeout as number };
    await expect(reloadBroker({ command: ['true'] }, options)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
  },
);

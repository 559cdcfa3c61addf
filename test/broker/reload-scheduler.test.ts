import { AsyncLocalStorage } from 'node:async_hooks';
import { chownSync, existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { ProcessView } from '../../src/broker/process-view.js';
import { type ReloadOptions, ReloadScheduler, readReloadOptions } from '../../src/broker/reload-scheduler.js';
import type { Finding } from '../../src/errors.js';
import type { PasswordFileOptions } from '../../src/options.js';
import { PasswordFile } from '../../src/password-file.js';
import { timers, yieldToEventLoop } from '../../src/util/event-loop.js';
import { testDirectory } from '../support/directory.js';
import { linux, needs, root } from '../support/require.js';
import { perl, standIn, uniqueName } from '../support/stand-in.js';

/** The warnings of this process since the test began. */
let warnings: Error[];
const remember = (warning: Error) => void warnings.push(warning);
beforeEach(() => {
  warnings = [];
  process.on('warning', remember);
});
afterEach(() => void process.off('warning', remember));

function reloadedBy(command: string[], onError?: (error: unknown) => void) {
  const path = join(testDirectory(), 'passwd');
  const options: PasswordFileOptions = { reload: { command, minInterval: 0, onError } };
  return new PasswordFile(path, options);
}

describe('a reload that fails', () => {
  test('because the path cannot be resolved rejects reloaded() and is reported to onError', async () => {
    const reported: unknown[] = [];
    const directory = join(testDirectory(), 'directory');
    const path = join(directory, 'passwd');
    const file = new PasswordFile(path, {
      reload: { command: ['true'], minInterval: 0, onError: error => reported.push(error) },
    });
    mkdirSync(directory);
    await file.setUser('alice', 'pw');
    const reloaded = file.reloaded();
    rmSync(directory, { recursive: true });
    writeFileSync(directory, 'no directory');
    const error = await reloaded.then(
      () => undefined,
      error => error,
    );
    expect(error).toMatchObject({ name: 'PasswordFileError' });
    expect(reported).toEqual([error]);
  });

  test.each<[string, () => unknown, string?]>([
    [
      'throws',
      () => {
        throw new Error('no mail today');
      },
      // With the stack.
      'no mail today\n    at ',
    ],
    ['rejects', () => Promise.reject(new Error('no mail today'))],
    ['rejects with something that is not an Error', () => Promise.reject('no mail today')],
    ['rejects with a symbol', () => Promise.reject(Symbol('no mail today'))],
    ['rejects with what cannot be shown', () => Promise.reject(Object.create(null)), 'an object'],
  ])(
    'emits a warning if onError %s, and the next reload is made',
    async (_, onError, shown = 'no mail today') => {
      const file = reloadedBy(['false'], onError);
      await file.setUser('alice', 'pw');
      await expect(file.reloaded()).rejects.toMatchObject({ code: 'ERR_RELOAD_FAILED' });
      await expect.poll(() => warnings.length).toBe(1);
      expect(warnings[0]?.message).toMatch(new RegExp(`onError.*${shown}`, 's'));
      await expect(file.reloaded()).rejects.toMatchObject({ code: 'ERR_RELOAD_FAILED' });
      await expect.poll(() => warnings.length).toBe(2);
    },
  );
});

test('onError has the AsyncLocalStorage of the constructor, also after a commit with edits of others', async () => {
  const caller = new AsyncLocalStorage<string>();
  const path = join(testDirectory(), 'passwd');
  const reported: unknown[] = [];
  const edit = async (name: string) => {
    const onError = () => reported.push([name, caller.getStore()]);
    const file = new PasswordFile(path, { reload: { command: ['false'], onError } });
    await file.setUser(name, 'pw');
    await file.reloaded().catch(() => undefined);
  };
  await Promise.all(['alice', 'bob'].map(name => caller.run(name, () => edit(name))));
  expect(reported.sort()).toEqual([
    ['alice', 'alice'],
    ['bob', 'bob'],
  ]);
});

describe('a reload that fails while nobody waits for it', () => {
  test('causes no unhandled rejection and no warning', async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on('unhandledRejection', note);
    onTestFinished(() => void process.off('unhandledRejection', note));
    let checks = 0;
    const reloads = scheduler({ command: ['true'], minInterval: 0 }, () => {
      if (++checks === 1) throw new Error('no file today');
    });
    reloads.committed();
    await expect.poll(() => checks).toBe(1);
    // An unhandled rejection and a warning would come before this.
    await new Promise(setImmediate);
    expect([unhandled, warnings]).toEqual([[], []]);
    await reloads.reloaded();
    expect(checks).toBe(2);
  });
});

describe('a file that the broker would not load', () => {
  test('is ERR_RELOAD_REFUSED with the first error in it, and is not reloaded', async () => {
    const marker = join(testDirectory(), 'reloaded');
    const finding = (line: number, severity: 'error' | 'warning'): Finding => ({
      line,
      severity,
      code: 'NO_COLON',
      message: `It is the ${severity} of line ${line}.`,
    });
    const findings = [finding(1, 'warning'), finding(2, 'error'), finding(3, 'error')];
    const reloads = scheduler({ command: ['touch', marker], minInterval: 0 }, () => {}, {
      loads: false,
      findings,
    });
    reloads.committed();
    await expect(reloads.reloaded()).rejects.toMatchObject({
      code: 'ERR_RELOAD_REFUSED',
      findings,
      message: expect.stringMatching(
        /, which it would not load: line 2: It is the error of line 2\. The file .* call reloaded\(\) \(on the command line, run /,
      ),
    });
    expect(existsSync(marker)).toBe(false);
  });
});

describe('readReloadOptions', () => {
  const read = (options: object) => readReloadOptions({ command: ['true'], ...options });

  test('sets maxLoad to 0.5 by default', () => {
    expect(read({})).toMatchObject({ maxLoad: 0.5, minInterval: undefined });
  });

  test.each([
    ['maxLoad', Number.MIN_VALUE],
    ['maxLoad', 1],
    ['minInterval', 0],
    ['minInterval', 2 ** 31 - 1],
  ])('takes %s: %d', (name, value) => {
    expect(read({ [name]: value })).toMatchObject({ [name]: value });
  });

  test.each([
    ['maxLoad', 0],
    ['maxLoad', 1.1],
    ['maxLoad', Number.NaN],
    ['maxLoad', '1'],
    ['minInterval', -1],
    ['minInterval', 2 ** 31],
    ['onError', 'throw'],
  ])('refuses %s: %j', (name, value) => {
    expect(() => read({ [name]: value })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining(`reload.${name} must be`),
      }),
    );
  });
});

/** A scheduler for a file of this size. Before each reload `check` is called, and the file is reported as in `report`. */
function scheduler(
  options: ReloadOptions,
  check: () => void | Promise<void> = () => {},
  report: { loads: boolean; findings: Finding[] } = { loads: true, findings: [] },
  bytes = 0,
) {
  const path = join(testDirectory(), 'passwd');
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return new ReloadScheduler(
    {
      path,
      isReadableBy: () => true,
      barrierTo: () => undefined,

      async check() {
        await check();
        return report;
      },
    },
    readReloadOptions(options),
  );
}

/** Reloads a broker that many times in sequence. If another scheduler had a signal left to send, it would come meanwhile. */
async function reloadOften(pid: number, times: number): Promise<void> {
  const other = scheduler({ pid });
  for (let i = 0; i < times; i++) {
    other.committed();
    await other.reloaded();
  }
}

needs(linux, perl).describe('the number of signals of a ReloadScheduler', () => {
  test.each([
    ['nobody waits', false],
    ['somebody waits', true],
  ])('is one for one commit while %s', async (_, waits) => {
    const broker = await standIn();
    const reloads = scheduler({ pid: broker.pid });
    reloads.committed();
    const reloaded = waits ? reloads.reloaded() : broker.hangup();
    await reloaded;
    if (!waits) await reloads.reloaded();
    await reloadOften(broker.pid, 5);
    expect(await broker.hangups()).toBe(waits ? 6 : 5);
  });

  test('is none for reloaded() after the broker has read all commits', async () => {
    const broker = await standIn();
    const reloads = scheduler({ pid: broker.pid });
    await reloads.reloaded();
    reloads.committed();
    await reloads.reloaded();
    expect(await broker.hangups()).toBe(1);
    await reloads.reloaded();
    await reloadOften(broker.pid, 2);
    expect(await broker.hangups()).toBe(2);
  });

  test('is one for each reloaded({ force: true }), although the broker has read all commits', async () => {
    const broker = await standIn();
    const path = join(testDirectory(), 'passwd');
    const file = new PasswordFile(path, { reload: { pid: broker.pid } });
    await file.setUser('alice', 'pw');
    await file.reloaded();
    await file.reloaded({ force: false });
    expect(await broker.hangups()).toBe(1);
    await file.reloaded({ force: true });
    await new PasswordFile(path, { reload: { pid: broker.pid } }).reloaded({ force: true });
    expect(await broker.hangups()).toBe(2);
    const aborted = file.reloaded({ force: true, signal: AbortSignal.abort(new Error('no longer')) });
    await expect(aborted).rejects.toThrow('no longer');
    await reloadOften(broker.pid, 1);
    expect(await broker.hangups()).toBe(1);
  });

  test('is one for all commits before it', async () => {
    const broker = await standIn();
    const reloads = scheduler({ pid: broker.pid });
    for (let i = 0; i < 10; i++) reloads.committed();
    await Promise.all([reloads.reloaded(), reloads.reloaded()]);
    await reloadOften(broker.pid, 2);
    expect(await broker.hangups()).toBe(3);
  });

  test('is two if a commit comes during a reload and nobody waits', async () => {
    const broker = await standIn();
    let checks = 0;
    const reloads = scheduler({ pid: broker.pid }, () => {
      if (++checks === 1) reloads.committed();
    });
    reloads.committed();
    await broker.hangup();
    await broker.hangup();
    await reloadOften(broker.pid, 3);
    expect(await broker.hangups()).toBe(3);
    expect(checks).toBe(2);
  });

  test('is two if a commit comes during a reload, and reloaded() after that commit waits for the second', async () => {
    const broker = await standIn();
    const settled: string[] = [];
    let checks = 0;
    const reloads = scheduler({ pid: broker.pid }, async () => {
      if (++checks > 1) return;
      first = reloads.reloaded().then(() => settled.push(`first after ${checks}`));
      reloads.committed();
      second = reloads.reloaded().then(() => settled.push(`second after ${checks}`));
    });
    let first: Promise<unknown> | undefined;
    let second: Promise<unknown> | undefined;
    reloads.committed();
    await reloads.reloaded();
    await first;
    await second;
    expect(settled).toEqual(['first after 1', 'second after 2']);
    await reloadOften(broker.pid, 2);
    expect(await broker.hangups()).toBe(4);
  });

  test('is none after a reload that failed, until the next commit or reloaded()', async () => {
    const reported: unknown[] = [];
    let checks = 0;
    const reloads = scheduler(
      { command: ['false'], minInterval: 0, onError: error => reported.push(error) },
      () => {
        checks++;
      },
    );
    const failed = { code: 'ERR_RELOAD_FAILED' };
    reloads.committed();
    await expect(reloads.reloaded()).rejects.toMatchObject(failed);
    await expect(reloads.reloaded()).rejects.toMatchObject(failed);
    const broker = await standIn();
    await reloadOften(broker.pid, 3);
    expect(checks).toBe(2);
    expect(reported).toMatchObject([failed, failed]);
  });
});

test('reloaded() waits for the end of a reload that is under way', async () => {
  const order: string[] = [];
  let waiting: Promise<unknown> | undefined;
  const reloads = scheduler({ command: ['true'], minInterval: 0 }, async () => {
    waiting = reloads.reloaded().then(() => order.push('reloaded'));
    await new Promise(setImmediate);
    order.push('checked');
  });
  reloads.committed();
  await reloads.reloaded();
  await waiting;
  expect(order).toEqual(['checked', 'reloaded']);
});

test('a reload begins after the end of the one before', async () => {
  const order: string[] = [];
  const reloads = scheduler({ command: ['true'], minInterval: 0 }, async () => {
    order.push('begin');
    if (order.length === 1) reloads.committed();
    // Another reload would begin in one of these turns.
    for (let turn = 0; turn < 10; turn++) await yieldToEventLoop();
    order.push('end');
  });
  reloads.committed();
  await reloads.reloaded();
  await reloads.reloaded();
  expect(order).toEqual(['begin', 'end', 'begin', 'end']);
});

test('a reload that succeeds after one that failed is not repeated', async () => {
  let checks = 0;
  const reloads = scheduler({ command: ['true'], minInterval: 0 }, () => {
    if (++checks === 1) throw new Error('no file today');
  });
  reloads.committed();
  await expect(reloads.reloaded()).rejects.toThrow('no file today');
  await reloads.reloaded();
  await reloads.reloaded();
  expect(checks).toBe(2);
});

needs(linux, perl).describe('the time between the signals of a ReloadScheduler', () => {
  /** Milliseconds between two reloads, the second of which is due at once. */
  async function interval(options: ReloadOptions, bytes = 0): Promise<number> {
    const times: number[] = [];
    const reloads = scheduler(options, () => void times.push(performance.now()), undefined, bytes);
    for (let i = 0; i < 2; i++) {
      reloads.committed();
      await reloads.reloaded();
    }
    expect(times).toHaveLength(2);
    return (times[1] as number) - (times[0] as number);
  }

  test('is at least minInterval', async () => {
    const { pid } = await standIn();
    expect(await interval({ pid, minInterval: 300 })).toBeGreaterThanOrEqual(299);
  });

  /**
   * Returns a function that says for how long, at most, a timer has been set since then, in milliseconds, apart from the
   * timeout of a reload.
   */
  function watchTimers(): () => number {
    const started = vi.spyOn(timers, 'setTimeout');
    onTestFinished(() => started.mockRestore());
    const delays = () => started.mock.calls.map(([, delay]) => delay ?? 0);
    return () => Math.max(...delays().filter(delay => delay !== 10_000));
  }

  test.each([
    ['a second for a small file', 10_000, 1_000],
    ['longer for a file of 30 MB', 30_000_000, 1_200],
  ])('is %s after a command, which does not show when the broker has reloaded', async (_, bytes, least) => {
    const longestTimer = watchTimers();
    expect(await interval({ command: ['true'], minInterval: undefined }, bytes)).toBeGreaterThanOrEqual(
      least - 1,
    );
    expect(longestTimer()).toBeLessThanOrEqual(least);
  });

  test('is not waited for after a refusal, which sends no signal', async () => {
    const longestTimer = watchTimers();
    const reloads = scheduler({ command: ['true'] }, () => {}, { loads: false, findings: [] });
    for (let call = 0; call < 2; call++) {
      reloads.committed();
      await expect(reloads.reloaded()).rejects.toMatchObject({ code: 'ERR_RELOAD_REFUSED' });
    }
    expect(longestTimer()).toBeLessThan(900);
  });

  test('is a second if the kernel does not show when the broker has reloaded', async () => {
    const { pid } = await standIn();
    // As in a kernel that was built without CONFIG_SCHED_INFO.
    const schedule = vi.spyOn(ProcessView.prototype, 'schedule').mockReturnValue([0, undefined]);
    onTestFinished(() => schedule.mockRestore());
    expect(await interval({ pid })).toBeGreaterThanOrEqual(999);
  });

  test('is less than a second if the kernel shows when the broker has reloaded', async () => {
    const longestTimer = watchTimers();
    const { pid } = await standIn();
    await interval({ pid });
    expect(longestTimer()).toBeLessThan(900);
  });

  test('is the longest that a timer takes if maxLoad is so small that it would be longer', async () => {
    const longestTimer = watchTimers();
    const { pid } = await standIn({ work: 60 });
    const reloads = scheduler({ pid, maxLoad: 1e-12 });
    reloads.committed();
    await reloads.reloaded();
    reloads.committed();
    await expect.poll(longestTimer).toBeGreaterThan(1e9);
    for (const { value } of vi.mocked(timers.setTimeout).mock.results) clearTimeout(value);
    expect(longestTimer()).toBe(2 ** 31 - 1);
  });

  test('is zero with maxLoad 1', async () => {
    const longestTimer = watchTimers();
    const { pid } = await standIn({ work: 100 });
    await interval({ pid, maxLoad: 1 });
    expect(longestTimer()).toBeLessThan(70);
  });

  test('is so long that reloads take no larger share of the time than maxLoad', async () => {
    const { pid } = await standIn({ work: 60 });
    // 40 of the 60 ms, because the CPU time of other threads of the stand-in counts among these.
    expect(await interval({ pid, maxLoad: 0.2 })).toBeGreaterThan(40 / 0.2);
  });
});

needs(linux, root, perl).describe('a PasswordFile with the option reload.process', () => {
  const member = { user: 54_321, groups: [54_322] };

  test.each([
    ['its owner', 54_321, 0, 0o400],
    ['its group', 0, 54_321, 0o440],
    ['a supplementary group of the process', 0, 54_322, 0o440],
    ['everybody', 0, 0, 0o404],
  ])('signals a process of another user if the file may be read by %s', async (_, uid, gid, mode) => {
    const name = uniqueName();
    const broker = await standIn({ name, as: member });
    const path = join(testDirectory(), 'passwd');
    const file = new PasswordFile(path, { create: { uid, gid, mode }, reload: { process: name } });
    await file.setUser('alice', 'pw');
    await file.reloaded();
    expect(await broker.hangups()).toBe(1);
  });

  test('refuses a process whose user may not read the file', async () => {
    const name = uniqueName();
    const other = await standIn({ name, as: member });
    const path = join(testDirectory(), 'passwd');
    const file = new PasswordFile(path, {
      create: { mode: 0o600 },
      reload: { process: name, minInterval: 0 },
    });
    await file.setUser('alice', 'pw');
    await expect(file.reloaded()).rejects.toMatchObject({
      code: 'ERR_RELOAD_FAILED',
      message: expect.stringContaining(
        `No process called ${name} belongs to a user who may read ${path}, but pid ${other.pid} belongs to user 54321. ` +
          'If that user runs the broker, give that user the file, or its group the permission to read it.',
      ),
    });
    expect(await other.hangups()).toBe(0);

    const broker = await standIn({ name });
    await file.reloaded();
    expect(await broker.hangups()).toBe(1);
    expect(await other.hangups()).toBe(0);
  });

  test('refuses a process whose user may not enter the directory of the file', async () => {
    const name = uniqueName();
    const other = await standIn({ name, as: member });
    const directory = join(testDirectory(), 'private');
    mkdirSync(directory, { mode: 0o700 });
    const create = { mode: 0o644 };
    const file = new PasswordFile(join(directory, 'passwd'), { create, reload: { process: name } });
    await file.setUser('alice', 'pw');
    await expect(file.reloaded()).rejects.toMatchObject({
      code: 'ERR_RELOAD_FAILED',
      message: expect.stringContaining(
        `If that user runs the broker, use { process: '${name}', uid: 54321 }.`,
      ),
    });
    expect(await other.hangups()).toBe(0);
  });
});

needs(linux, root, perl).describe('a PasswordFile with the option reload and a broker that is named', () => {
  const as = { user: 54_321, groups: [54_322] };
  type Named = (broker: { pid: number; name: string }) => ReloadOptions;
  const ways: [string, Named][] = [
    ['by its pid', ({ pid }) => ({ pid })],
    ['by a pid file', ({ pid }) => ({ pidFile: pidFileOf(pid) })],
    ['by process and uid', ({ name }) => ({ process: name, uid: 54_321 })],
  ];
  function pidFileOf(pid: number): string {
    const path = join(testDirectory(), 'pid');
    writeFileSync(path, String(pid));
    return path;
  }
  async function reloaded(named: Named, directory: string, create: PasswordFileOptions['create']) {
    const name = named({ pid: 1, name: '' }).process === undefined ? 'mosquitto' : uniqueName();
    const broker = await standIn({ name, as });
    const path = join(directory, 'passwd');
    const reload = { ...named({ pid: broker.pid, name }), minInterval: 0 };
    const file = new PasswordFile(path, { create, reload });
    await file.setUser('alice', 'pw');
    return { broker, path, file };
  }

  test.each(ways)('%s sends no signal if its user may not read the file', async (_, named) => {
    const { broker, path, file } = await reloaded(named, testDirectory(), { mode: 0o640 });
    await expect(file.reloaded()).rejects.toMatchObject({
      code: 'ERR_RELOAD_REFUSED',
      path,
      findings: [{ line: 0, severity: 'error', code: 'NOT_READABLE' }],
      message: expect.stringMatching(
        /which it would not load: The broker's user \(54321:54321\) cannot read .* its owner and mode \(0:0, 0640\)\..* Give that user the file/,
      ),
    });
    expect(await broker.hangups()).toBe(0);
    chownSync(path, 0, 54_322);
    await file.reloaded();
    expect(await broker.hangups()).toBe(1);
  });

  test.each(ways)('%s sends a signal if only a directory keeps its user out', async (_, named) => {
    // The broker may see the file at another path.
    const directory = join(testDirectory(), 'private');
    mkdirSync(directory, { mode: 0o700 });
    const { broker, file } = await reloaded(named, directory, { mode: 0o644 });
    await file.reloaded();
    expect(await broker.hangups()).toBe(1);
  });
});

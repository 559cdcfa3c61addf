/**
 * Counts lost users and torn files: with many writers, and with writers that are killed, by `mosquitto_passwd`, by a
 * recipe of npm packages and by this library.
 *
 *     npx tsx bench/losses.ts [--small]
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { hashPasswordSync } from 'mosquitto-passwd-ts';
import { type Competitor, competitors } from './competitors.js';

const small = process.argv.includes('--small');
const PROCESSES = small ? 3 : 8;
const ADDS = small ? 10 : 50;
const LARGE = small ? 20_000 : 100_000;
const KILLS = small ? 3 : 60;
/** Milliseconds. A writer that waits for longer, after another one was killed, is stuck. */
const STUCK = 1_000;
/** Milliseconds that one of many writers may take. */
const PATIENCE = 120_000;

/** The task of a writer: to add `count` users. */
interface Order {
  path: string;
  prefix: string;
  count: number;
}

interface Report {
  failures: number;
}

/** Runs in the child process of a {@link Writer}. */
function serve(competitor: Competitor): void {
  process.on('message', async ({ path, prefix, count }: Order) => {
    let failures = 0;
    for (let n = 0; n < count; n++) {
      await competitor.add(path, `${prefix}_${n}`, 'password').catch(() => failures++);
    }
    process.send?.({ failures } satisfies Report);
  });
  process.send?.('ready');
}

/** A child process that adds users in one of the ways. */
class Writer {
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess) {
    this.#process = process;
  }

  static async start(competitor: Competitor): Promise<Writer> {
    const self = fileURLToPath(import.meta.url);
    const child = fork(self, ['--writer', competitor.name], { execArgv: ['--import', 'tsx'] });
    await once(child, 'message');
    return new Writer(child);
  }

  /** Resolves with `undefined` if the process did not finish in that time, or has ended. */
  async add(order: Order, patience: number): Promise<Report | undefined> {
    this.send(order);
    const timer = new AbortController();
    const report = await Promise.race([
      once(this.#process, 'message', { signal: timer.signal }).then(
        ([message]) => message as Report,
        () => undefined,
      ),
      once(this.#process, 'exit', { signal: timer.signal }).then(
        () => undefined,
        () => undefined,
      ),
      passed(patience, undefined, { signal: timer.signal }).catch(() => undefined),
    ]);
    timer.abort();
    return report;
  }

  send(order: Order): void {
    this.#process.send(order);
  }

  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }
}

interface Outcome {
  kept: string;
  failures: string;
  seconds: string;
  torn: string;
  stuck: string;
  next: string;
  left: string;
}

/** 8 processes add users to one file, all at once. */
async function manyWriters(competitor: Competitor, directory: string) {
  const path = join(directory, 'passwords');
  writeFileSync(path, lines(1), { mode: 0o600 });
  const writers = await Promise.all(Array.from({ length: PROCESSES }, () => Writer.start(competitor)));
  const started = performance.now();
  const reports = await Promise.all(
    writers.map((writer, n) => writer.add({ path, prefix: `process_${n}`, count: ADDS }, PATIENCE)),
  );
  const seconds = (performance.now() - started) / 1000;
  await Promise.all(writers.map(writer => writer.kill()));
  const kept = new Set(
    readFileSync(path, 'latin1')
      .split('\n')
      .flatMap(line => /^(\w+):\$7\$/.exec(line)?.[1] ?? []),
  );
  return {
    kept: `${kept.size} of ${PROCESSES * ADDS + 1}`,
    failures: String(reports.reduce((sum, report) => sum + (report?.failures ?? ADDS), 0)),
    seconds: `${seconds.toFixed(1)} s`,
  };
}

/** A writer of a large file is killed at a random moment, again and again. Another writer comes after it. */
async function suddenDeaths(competitor: Competitor, directory: string) {
  const path = join(directory, 'passwords');
  const original = join(directory, 'original');
  writeFileSync(original, lines(LARGE), { mode: 0o600 });
  const old = readFileSync(original);
  const counts = { torn: 0, stuck: 0, left: 0 };
  const waits: number[] = [];

  let writer = await Writer.start(competitor);
  const duration = await undisturbed(competitor, writer, path, original);
  for (let n = 0; n < KILLS; n++) {
    reset(directory, path, original);
    await killed(competitor, writer, path, duration * Math.random());
    if (isTorn(readFileSync(path), old)) counts.torn++;

    // This writer is killed in the next round.
    writer = await Writer.start(competitor);
    const started = performance.now();
    const report = await writer.add({ path, prefix: 'next', count: 1 }, STUCK);
    waits.push(performance.now() - started);
    if (report === undefined) {
      counts.stuck++;
      await writer.kill();
      writer = await Writer.start(competitor);
    }
    if (readdirSync(directory).length > 2) counts.left++;
  }
  await writer.kill();
  waits.sort((a, b) => a - b);
  return {
    torn: `${counts.torn} of ${KILLS}`,
    stuck: `${counts.stuck} of ${KILLS}`,
    next: `${milliseconds(waits[waits.length >> 1])}, ${milliseconds(waits.at(-1))}`,
    left: `${counts.left} of ${KILLS}`,
  };
}

/** The usual duration of adding a user, in milliseconds. */
async function undisturbed(
  competitor: Competitor,
  writer: Writer,
  path: string,
  original: string,
): Promise<number> {
  const durations: number[] = [];
  for (let n = 0; n < 5; n++) {
    copyFileSync(original, path);
    const started = performance.now();
    if (competitor.command === undefined) await writer.add({ path, prefix: 'usual', count: 1 }, PATIENCE);
    else await competitor.add(path, 'usual', 'password');
    durations.push(performance.now() - started);
  }
  return durations.sort((a, b) => a - b)[2] as number;
}

async function killed(competitor: Competitor, writer: Writer, path: string, delay: number): Promise<void> {
  if (competitor.command === undefined) {
    writer.send({ path, prefix: 'victim', count: 1 });
    await passed(delay);
  } else {
    const [command, ...args] = competitor.command(path, 'victim', 'password');
    const tool = spawn(command, args, { stdio: 'ignore' });
    const exited = once(tool, 'exit');
    await passed(delay);
    tool.kill('SIGKILL');
    await exited;
  }
  await writer.kill();
}

function reset(directory: string, path: string, original: string): void {
  for (const name of readdirSync(directory)) {
    if (name !== 'original') rmSync(join(directory, name), { recursive: true });
  }
  copyFileSync(original, path);
}

/** Whether the file is neither the old one nor the old one with one whole line more. */
function isTorn(bytes: Buffer, old: Buffer): boolean {
  if (!bytes.subarray(0, old.length).equals(old)) return true;
  return !/^(victim(_0)?:\$7\$\d+\$[\w+/=]+\$[\w+/]{86}==\n)?$/.test(bytes.toString('latin1', old.length));
}

function lines(count: number): string {
  const hash = hashPasswordSync('password');
  return Array.from({ length: count }, (_, n) => `user_${n}:${hash}\n`).join('');
}

function milliseconds(value = Number.NaN): string {
  return value >= STUCK ? `> ${STUCK} ms` : `${Math.round(value)} ms`;
}

async function compare(): Promise<void> {
  const rows: Array<[keyof Outcome, string]> = [
    ['kept', `${PROCESSES} processes add ${ADDS} users each: users in the file`],
    ['failures', '… calls that failed'],
    ['seconds', '… duration'],
    ['torn', `${KILLS} kills while adding to ${LARGE} users: torn files`],
    ['stuck', `… the next writer is stuck (more than ${STUCK} ms)`],
    ['next', '… how long the next writer takes: median, longest'],
    ['left', '… something lies beside the file after that'],
  ];
  const outcomes = new Map<string, Outcome>();
  for (const competitor of competitors()) {
    const directories = ['many', 'deaths'].map(name => mkdtempSync(join(tmpdir(), `losses-${name}-`)));
    try {
      const [many, deaths] = directories as [string, string];
      outcomes.set(competitor.name, {
        ...(await manyWriters(competitor, many)),
        ...(await suddenDeaths(competitor, deaths)),
      });
    } finally {
      for (const directory of directories) rmSync(directory, { recursive: true, force: true });
    }
  }
  console.log(`Node ${process.version}, ${availableParallelism()} cores\n`);
  console.log(`| | ${[...outcomes.keys()].join(' | ')} |`);
  console.log(`|---|${'---|'.repeat(outcomes.size)}`);
  for (const [key, title] of rows) {
    console.log(`| ${title} | ${[...outcomes.values()].map(outcome => outcome[key]).join(' | ')} |`);
  }
}

const asWriter = process.argv.indexOf('--writer');
if (asWriter < 0) await compare();
else serve(competitors().find(({ name }) => name === process.argv[asWriter + 1]) as Competitor);

/**
 * Eight processes edit one file at random while this process kills, stops and continues them at random, half of the time
 * the lock owner. No acknowledged edit is lost. CHAOS_SECONDS is the duration (20). CHAOS_SEED repeats the random
 * decisions, but not the scheduling.
 */
import { chmodSync, chownSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { expect, test } from 'vitest';
import { parseTempFileName } from '../../src/storage/lock-owner.js';
import type { Told, WorkerArgument } from '../faults/children/worker.js';
import { type Child, startChild } from '../support/children.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';
import { randomNumbers } from '../support/random.js';
import { namespaces, needs, program, root } from '../support/require.js';
import { stamp } from '../support/stamps.js';

const SECONDS = Number(process.env.CHAOS_SECONDS ?? 20);
const SEED = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 2 ** 32));
/** Milliseconds without a heartbeat after which a writer counts as dead. */
const STALE = 1_000;
/** The most signals during the wait of one edit. Each of them can prolong it by `STALE`. */
const FAULTS_PER_WAIT = 2;
const SHARED_NAME = 'shared';
const GROUP = 4242;

const sameNamespace: string[] = [];
const otherNamespace = ['unshare', '--pid', '--fork'];
const otherProc = ['unshare', '--pid', '--fork', '--mount-proc'];
const asUser = (uid: number) => ['setpriv', `--reuid=${uid}`, `--regid=${GROUP}`, '--clear-groups', '--'];

const everywhere = [
  sameNamespace,
  asUser(1234),
  sameNamespace,
  asUser(1235),
  otherNamespace,
  [...otherNamespace, ...asUser(1234)],
  otherProc,
  [...otherProc, ...asUser(1235)],
];

needs(root, namespaces, program('setpriv')).test(
  'no acknowledged edit is lost while writers of several users and pid namespaces are killed, stopped and continued',
  () => chaos(everywhere),
  SECONDS * 1000 + 60_000,
);

if (!root.met() || !namespaces.met()) {
  test(
    'no acknowledged edit is lost while writers are killed, stopped and continued',
    () => chaos(everywhere.map(() => [])),
    SECONDS * 1000 + 60_000,
  );
}

async function chaos(places: string[][]): Promise<void> {
  using directory = temporaryDirectory('chaos', memoryDirectory());
  const path = join(directory.path, 'passwords');
  const base = `# both may write\nbase:${stamp(99, 99)}\n`;
  writeFileSync(path, base);
  chmodSync(path, 0o660);
  if (root.met()) {
    chownSync(path, 0, GROUP);
    chownSync(directory.path, 0, GROUP);
  }
  chmodSync(directory.path, 0o2770);

  console.info(`CHAOS_SEED=${SEED} CHAOS_SECONDS=${SECONDS}`);
  await using workers = new Workers(path, places);
  await workers.start();
  await workers.disturb(SECONDS * 1000, () => expectWhole(readFileSync(path, 'latin1'), base));
  await workers.finish();

  expect(workers.wrong.slice(0, 5)).toEqual([]);
  expect(workers.acknowledged).toBeGreaterThan(100);

  const lines = expectWhole(readFileSync(path, 'latin1'), base);
  for (const name of workers.names()) expect(workers.mayHold(name, lines.get(name))).toEqual([]);
  for (const name of lines.keys()) expect(workers.names()).toContain(name);

  await expectTidied(path);
  expect(readFileSync(path, 'latin1')).toBe(
    base + [...lines].map(([name, hash]) => `${name}:${hash}\n`).join(''),
  );
  const { acknowledged, attempts, signals, ownersHit, longestWait } = workers;
  console.info(
    `${acknowledged} of ${attempts.length} edits acknowledged, ${JSON.stringify({ ...signals, ownersHit })}, ` +
      `the longest wait of a survivor ${Math.round(longestWait / 1000)} ms`,
  );
}

/** Expects whole lines, and both users of each pair or none. Returns the entries after the lines of the first file. */
function expectWhole(text: string, base: string): Map<string, string> {
  expect(text.startsWith(base), text).toBe(true);
  expect(text.endsWith('\n'), text).toBe(true);
  const lines = text.slice(base.length).split('\n').slice(0, -1);
  const entries = new Map(lines.map(line => line.split(':') as [string, string]));
  expect(entries.size, text).toBe(lines.length);
  for (const [name, hash] of entries) {
    if (name.startsWith('pair_'))
      expect(entries.get(name.replace(/.$/, l => (l === 'a' ? 'b' : 'a')))).toBe(hash);
  }
  return entries;
}

/** Expects that the next writers remove the files of killed ones, those of other pid namespaces after `STALE`. */
async function expectTidied(path: string): Promise<void> {
  const file = new PasswordFile(path, { lock: { stale: STALE } });
  const directory = join(path, '..');
  for (const started = now(); readdirSync(directory).length > 1 && now() - started < 3_000 * STALE; ) {
    await file.update(() => undefined);
    await passed(20);
  }
  expect(readdirSync(directory)).toEqual(['passwords']);
}

/** An edit that a worker reported. */
interface Attempt {
  slot: number;
  edits: Map<string, string | undefined>;
  start: number;
  /** When it was acknowledged, or its process had ended. If it took effect, then before that. */
  end: number;
  acknowledged: boolean;
}

/** A worker, and those that are started in its place when it has been killed. */
interface Slot {
  number: number;
  under: string[];
  life: number;
  child: Child | undefined;
  isUp: boolean;
  pid: number;
  namespace: string;
  inFlight: Map<number, Attempt>;
  /** When the last SIGSTOP was sent to it, and the SIGCONT after that. */
  stoppedAt: number;
  continuedAt: number;
}

/** A signal to a worker. It no longer delays others when any worker has begun and ended an edit since. */
interface Fault {
  at: number;
  slot: number;
  overAt: number;
}

class Workers implements AsyncDisposable {
  readonly attempts: Attempt[] = [];
  readonly wrong: string[] = [];
  readonly signals = { SIGKILL: 0, SIGSTOP: 0, SIGCONT: 0 };
  acknowledged = 0;
  /** How many of the kills and stops were sent to the lock owner. */
  ownersHit = 0;
  /** In microseconds, for workers that were not stopped meanwhile. */
  longestWait = 0;
  readonly #slots: Slot[];
  readonly #faults: Fault[] = [];
  readonly #random = randomNumbers(SEED);
  readonly #restarts = new Set<Promise<void>>();
  #finished = false;

  constructor(
    readonly path: string,
    places: string[][],
  ) {
    this.#slots = places.map((under, number) => ({
      number,
      under,
      life: 0,
      child: undefined,
      isUp: false,
      pid: 0,
      namespace: '',
      inFlight: new Map(),
      stoppedAt: -2,
      continuedAt: -1,
    }));
  }

  async start(): Promise<void> {
    await Promise.all(this.#slots.map(slot => this.#enlist(slot)));
  }

  async #enlist(slot: Slot): Promise<void> {
    const { number, life, under } = slot;
    const argument: WorkerArgument = {
      ...{ path: this.path, slot: number, life, seed: SEED, stale: STALE },
      sharedName: SHARED_NAME,
    };
    const child = await startChild('worker', argument, { under });
    child.listen(message => this.#hear(slot, message as Told));
    slot.child = child;
    slot.isUp = true;
    slot.pid = child.pid;
    slot.namespace = namespaceOf(String(child.pid));
    void child.exited.then(({ code }) => {
      const at = now();
      for (const attempt of slot.inFlight.values()) attempt.end = at;
      slot.inFlight.clear();
      slot.child = undefined;
      slot.isUp = false;
      slot.life++;
      // unshare prints a message when the process that it started is killed.
      if (/^(?!unshare:)./m.test(child.stderr)) this.wrong.push(child.stderr);
      if (!this.#finished) this.#restart(slot);
      else if (code !== 0) this.wrong.push(`worker ${number} ended with ${code}`);
    });
  }

  #restart(slot: Slot): void {
    const restart = this.#enlist(slot).finally(() => this.#restarts.delete(restart));
    this.#restarts.add(restart);
  }

  #hear(slot: Slot, told: Told): void {
    if ('wrong' in told) {
      this.wrong.push(`worker ${slot.number}: ${told.wrong}`);
    } else if ('tries' in told) {
      const edits = new Map(told.edits.map(([name, hash]) => [name, hash ?? undefined]));
      const attempt = { slot: slot.number, edits, start: told.at, end: Infinity, acknowledged: false };
      this.attempts.push(attempt);
      slot.inFlight.set(told.tries, attempt);
    } else {
      const attempt = slot.inFlight.get(told.done) as Attempt;
      slot.inFlight.delete(told.done);
      attempt.end = told.at;
      attempt.acknowledged = true;
      this.acknowledged++;
      for (const fault of this.#faults)
        if (fault.at < attempt.start) fault.overAt = Math.min(fault.overAt, attempt.end);
      const wasStopped = isStopped(slot) || slot.continuedAt > attempt.start;
      if (!wasStopped) this.longestWait = Math.max(this.longestWait, attempt.end - attempt.start);
    }
  }

  /** Sends signals at random. */
  async disturb(milliseconds: number, look: () => void): Promise<void> {
    const end = now() + 1_000 * milliseconds;
    while (now() < end) {
      await passed(10 + 200 * this.#random());
      look();
      const anyone = this.#slots[Math.floor(this.#random() * this.#slots.length)] as Slot;
      const owner = this.#random() < 0.5 ? this.#lockOwner() : undefined;
      const slot = owner ?? anyone;
      if (!slot.isUp || isStopped(slot) || this.#wouldBeTooMuch()) continue;
      if (slot === owner) this.ownersHit++;
      this.#faults.push({ at: now(), slot: slot.number, overAt: Infinity });
      const dice = this.#random();
      if (dice < 0.45) this.#send(slot, 'SIGKILL');
      else void this.#stop(slot, dice < 0.75 ? STALE * (1.2 + this.#random()) : 50 * this.#random());
    }
  }

  /** The worker whose temp file is in the lock directory now. */
  #lockOwner(): Slot | undefined {
    const temp = names(`${this.path}.writer`)[0];
    const owner = parseTempFileName(temp ?? '');
    return this.#slots.find(
      ({ pid, namespace }) =>
        owner?.realm.endsWith(`-${namespace}`) && (namespace !== ownNamespace || owner.pid === pid),
    );
  }

  async #stop(slot: Slot, milliseconds: number): Promise<void> {
    const { child } = slot;
    this.#send(slot, 'SIGSTOP');
    slot.stoppedAt = now();
    await passed(milliseconds);
    if (slot.child === child && slot.isUp) this.#send(slot, this.#random() < 0.2 ? 'SIGKILL' : 'SIGCONT');
    slot.continuedAt = now();
  }

  #send(slot: Slot, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    this.signals[signal]++;
    slot.child?.kill(signal);
    // The worker counts as down at once, although it ends a moment later.
    if (signal === 'SIGKILL') slot.isUp = false;
  }

  /** Whether an edit waits that has been delayed by the most signals already. */
  #wouldBeTooMuch(): boolean {
    const waiting = this.#slots.flatMap(slot => (isStopped(slot) ? [] : [...slot.inFlight.values()]));
    return waiting.some(
      ({ start }) => this.#faults.filter(({ overAt }) => overAt > start).length >= FAULTS_PER_WAIT,
    );
  }

  /** Lets all workers finish their edits and end. */
  async finish(): Promise<void> {
    while (this.#restarts.size > 0 || this.#slots.some(slot => !slot.isUp || isStopped(slot))) {
      await Promise.all(this.#restarts);
      await passed(10);
    }
    this.#finished = true;
    await Promise.all(
      this.#slots.map(({ child }) => {
        child?.send('stop');
        child?.end();
        return child?.exited;
      }),
    );
  }

  names(): string[] {
    return [...new Set(this.attempts.flatMap(({ edits }) => [...edits.keys()]))];
  }

  /**
   * Why the file may not hold this name with this hash (`undefined`: may not lack it). Empty: it may, as an edit, or
   * for `undefined` the first file, made it so, and no acknowledged edit of the name began after that.
   */
  mayHold(name: string, hash: string | undefined): string[] {
    const attempts = this.attempts.filter(({ edits }) => edits.has(name));
    const makers = attempts.filter(({ edits }) => edits.get(name) === hash).map(({ end }) => end);
    if (hash === undefined) makers.push(-1);
    const lastAcknowledged = Math.max(...attempts.map(each => (each.acknowledged ? each.start : -2)));
    if (makers.some(end => end >= lastAcknowledged)) return [];
    return [`${name} holds ${hash} (${makers.length} edits made it so), but a later edit was acknowledged`];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#finished = true;
    await Promise.allSettled(this.#restarts);
    await Promise.all(this.#slots.map(({ child }) => child?.[Symbol.asyncDispose]()));
  }
}

const ownNamespace = namespaceOf('self');

function namespaceOf(pid: string): string {
  return readlinkSync(`/proc/${pid}/ns/pid`).replace(/\D/g, '');
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function isStopped(slot: Slot): boolean {
  return slot.stoppedAt > slot.continuedAt;
}

function now(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

/** Runs the tests of one file for `npm run mutate`: activates mutants, and records which mutants the tests reach. */
import { appendFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { configureGlobal } from 'fast-check';
import { inject, type RunnerTestCase, type RunnerTestFile, type RunnerTestSuite, TestRunner } from 'vitest';

/** The task of a process that runs tests. */
export interface Mutation {
  /** The number of mutants of all sources. */
  count: number;
  /** The mutant that is active all the time. */
  active?: number;
  /** For each test by its id: the mutants that it runs with, one after the other, and its usual duration and places. */
  plan?: Record<string, { mutants: number[]; usual: number; places: number }>;
  /** Milliseconds until the process is ended; with a plan, those of a test beyond 5 times its usual duration. */
  limit: number;
  /** The file to which each step of the plan is written, a line for each. */
  log: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    mutation: Mutation;
  }
  interface TaskMeta {
    /** The mutants that this test reaches. */
    reached?: number[];
    /** How often the test comes to a place that a mutant changes. */
    places?: number;
    /** The mutants that are reached before the first test. */
    reachedBefore?: number[];
  }
}

const { count, active: only, plan, limit, log } = inject('mutation');
const NONE = -1;
const reached = new Uint8Array(count);
let active = only ?? NONE;
/** How many more times places of mutants may be reached before the test is ended. */
let placesLeft = Number.POSITIVE_INFINITY;
Object.assign(globalThis, {
  __mutant(number: number): boolean {
    reached[number] = 1;
    if (placesLeft-- <= 0) throw new Error('The mutant does not come to an end.');
    return number === active;
  },
  __activeOf(...numbers: number[]): number | undefined {
    for (const number of numbers) reached[number] = 1;
    return numbers.includes(active) ? active : undefined;
  },
});
// The first failure is enough. To find a smaller example takes long.
configureGlobal({ endOnFailure: true });

// Bound now, because tests may replace process.kill.
const kill = process.kill.bind(process, process.pid, 'SIGKILL');
const deadline = new Float64Array(new SharedArrayBuffer(8));
const setLimit = (milliseconds: number) => {
  deadline[0] = Date.now() + milliseconds;
};
// In another thread, because with a mutant this one may be busy for ever.
const watchdog = `
  const { deadline, log } = require('node:worker_threads').workerData;
  setInterval(() => {
    if (Date.now() < deadline[0]) return;
    require('node:fs').appendFileSync(log, 'overtime\\n');
    process.kill(process.pid, 'SIGKILL');
  }, 50);`;

/** Records which mutants each test reaches. */
class Finder extends TestRunner {
  #isFirst = true;

  override onBeforeTryTask(test: RunnerTestCase): void {
    super.onBeforeTryTask(test);
    const before = this.#take();
    if (this.#isFirst) test.meta.reachedBefore = before;
    this.#isFirst = false;
    placesLeft = Number.MAX_SAFE_INTEGER;
  }

  onAfterRetryTask(test: RunnerTestCase): void {
    test.meta.reached = this.#take();
    test.meta.places = Number.MAX_SAFE_INTEGER - placesLeft;
  }

  #take(): number[] {
    const numbers = [...reached.keys()].filter(number => reached[number] === 1);
    reached.fill(0);
    return numbers;
  }
}

/** Runs tests with one mutant up to the first that fails. The mutant is active while files are loaded, too. */
class OneMutant extends TestRunner {
  #hasFailed = false;

  override async onBeforeRunTask(test: RunnerTestCase): Promise<void> {
    await super.onBeforeRunTask(test);
    if (this.#hasFailed) test.mode = 'skip';
  }

  onAfterRetryTask(test: RunnerTestCase): void {
    this.#hasFailed ||= test.result?.state === 'fail';
  }
}

/**
 * Repeats each test with each of its mutants that no earlier test has detected. After each failure, the test runs without
 * a mutant: if it fails again, the mutant has left something behind, and the process ends.
 */
class EachMutant extends TestRunner {
  readonly #done = new Set<number>();
  #waiting: number[] = [];
  /** The mutant that is active, or whose failure is being confirmed. */
  #mutant = NONE;
  #isConfirming = false;

  onBeforeRunFiles(files: RunnerTestFile[]): void {
    for (const file of files) sort(file);
    const doubt = () => {
      this.#note('doubtful');
      this.#done.add(this.#mutant);
    };
    process.on('uncaughtException', doubt).on('unhandledRejection', doubt);
  }

  override async onBeforeRunTask(test: RunnerTestCase): Promise<void> {
    await super.onBeforeRunTask(test);
    this.#waiting = (plan?.[test.id]?.mutants ?? []).filter(mutant => !this.#done.has(mutant));
    if (this.#waiting.length === 0) test.mode = 'skip';
    test.repeats = Number.POSITIVE_INFINITY;
    this.#isConfirming = false;
  }

  override onBeforeTryTask(test: RunnerTestCase): void {
    super.onBeforeTryTask(test);
    setLimit(limit + 5 * (plan?.[test.id]?.usual ?? 0));
    if (this.#isConfirming) return;
    placesLeft = 100_000 + 20 * (plan?.[test.id]?.places ?? 0);
    this.#mutant = this.#waiting.shift() ?? NONE;
    this.#note('begin', test);
    reached[this.#mutant] = 0;
    active = this.#mutant;
  }

  onAfterRetryTask(test: RunnerTestCase): void {
    active = NONE;
    placesLeft = Number.POSITIVE_INFINITY;
    setLimit(60_000);
    const { result } = test;
    if (result === undefined || result.state === 'skip') return;
    const hasFailed = result.state === 'fail';
    if (this.#isConfirming && hasFailed) kill();
    const isReached = this.#isConfirming || reached[this.#mutant] === 1;
    const step = this.#isConfirming ? 'detected' : hasFailed ? 'failed' : 'passed';
    this.#note(isReached ? step : 'doubtful', test);
    if (step === 'detected' || !isReached) this.#done.add(this.#mutant);
    this.#isConfirming = hasFailed;
    // The state `skip` ends the repeats.
    const isLast = !hasFailed && this.#waiting.length === 0;
    test.result = { state: isLast ? 'skip' : 'run', startTime: 0, retryCount: 0 };
  }

  #note(step: string, test?: RunnerTestCase): void {
    appendFileSync(log, `${step} ${this.#mutant} ${test?.id ?? ''}\n`);
  }
}

/** Puts the fast tests first. */
function sort(suite: RunnerTestSuite): number {
  const usual = new Map(
    suite.tasks.map(task => [task, task.type === 'suite' ? sort(task) : (plan?.[task.id]?.usual ?? 0)]),
  );
  suite.tasks.sort((a, b) => (usual.get(a) ?? 0) - (usual.get(b) ?? 0));
  for (const task of suite.tasks) task.concurrent = false;
  return [...usual.values()].reduce((sum, duration) => sum + duration, 0);
}

if (only !== undefined || plan !== undefined) {
  setLimit(plan === undefined ? limit : 60_000);
  new Worker(watchdog, { eval: true, workerData: { deadline, log } }).unref();
}

export default plan !== undefined ? EachMutant : only !== undefined ? OneMutant : Finder;

/**
 * Hashes share Node's thread pool with fsync, large reads and writes, and DNS, and a job in the pool cannot be cancelled.
 * So most hashes wait here. Only a few are in the pool at a time, and a system call waits there only for these.
 */
import { orAborted } from './abort.js';

/** Called with the result of a job, after the function that started the job has returned. */
export type Done<T> = (error: Error | null, value: T) => void;

interface Job {
  start(): void;
  next: Job | undefined;
}

/** Jobs wait while those in flight cost this much, in iterations of PBKDF2. A core computes about a million a second. */
const MAX_COST_IN_FLIGHT = 16_000;

let inFlight = 0;
let cost = 0;
let systemCalls = 0;
let first: Job | undefined;
let last: Job | undefined;
let threads: number | undefined;

/**
 * Runs a job in the thread pool, first come first served, as soon as the jobs in flight leave room for it.
 *
 * @param begin starts the job and returns its cost in iterations; the promise rejects with what it throws
 */
export function limited<T>(begin: (done: Done<T>) => number): Promise<T> {
  return new Promise((resolve, reject) => {
    const start = (): void => {
      let ownCost = 0;
      const done: Done<T> = (error, value) => {
        inFlight--;
        cost -= ownCost;
        if (error) reject(error);
        else resolve(value);
        startJobs();
      };
      try {
        ownCost = begin(done);
        inFlight++;
        cost += ownCost;
      } catch (error) {
        reject(error);
      }
    };
    const job: Job = { start, next: undefined };
    if (last === undefined) first = job;
    else last.next = job;
    last = job;
    startJobs();
  });
}

/**
 * Starts jobs until one thread of the pool is left. Unless a system call needs that one, starts more, until those in flight
 * cost {@link MAX_COST_IN_FLIGHT}.
 */
function startJobs(): void {
  const slow = mostSlowJobs();
  const maxCost = systemCalls > 0 ? 0 : MAX_COST_IN_FLIGHT;
  while (first !== undefined && (cost < maxCost || inFlight < slow)) {
    const { start, next } = first;
    first = next;
    if (next === undefined) last = undefined;
    start();
  }
}

/** libuv reads the variable (src/threadpool.c `init_threads`); what is no number is one thread. */
function mostSlowJobs(): number {
  threads ??= Number.parseInt(process.env.UV_THREADPOOL_SIZE ?? '4', 10) || 1;
  return Math.max(1, threads - 1);
}

/** Makes a system call in the thread pool. Meanwhile, jobs start only if they leave one thread free. */
export async function withPriority<T>(call: (done: Done<T>) => void): Promise<T> {
  systemCalls++;
  try {
    return await new Promise<T>((resolve, reject) =>
      call((error, value) => (error ? reject(error) : resolve(value))),
    );
  } finally {
    systemCalls--;
    startJobs();
  }
}

/** How many calls {@link inParallel} makes at once, even of the cheapest jobs. */
const MOST_LANES = 256;

/**
 * Calls `run` for each of `count` items. Makes twice as many calls at once as jobs of this cost can be in flight. That keeps
 * the pool busy; more would only delay the jobs of others. The first failure or an abort ends it.
 *
 * @param onProgress called after each item with the number of items that are done, until it ends
 */
export function inParallel<T>(
  count: number,
  jobCost: number,
  items: Iterable<T>,
  run: (item: T) => Promise<void>,
  signal?: AbortSignal,
  onProgress?: (done: number, count: number) => void,
): Promise<unknown> {
  let done = 0;
  let hasFailed = false;
  // All lanes take their items from this generator. A lane that fails closes it, which stops the others.
  const shared = (function* () {
    yield* items;
  })();
  const lane = async (): Promise<void> => {
    try {
      for (const item of shared) {
        signal?.throwIfAborted();
        await run(item);
        if (!hasFailed && !signal?.aborted) onProgress?.(++done, count);
      }
    } catch (error) {
      hasFailed = true;
      throw error;
    }
  };
  const lanes =
    2 * Math.max(mostSlowJobs(), Math.min(MOST_LANES / 2, Math.ceil(MAX_COST_IN_FLIGHT / jobCost)));
  const further = Array.from({ length: Math.min(count, lanes) - 1 }, lane);
  return orAborted(Promise.all([lane(), ...further]), signal);
}

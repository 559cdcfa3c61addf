/**
 * Hashing shares Node's thread pool with fsync, large reads and writes, and DNS, and a job in the pool cannot be called
 * back. So most hashes wait here, and few there: a system call never waits long behind them.
 */

/** Reports what a job came to; never before the job's function has returned. */
export type Done<T> = (error: Error | null, value: T) => void;

interface Waiting {
  start(): void;
  next: Waiting | undefined;
}

/** In iterations of PBKDF2, of which a core computes about a million a second; all threads busy, and some in store. */
const ENOUGH = 10_000;

let inFlight = 0;
let cost = 0;
let urgent = 0;
let first: Waiting | undefined;
let last: Waiting | undefined;
let slowJobs: number | undefined;

/**
 * Runs a job that occupies a thread of the pool, first come first served, when the pool has too little to do.
 *
 * @param begin starts the job and returns its cost in iterations; what it throws, the promise rejects with
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
        if (urgent === 0) startWaiting();
      };
      try {
        ownCost = begin(done);
        inFlight++;
        cost += ownCost;
      } catch (error) {
        reject(error);
      }
    };
    const job: Waiting = { start, next: undefined };
    if (last === undefined) first = job;
    else last.next = job;
    last = job;
    if (urgent === 0) startWaiting();
  });
}

/** Jobs that cost more than {@link ENOUGH} leave one thread of the pool free. */
function startWaiting(): void {
  slowJobs ??= Math.max(1, Number(process.env.UV_THREADPOOL_SIZE ?? 4) - 1);
  while (first !== undefined && (cost < ENOUGH || inFlight < slowJobs)) {
    const { start, next } = first;
    first = next;
    if (next === undefined) last = undefined;
    start();
  }
}

/**
 * Does what a commit waits for in the thread pool, and starts no hash meanwhile. At its end hashes have their turn, even
 * if another commit waits: commits cannot keep them waiting for ever.
 */
export async function withPriority<T>(work: () => Promise<T>): Promise<T> {
  urgent++;
  try {
    return await work();
  } finally {
    urgent--;
    startWaiting();
  }
}

/** Calls `run` for each item, many at once; the first failure or abort ends it. */
export async function inParallel<T>(
  items: Iterable<T>,
  run: (item: T) => Promise<void>,
  signal?: AbortSignal | undefined,
): Promise<void> {
  // All lanes draw from one generator, which the first lane that fails closes.
  const shared = (function* () {
    yield* items;
  })();
  const lane = async (): Promise<void> => {
    for (const item of shared) {
      signal?.throwIfAborted();
      await run(item);
    }
  };
  await Promise.all(Array.from({ length: 256 }, lane));
}

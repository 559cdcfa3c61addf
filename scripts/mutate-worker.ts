/** In each process that runs tests for `npm run mutate`: says which mutant is active, and notes which are reached. */
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, inject } from 'vitest';

declare module 'vitest' {
  interface ProvidedContext {
    mutation: {
      count: number;
      /** The number of the active mutant; -1: none. */
      active: number;
      /** Milliseconds after which the process ends. */
      limit: number;
    };
  }
  interface TaskMeta {
    /** The mutants that this test reaches. */
    reached?: number[];
    /** Those that have been reached outside of tests, since the test before. */
    reachedBefore?: number[];
  }
}

const { count, active, limit } = inject('mutation');
const reached = new Uint8Array(count);

Object.assign(globalThis, {
  __mutant(number: number): boolean {
    reached[number] = 1;
    return number === active;
  },
});

function takeReached(): number[] {
  const numbers = [...reached.keys()].filter(number => reached[number] === 1);
  reached.fill(0);
  return numbers;
}

if (active < 0) {
  beforeEach(({ task }) => {
    task.meta.reachedBefore = takeReached();
  });
  afterEach(({ task }) => {
    task.meta.reached = takeReached();
  });
} else {
  let hasFailed = false;
  afterEach(({ task }) => {
    hasFailed ||= task.result?.state === 'fail';
  });
  beforeEach(({ skip }) => skip(hasFailed));
  // From another thread, since a mutant may never give this one back.
  const end = `setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${limit})`;
  new Worker(end, { eval: true }).unref();
}

import { expect, test } from 'vitest';
import { runYielding, yieldToEventLoop } from '../../src/util/event-loop.js';

/** Work of 100 steps of at least a millisecond each, and how many of them it has done. */
function work(): { done: { steps: number }; steps: Generator<void, string> } {
  const done = { steps: 0 };
  return {
    done,
    steps: (function* () {
      for (; done.steps < 100; done.steps++) {
        for (const end = performance.now() + 1; performance.now() < end; ) Math.random();
        yield;
      }
      return 'result';
    })(),
  };
}

test('runYielding yields to the event loop, and resolves with the result of the work', async () => {
  let turns = 0;
  let isOver = false;
  const result = runYielding(work().steps).finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await yieldToEventLoop();
    turns++;
  }
  expect(await result).toBe('result');
  expect(turns).toBeGreaterThan(2);
});

test('runYielding takes no further step after an abort', async () => {
  const { done, steps } = work();
  const controller = new AbortController();
  const reason = new Error('the caller has gone');
  const result = runYielding(steps, controller.signal);
  await yieldToEventLoop();
  controller.abort(reason);
  const { steps: before } = done;
  await expect(result).rejects.toBe(reason);
  expect(done.steps).toBe(before);
});

import { expect, test } from 'vitest';
import { runYielding, yieldToEventLoop } from '../../src/util/event-loop.js';

/** Work that yields several times, and what it has done. */
function work(): { done: { steps: number }; steps: Generator<void, string> } {
  const done = { steps: 0 };
  const busy = Buffer.alloc(1 << 20);
  return {
    done,
    steps: (function* () {
      for (; done.steps < 2_000; done.steps++) {
        busy.fill(done.steps);
        yield;
      }
      return 'result';
    })(),
  };
}

test('runYielding lets the event loop turn and resolves with the result', async () => {
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

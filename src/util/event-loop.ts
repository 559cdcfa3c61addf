/** How long work may keep the event loop to itself, in milliseconds. */
const SLICE = 15;
/** Steps between two looks at the clock. A step may be a line of 64 KiB. */
const STEPS = 4;

/** Runs long work of many steps, and yields to the event loop now and then. An abort ends it there. */
export async function runYielding<T>(
  work: Generator<unknown, T>,
  signal?: AbortSignal | undefined,
): Promise<T> {
  let sliceEnd = performance.now() + SLICE;
  for (let steps = 1; ; steps++) {
    const { done, value } = work.next();
    if (done) return value;
    if (steps % STEPS !== 0 || performance.now() < sliceEnd) continue;
    await yieldToEventLoop();
    signal?.throwIfAborted();
    sliceEnd = performance.now() + SLICE;
  }
}

/** Resolves in the event loop's next turn. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

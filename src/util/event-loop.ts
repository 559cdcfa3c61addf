/** How long work may keep the event loop to itself, in milliseconds. */
const SLICE = 15;
/** Steps between two looks at the clock. A step may be a line of 64 KiB. */
const STEPS = 4;

/** Runs long work that yields often, in slices between which the event loop turns. An abort ends it after its slice. */
export async function inSlices<T>(work: Generator<unknown, T>, signal?: AbortSignal | undefined): Promise<T> {
  let sliceEnd = performance.now() + SLICE;
  for (let steps = 1; ; steps++) {
    const { done, value } = work.next();
    if (done) return value;
    if (steps % STEPS !== 0 || performance.now() < sliceEnd) continue;
    await nextTurn();
    signal?.throwIfAborted();
    sliceEnd = performance.now() + SLICE;
  }
}

/** The event loop's next turn, when others have run. */
export function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

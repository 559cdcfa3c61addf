/** Hashes under way at once. With fewer than this, threads of the pool wait for work (measured: 16 are a quarter slower). */
const IN_FLIGHT = 256;

/** Calls `run` for each item, some at once; the first failure or abort ends it. */
export async function inParallel<T>(
  items: Iterable<T>,
  run: (item: T) => Promise<void>,
  signal?: AbortSignal | undefined,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failed = false;
  const lane = async (item: IteratorResult<T>): Promise<void> => {
    for (let next = item; !next.done && !failed; next = iterator.next()) {
      try {
        signal?.throwIfAborted();
        await run(next.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const lanes: Array<Promise<void>> = [];
  while (lanes.length < IN_FLIGHT) {
    const first = iterator.next();
    if (first.done) break;
    lanes.push(lane(first));
  }
  await Promise.all(lanes);
}

/** Hashes under way at once: enough to keep every thread of the pool busy, few enough that file calls get a turn. */
const IN_FLIGHT = 16;

/** Calls `run` for each item, some at once; the first failure or abort ends it. */
export async function inParallel<T>(
  items: Iterable<T>,
  run: (item: T) => Promise<void>,
  signal?: AbortSignal | undefined,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failed = false;
  const lane = async (): Promise<void> => {
    for (let item = iterator.next(); !item.done && !failed; item = iterator.next()) {
      try {
        signal?.throwIfAborted();
        await run(item.value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
}

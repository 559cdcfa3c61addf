/** Hashes under way at once. With fewer than this, threads of the pool wait for work (measured: 16 are a quarter slower). */
const IN_FLIGHT = 256;

/** Calls `run` for each item, some at once; the first failure or abort ends it. */
export async function inParallel<T>(
  items: Iterable<T> & ({ length: number } | { size: number }),
  run: (item: T) => Promise<void>,
  signal?: AbortSignal | undefined,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const count = 'length' in items ? items.length : items.size;
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
  await Promise.all(Array.from({ length: Math.min(IN_FLIGHT, count) }, lane));
}

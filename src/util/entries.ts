/** Pairs that a caller passes, from an iterable or async iterable. */
import { invalidArgument } from '../errors.js';
import { orAborted } from './abort.js';
import { Turn } from './event-loop.js';

/**
 * Pairs out of an array, a `Map`, a generator, a database cursor, … An array or `Set` is copied at the call; another
 * source must not change until the promise settles.
 *
 * @example const devices: Entries<string> = new Map([['device_1', 'first password']]);
 */
export type Entries<V> =
  | Iterable<readonly [username: string, value: V]>
  | AsyncIterable<readonly [username: string, value: V]>;

/**
 * Calls `visit` with the parts of each pair and its number, counted from 1. An abort rejects at once. An abort and each
 * failure call the iterator's `return()`.
 */
export async function forEachEntry(
  entries: Entries<unknown>,
  visit: (username: unknown, value: unknown, number: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const iterator = iteratorOf(entries);
  const readAll = async (): Promise<void> => {
    const turn = new Turn();
    for (let number = 1; ; number++) {
      signal?.throwIfAborted();
      // A result that is no object has no value, so its entry is refused below.
      const result = Object(iterator.next());
      // Only promises are awaited: of a source that does not wait, passwords are copied before the call returns.
      const { done, value } = 'then' in result ? Object(await result) : result;
      signal?.throwIfAborted();
      if (done) return;
      if (!Array.isArray(value) || value.length !== 2)
        throw invalidArgument(`Entry ${number} is not an array of exactly two, user name and value.`);
      visit(value[0], value[1], number);
      // A source that never waits would block the event loop. To look at the clock at each entry takes 8 % more time.
      if (number % 64 === 0 && turn.isOver()) await turn.yield();
    }
  };
  try {
    await orAborted(readAll(), signal);
  } catch (error) {
    close(iterator);
    throw error;
  }
}

/** A copy that the caller cannot change while it is read in turns. Copying a large `Map` would block the event loop. */
export function copied<T>(source: T): T | unknown[] {
  return Array.isArray(source) || source instanceof Set ? [...source] : source;
}

type AnyIterator = Iterator<unknown> | AsyncIterator<unknown>;

function iteratorOf(entries: Entries<unknown>): AnyIterator {
  const source = copied(entries) as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null | undefined;
  const iterator = source?.[Symbol.asyncIterator]?.() ?? source?.[Symbol.iterator]?.();
  if (iterator !== undefined && typeof entries !== 'string') return iterator;
  throw invalidArgument('The entries must be an iterable or async iterable of pairs, such as a Map.');
}

/** Calls `return()`, and does not await it: it may never settle, as in a generator whose query hangs. */
function close(iterator: AnyIterator): void {
  Promise.resolve()
    .then(() => iterator.return?.())
    .catch(() => undefined);
}

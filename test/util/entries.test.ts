import { describe, expect, test } from 'vitest';
import { type Entries, forEachEntry } from '../../src/util/entries.js';

async function gather(entries: Entries<unknown>, signal?: AbortSignal): Promise<unknown[]> {
  const seen: unknown[] = [];
  await forEachEntry(entries, (...entry) => seen.push(entry), signal);
  return seen;
}

/** Entries whose iterator records its calls. `next` makes the results of its `next()` from the number of the call. */
function source(next: (call: number) => unknown, calls: string[] = []) {
  let count = 0;
  const iterator = {
    next: () => {
      calls.push('next');
      return next(++count) as IteratorResult<[string, string]>;
    },
    return: () => {
      calls.push('return');
      return { done: true as const, value: undefined };
    },
  };
  return { calls, entries: { [Symbol.asyncIterator]: () => iterator } as unknown as Entries<unknown> };
}

const PAIR = { done: false, value: ['a', '1'] };
const END = { done: true, value: undefined };

describe('forEachEntry', () => {
  test.each<[string, Entries<unknown>]>([
    ['an array', [['a', 1] as const, ['b', 2] as const]],
    ['a Map', new Map(Object.entries({ a: 1, b: 2 }))],
    [
      'an async generator',
      (async function* () {
        yield ['a', 1] as const;
        yield ['b', 2] as const;
      })(),
    ],
  ])('calls the visitor with the pairs of %s, numbered from 1', async (_, entries) => {
    expect(await gather(entries)).toEqual([
      ['a', 1, 1],
      ['b', 2, 2],
    ]);
  });

  test.each(['an array', 'a Set'])('reads all entries of %s that is emptied after the call', async what => {
    const pairs: Array<[string, number]> = Array.from({ length: 100 }, (_, i) => [`user${i}`, i]);
    const entries = what === 'an array' ? [...pairs] : new Set(pairs);
    let read = 0;
    await forEachEntry(entries, () => {
      if (++read > 1) return;
      if (Array.isArray(entries)) entries.length = 0;
      else entries.clear();
    });
    expect(read).toBe(100);
  });

  test('does not call return() of a source that has ended', async () => {
    const { calls, entries } = source(call => (call < 3 ? PAIR : END));
    await gather(entries);
    expect(calls).toEqual(['next', 'next', 'next']);
  });

  test('rejects with what the source throws, and calls its return()', async () => {
    const { calls, entries } = source(() => {
      throw new Error('the query failed');
    });
    await expect(gather(entries)).rejects.toThrow('the query failed');
    expect(calls).toEqual(['next', 'return']);
  });

  test('rejects with what the visitor throws, and calls return()', async () => {
    const { calls, entries } = source(() => PAIR);
    const failing = forEachEntry(entries, () => {
      throw new Error('no such name');
    });
    await expect(failing).rejects.toThrow('no such name');
    expect(calls).toEqual(['next', 'return']);
  });

  test('rejects at an abort while the source hangs, and calls return()', async () => {
    const stop = new AbortController();
    const { calls, entries } = source(call => (call === 1 ? PAIR : new Promise(() => {})));
    const gathering = gather(entries, stop.signal);
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(gathering).rejects.toThrow('enough');
    expect(calls).toEqual(['next', 'next', 'return']);
  });

  test('rejects at an abort while a source yields without a pause, and calls only its return() after that', async () => {
    const stop = new AbortController();
    const { calls, entries } = source(call => (call < 10_000_000 ? PAIR : END));
    const gathering = forEachEntry(entries, () => undefined, stop.signal);
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(gathering).rejects.toThrow('enough');
    const { length } = calls;
    await new Promise(resolve => setImmediate(resolve));
    expect(calls.at(-1)).toBe('return');
    expect(calls.length).toBe(length);
  });

  test('rejects with a signal that is aborted already, and only calls return()', async () => {
    const { calls, entries } = source(() => PAIR);
    await expect(gather(entries, AbortSignal.abort(new Error('before')))).rejects.toThrow('before');
    expect(calls).toEqual(['return']);
  });

  test('rejects at an abort by the visitor, and calls return()', async () => {
    const stop = new AbortController();
    const { calls, entries } = source(call => (call < 3 ? PAIR : END));
    const reading = forEachEntry(entries, () => stop.abort(new Error('enough')), stop.signal);
    await expect(reading).rejects.toThrow('enough');
    expect(calls).toEqual(['next', 'return']);
  });

  test('does not call the visitor after an abort, although the source then yields', async () => {
    const stop = new AbortController();
    let yieldPair = (): void => {};
    const late = new Promise(resolve => {
      yieldPair = () => resolve(PAIR);
    });
    const { calls, entries } = source(() => late);
    const seen: unknown[] = [];
    const reading = forEachEntry(entries, (...entry) => seen.push(entry), stop.signal);
    stop.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    yieldPair();
    await new Promise(resolve => setImmediate(resolve));
    expect(seen).toEqual([]);
    expect(calls).toEqual(['next', 'return']);
  });

  test.each([undefined, null, 'alice:secretpw', 5])(
    'refuses a source whose next() returns %j, or a promise of it, and does not show it',
    async result => {
      const refusal = {
        code: 'ERR_INVALID_ARGUMENT',
        message: 'Entry 1 is not an array of exactly two, user name and value.',
      };
      await expect(gather(source(() => result).entries)).rejects.toMatchObject(refusal);
      await expect(gather(source(async () => result).entries)).rejects.toMatchObject(refusal);
    },
  );

  test('ignores what return() throws', async () => {
    const entries = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: 5 }),
        return: () => {
          throw new Error('from return()');
        },
      }),
    };
    await expect(gather(entries as unknown as Entries<unknown>)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
  });

  test('yields to the event loop while it reads a source that never waits', async () => {
    let turns = 0;
    let counting = setImmediate(function count() {
      turns++;
      counting = setImmediate(count);
    });
    // The source ends when the event loop has turned three times.
    const source = (function* (): Generator<[string, number]> {
      for (let entries = 0; turns < 3 && entries < 1e8; entries++) yield ['a', 1];
    })();
    await forEachEntry(source, () => {});
    clearImmediate(counting);
    expect(turns).toBeGreaterThanOrEqual(3);
  });

  test.each([5, null, undefined, 'ab', {}])('refuses %j in place of entries', async entries => {
    await expect(gather(entries as unknown as Entries<unknown>)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
  });

  test.each([null, 'ab', 5, { 0: 'a', 1: 'b' }])(
    'refuses %j in place of a pair, and names the number of the entry',
    async entry => {
      const entries = [['a', 1], entry] as unknown as Entries<unknown>;
      await expect(gather(entries)).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining('Entry 2'),
      });
    },
  );
});

import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Done, inParallel, limited, withPriority } from '../../src/util/limiter.js';

/** Jobs that the test ends. */
class Jobs {
  started = 0;
  readonly inFlight: Array<Done<number>> = [];
  readonly results: Array<Promise<number>> = [];

  add(count: number, cost: number): void {
    for (let i = 0; i < count; i++) {
      const begin = (done: Done<number>) => {
        this.started++;
        this.inFlight.push(done);
        return cost;
      };
      this.results.push(limited(begin));
    }
  }

  end(count = this.inFlight.length): void {
    for (const done of this.inFlight.splice(0, count)) done(null, this.started);
  }

  async endAll(): Promise<void> {
    while (this.inFlight.length > 0) this.end();
    await Promise.all(this.results);
    expect(this.started).toBe(this.results.length);
  }
}

/** A promise that the test resolves. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>(resolve => {
    open = resolve;
  });
  return { opened, open };
}

const turn = () => new Promise(resolve => setImmediate(resolve));

describe('limited', () => {
  test.each([
    [101, 159],
    [1_000, 16],
    [5_000, 4],
    [100_000, 3],
    [1_000_000, 3],
  ])(
    'of jobs with %i iterations, has %i in flight, and starts another one when one ends',
    async (cost, most) => {
      const jobs = new Jobs();
      jobs.add(500, cost);
      expect(jobs.inFlight.length).toBe(most);
      jobs.end(1);
      expect(jobs.inFlight.length).toBe(most);
      await jobs.endAll();
    },
  );

  test('leaves one thread of four free when slow jobs follow cheap ones', async () => {
    const jobs = new Jobs();
    jobs.add(20, 101);
    jobs.add(20, 1_000_000);
    // The first slow one starts, because the cheap ones cost less than the limit.
    expect(jobs.inFlight.length).toBe(21);
    jobs.end(20);
    expect(jobs.inFlight.length).toBe(3);
    jobs.add(20, 101);
    expect(jobs.inFlight.length).toBe(3);
    await jobs.endAll();
  });

  test('starts jobs first come first served, and resolves with the result of each', async () => {
    const order: number[] = [];
    const results = Array.from({ length: 300 }, (_, i) =>
      limited<number>(done => {
        order.push(i);
        setImmediate(done, null, i);
        return 101;
      }),
    );
    const all = Array.from({ length: 300 }, (_, i) => i);
    expect(await Promise.all(results)).toEqual(all);
    expect(order).toEqual(all);
  });

  test('starts further jobs after jobs that fail or cannot start', async () => {
    const refused = Array.from({ length: 300 }, (_, i) =>
      limited<number>(done => {
        if (i % 2 === 0) throw new Error('not started');
        setImmediate(done, new Error('failed'), 0);
        return 101;
      }),
    );
    const outcomes = await Promise.allSettled(refused);
    expect(outcomes.map(each => each.status === 'rejected' && each.reason.message)).toEqual(
      outcomes.map((_, i) => (i % 2 === 0 ? 'not started' : 'failed')),
    );
    const jobs = new Jobs();
    jobs.add(200, 101);
    expect(jobs.inFlight.length).toBe(159);
    await jobs.endAll();
  });
});

describe('withPriority', () => {
  test('starts only jobs that leave one thread of four free while its call is under way', async () => {
    const jobs = new Jobs();
    jobs.add(500, 101);
    const { opened, open } = gate();
    const work = withPriority<void>(done => void opened.then(() => done(null)));
    jobs.end(156);
    expect(jobs.inFlight.length).toBe(3);
    jobs.end(1);
    jobs.add(10, 101);
    expect(jobs.inFlight.length).toBe(3);
    open();
    await work;
    expect(jobs.inFlight.length).toBe(159);
    await jobs.endAll();
  });

  test('starts jobs again after a call that fails', async () => {
    const jobs = new Jobs();
    const failing = withPriority(done => setImmediate(done, new Error('disk'), undefined));
    jobs.add(10, 101);
    expect(jobs.inFlight.length).toBe(3);
    await expect(failing).rejects.toThrow('disk');
    expect(jobs.inFlight.length).toBe(10);
    await jobs.endAll();
  });
});

describe('inParallel', () => {
  test.each([
    [1, 256],
    [101, 256],
    [1_000, 32],
    [1_000_000, 6],
  ])('calls the function for each item, whose job costs %i, %i at once', async (cost, atOnce) => {
    let running = 0;
    let most = 0;
    const seen: number[] = [];
    await inParallel(1_000, cost, Array(1_000).keys(), async item => {
      most = Math.max(most, ++running);
      seen.push(item);
      await turn();
      running--;
    });
    expect(seen).toEqual([...Array(1_000).keys()]);
    expect(most).toBe(atOnce);
  });

  test.each<[string | undefined, number]>([
    [undefined, 6],
    ['auto', 2],
    ['', 2],
    ['0', 2],
    ['1', 2],
    ['8 # threads', 14],
    ['1024', 2046],
    ['-1', 2],
  ])(
    'with UV_THREADPOOL_SIZE=%s, which libuv reads as a number of threads, inParallel makes %i calls of slow jobs at once',
    async (size, atOnce) => {
      vi.stubEnv('UV_THREADPOOL_SIZE', size);
      vi.resetModules();
      onTestFinished(() => {
        vi.unstubAllEnvs();
        // Files of this worker that run later would get this limiter.
        vi.resetModules();
      });
      const limiter = await import('../../src/util/limiter.js');
      let running = 0;
      let most = 0;
      const run = async () => {
        most = Math.max(most, ++running);
        await turn();
        running--;
      };
      await limiter.inParallel(3_000, 1_000_000, Array(3_000).keys(), run);
      expect(most).toBe(atOnce);
    },
  );

  test.each([0, -1, NaN])(
    'calls the function for each item also where their count is given as %d',
    async count => {
      const seen: string[] = [];
      await inParallel(count, 101, ['a', 'b'], async item => void seen.push(item));
      expect(seen).toEqual(['a', 'b']);
    },
  );

  test('ends with the first failure', async () => {
    let runs = 0;
    const failing = inParallel(10_000, 101, Array(10_000).keys(), async item => {
      runs++;
      await turn();
      if (item === 300) throw new Error('item 300');
    });
    await expect(failing).rejects.toThrow('item 300');
    const atEnd = runs;
    await turn();
    await turn();
    expect(runs).toBe(atEnd);
    expect(runs).toBeLessThan(1_000);
  });

  test('ends with an abort', async () => {
    const controller = new AbortController();
    const aborted = inParallel(
      10_000,
      101,
      Array(10_000).keys(),
      async item => {
        await turn();
        if (item === 300) controller.abort(new Error('enough'));
      },
      controller.signal,
    );
    await expect(aborted).rejects.toThrow('enough');
  });

  test.each<[what: string, end: (abort: () => void) => void]>([
    ['has thrown', () => expect.unreachable('the fifth')],
    ['has caused an abort', abort => abort()],
  ])('does not call onProgress again after it %s', async (_what, end) => {
    const controller = new AbortController();
    const reported: number[] = [];
    const items = Array(1_000).keys();
    const run = async () => void (await turn());
    const ended = inParallel(1_000, 101, items, run, controller.signal, (done, count) => {
      reported.push(done, count);
      if (done === 5) end(() => controller.abort(new Error('the fifth')));
    });
    await expect(ended).rejects.toThrow('the fifth');
    for (let turns = 0; turns < 3; turns++) await turn();
    expect(reported).toEqual([1, 2, 3, 4, 5].flatMap(done => [done, 1_000]));
  });
});

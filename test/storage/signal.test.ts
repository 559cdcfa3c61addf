import { getEventListeners } from 'node:events';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { PasswordFile } from '../../src/password-file.js';
import { yieldToEventLoop } from '../../src/util/event-loop.js';
import { expectOnly } from '../support/directory.js';
import { diskCalls } from '../support/disk-calls.js';
import {
  CALLS,
  HASH,
  hold,
  identityOf,
  newFile,
  OTHER_WRITER,
  quick,
  READS,
  WRITES,
} from '../support/password-file.js';

let directory: string;
let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ directory, path, file } = newFile());
});

const identity = () => identityOf(path);

describe('an abort signal', () => {
  const reason = new Error('the caller has gone');

  test.each(CALLS)(
    'that is aborted already makes %s reject, and changes nothing',
    async (_name, _writes, call) => {
      await writeFile(path, `alice:${HASH}\n`);
      const before = await identity();
      await expect(call(file, AbortSignal.abort(reason))).rejects.toBe(reason);
      expect(await identity()).toEqual(before);
      expectOnly(directory, 'passwd');
    },
  );

  test.each(WRITES)('ends the wait of %s for another writer', async (_name, _writes, call) => {
    await writeFile(path, `alice:${HASH}\n`);
    await hold(path);
    const before = await identity();
    const controller = new AbortController();
    const left = new Promise<void>(resolve => {
      diskCalls.before = name => {
        // The writer looks who owns the lock.
        if (name === 'list') queueMicrotask(() => controller.abort(reason));
        // It removes its candidate directory.
        if (name === 'rmdir') setImmediate(resolve);
      };
    });
    await expect(call(file, controller.signal)).rejects.toBe(reason);
    await left;
    expect(await identity()).toEqual(before);
    expectOnly(directory, 'passwd', 'passwd.writer');
  });

  test.each(CALLS)('has no listener after %s has resolved', async (_name, _writes, call) => {
    await writeFile(path, `alice:${HASH}\n`);
    const { signal } = new AbortController();
    await call(file, signal);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('has no listener after an edit has failed', async () => {
    await hold(path);
    const { signal } = new AbortController();
    const hasty = new PasswordFile(path, { ...quick, lock: { timeout: 0 } });
    await expect(hasty.setHash('alice', HASH, { signal })).rejects.toMatchObject({
      code: 'ERR_LOCK_TIMEOUT',
    });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('cancels one edit of a commit that waits for another writer, and leaves the others waiting', async () => {
    const controller = new AbortController();
    const waiting: Array<Promise<unknown>> = [];
    diskCalls.before = name => {
      if (name !== 'sync') return;
      // These two share a commit. Another writer acquires the lock before it.
      waiting.push(file.setHash('bob', HASH, { signal: controller.signal }), file.setHash('carol', HASH));
      diskCalls.before = next => {
        if (next === 'mkdir') {
          mkdirSync(`${path}.writer`);
          writeFileSync(join(`${path}.writer`, OTHER_WRITER), '');
        } else if (next === 'list') queueMicrotask(() => controller.abort(reason));
      };
    };
    expect(await file.setHash('alice', HASH)).toBe('added');
    await expect(waiting[0]).rejects.toBe(reason);
    await rm(join(`${path}.writer`, OTHER_WRITER));
    expect(await waiting[1]).toBe('added');
    expect(await file.users()).toEqual(['alice', 'carol']);
  });

  test('cancels only its own edit', async () => {
    await hold(path);
    const controller = new AbortController();
    const calls = [
      file.setHash('alice', HASH),
      file.setHash('bob', HASH, { signal: controller.signal }),
      file.setHash('carol', HASH),
    ];
    diskCalls.before = name => {
      if (name !== 'list') return;
      diskCalls.before = undefined;
      queueMicrotask(() => controller.abort(reason));
    };
    await expect(calls[1]).rejects.toBe(reason);
    await rm(join(`${path}.writer`, OTHER_WRITER));
    expect(await Promise.all([calls[0], calls[2]])).toEqual(['added', 'added']);
    expect(await file.users()).toEqual(['alice', 'carol']);
  });

  test('does not cancel an edit that comes after all edits before it are cancelled', async () => {
    const controller = new AbortController();
    const lockDirectory = `${path}.writer`;
    await writeFile(path, `carol:${HASH}\n`);
    let next: Promise<unknown> | undefined;
    diskCalls.before = name => {
      if (next === undefined) {
        controller.abort(reason);
        next = file.setHash('bob', HASH);
      }
      if (name !== 'sync') return;
      // Another writer breaks the lock, and releases it when it has been seen.
      for (const temp of readdirSync(lockDirectory)) rmSync(join(lockDirectory, temp));
      writeFileSync(join(lockDirectory, OTHER_WRITER), '');
      diskCalls.before = later => {
        if (later === 'list') setImmediate(() => rmSync(join(lockDirectory, OTHER_WRITER), { force: true }));
      };
    };
    await expect(file.setHash('alice', HASH, { signal: controller.signal })).rejects.toBe(reason);
    expect(await next).toBe('added');
    expect(await file.users()).toEqual(['carol', 'bob']);
  });

  test('cancels an edit that waits while another one is written', async () => {
    const controller = new AbortController();
    let waiting: Promise<unknown> | undefined;
    diskCalls.before = name => {
      if (name !== 'sync') return;
      diskCalls.before = undefined;
      waiting = expect(file.setHash('bob', HASH, { signal: controller.signal })).rejects.toBe(reason);
      controller.abort(reason);
    };
    expect(await file.setHash('alice', HASH)).toBe('added');
    await waiting;
    expect(await file.setHash('carol', HASH)).toBe('added');
    expect(await file.users()).toEqual(['alice', 'carol']);
  });

  test('that cancels all edits of a commit spares its attempt', async () => {
    const controller = new AbortController();
    let waiting: Promise<unknown> | undefined;
    let attempts = 0;
    diskCalls.before = name => {
      if (name === 'mkdir') attempts++;
      if (name !== 'sync' || waiting !== undefined) return;
      waiting = expect(file.setHash('bob', HASH, { signal: controller.signal })).rejects.toBe(reason);
      controller.abort(reason);
    };
    expect(await file.setHash('alice', HASH)).toBe('added');
    await waiting;
    // This edit waits for all before it, and shares no commit with them.
    const other = new PasswordFile(path, { ...quick, allowOwnerChange: true });
    expect(await other.setHash('alice', HASH)).toBe('unchanged');
    expect(attempts).toBe(2);
  });

  test('cancels an edit that its commit has not made yet', async () => {
    const controller = new AbortController();
    const called = vi.fn();
    const outcomes = await Promise.allSettled([
      // While this is written, the others gather for the next commit.
      file.setHash('alice', HASH),
      file.update(() => controller.abort(reason)),
      file.setHash('bob', HASH, { signal: controller.signal }),
      file.update(called, { signal: controller.signal }),
      file.setHash('carol', HASH),
    ]);
    expect(outcomes.slice(2, 4)).toEqual(Array(2).fill({ status: 'rejected', reason }));
    expect(called).not.toHaveBeenCalled();
    expect(await file.users()).toEqual(['alice', 'carol']);
  });

  test('cancels an edit that its commit has made and not yet written', async () => {
    const controller = new AbortController();
    const outcomes = await Promise.allSettled([
      file.setHash('alice', HASH),
      file.setHash('bob', HASH, { signal: controller.signal }),
      file.setHash('carol', HASH),
      file.update(() => controller.abort(reason)),
    ]);
    expect(outcomes[1]).toEqual({ status: 'rejected', reason });
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    expect(await file.users()).toEqual(['alice', 'carol']);
  });

  test('cancels at most nine edits one after another of a commit that others wait for', async () => {
    const controllers = Array.from({ length: 12 }, () => new AbortController());
    let next = 0;
    const outcomes = await Promise.allSettled([
      // While this is written, the others gather for the next commit.
      file.setHash('alice', HASH),
      ...controllers.map(({ signal }, i) => file.setHash(`user${i}`, HASH, { signal })),
      // This edit is made again each time.
      file.update(() => controllers[next++]?.abort(reason)),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      ...Array(9).fill('rejected'),
      ...Array(4).fill('fulfilled'),
    ]);
    expect(await file.users()).toEqual(['alice', 'user9', 'user10', 'user11']);
  });

  test.each<[string, (file: PasswordFile, signal?: AbortSignal) => Promise<unknown>]>([
    ...READS.map(([name, , call]): [string, typeof call] => [name, call]),
    ['check', (file, signal) => file.check({ signal })],
    ['upgrade', (file, signal) => file.upgrade({ signal })],
  ])('ends %s within a turn of the event loop, wherever its work is', async (_name, call) => {
    await writeFile(path, Array.from({ length: 6_000 }, (_, n) => `user${n}:\n`).join(''));
    /** Starts a call and aborts it in this turn. Returns the turns that it took, and its outcome. */
    const abortIn = async (turn: number): Promise<[turns: number, outcome: unknown]> => {
      const controller = new AbortController();
      let outcome: unknown = 'pending';
      call(new PasswordFile(path, quick), controller.signal).then(
        () => {
          outcome = 'fulfilled';
        },
        error => {
          outcome = error;
        },
      );
      for (let turns = 0; ; turns++) {
        if (outcome !== 'pending') return [turns, outcome];
        if (turns === turn) {
          controller.abort(reason);
          await yieldToEventLoop();
          return [turns, outcome];
        }
        await yieldToEventLoop();
      }
    };
    const [turns] = await abortIn(Infinity);
    const outcomes = [];
    for (let turn = 0; turn < turns; turn += Math.ceil(turns / 16)) outcomes.push((await abortIn(turn))[1]);
    // An abort after the call has ended has no effect.
    expect(outcomes).toContain(reason);
    expect(outcomes).not.toContain('pending');
  });

  test('ends setUsers while it hashes', async () => {
    const many = Array.from({ length: 1000 }, (_, n): [string, string] => [`user${n}`, 'secret']);
    const controller = new AbortController();
    let hashed = 0;
    const call = file.setUsers(many, {
      signal: controller.signal,
      onProgress() {
        if (++hashed === 50) controller.abort(reason);
      },
    });
    await expect(call).rejects.toBe(reason);
    expect(hashed).toBeLessThan(1000);
    expectOnly(directory);
  });

  test('ends setUsers while it waits for entries, and calls return() of their source', async () => {
    const controller = new AbortController();
    let isClosed = false;
    const entries = (async function* () {
      try {
        yield ['alice', 'secret'] as const;
        controller.abort(reason);
        yield ['bob', 'secret'] as const;
      } finally {
        isClosed = true;
      }
    })();
    await expect(file.setUsers(entries, { signal: controller.signal })).rejects.toBe(reason);
    expect(isClosed).toBe(true);
    expectOnly(directory);
  });

  test('ends setUsers while the source of entries hangs', async () => {
    const controller = new AbortController();
    const never: AsyncIterable<[string, string]> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
    };
    const call = file.setUsers(never, { signal: controller.signal });
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('that aborts in the middle of a long edit undoes all of it', async () => {
    const names = Array.from({ length: 60_000 }, (_, n) => `user${n}`);
    await writeFile(path, names.map(name => `${name}:x\n`).join(''));
    const before = await identity();
    const controller = new AbortController();
    // The directory is swept before the edits are made; they take longer than one turn of the event loop.
    diskCalls.before = name => {
      if (name === 'list') setImmediate(() => controller.abort(reason));
    };
    await expect(file.removeUsers(names, { signal: controller.signal })).rejects.toBe(reason);
    await file.removeUser('nobody');
    expect(await identity()).toEqual(before);
  });

  test('has one listener, however many edits wait with it', async () => {
    const { signal } = new AbortController();
    const calls = Array.from({ length: 50 }, (_, n) => file.setHash(`user${n}`, HASH, { signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    await Promise.all(calls);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('that aborts while the file is written does not undo the edit', async () => {
    const controller = new AbortController();
    diskCalls.before = name => {
      if (name === 'sync') controller.abort(reason);
    };
    expect(await file.setHash('alice', HASH, { signal: controller.signal })).toBe('added');
    expect(await file.users()).toEqual(['alice']);
  });
});

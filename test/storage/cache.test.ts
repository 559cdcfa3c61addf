import { pbkdf2 } from 'node:crypto';
import { linkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { rename, stat, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { PasswordFile } from '../../src/password-file.js';
import { Cache } from '../../src/storage/cache.js';
import { systemDisk } from '../../src/storage/disk.js';
import { openPlace } from '../../src/storage/path.js';
import { takeSnapshot } from '../../src/storage/snapshot.js';
import { clockTick } from '../support/clock-tick.js';
import { descriptors, openIn } from '../support/descriptors.js';
import { diskCalls } from '../support/disk-calls.js';
import { collectGarbage } from '../support/garbage.js';
import { HASH, newFile, OTHER_HASH, quick } from '../support/password-file.js';
import { needs } from '../support/require.js';

/** The content of a file that is read in several pieces. */
const MANY = Array.from({ length: 36_000 }, (_, n) => `user${n}:${HASH}\n`).join('');

let directory: string;
let path: string;
let cache: Cache;
beforeEach(() => {
  ({ directory, path } = newFile());
  cache = new Cache(path, false);
});

describe('a cache', () => {
  test('keeps what it read while the file has not changed', async () => {
    await writeFile(path, MANY);
    await clockTick(path);
    const index = await cache.index();
    expect((await cache.index()) === index).toBe(true);
    await writeFile(path, `alice:${HASH}\n`);
    expect([...(await cache.index()).lines('alice')]).toEqual([0]);
  });

  test.each([
    [20, 'reads it again, because a change in the same tick would not show', false],
    [21, 'keeps it', true],
    [-20, 'reads it again, because the clocks may be apart by a tick', false],
    [-3_600_000, 'keeps it, because a change would show an earlier time', true],
  ])('that read a file %i ms after its last change %s', async (age, _what, isKept) => {
    await writeFile(path, MANY);
    const changed = Math.floor((await stat(path)).ctimeMs);
    vi.useFakeTimers({ toFake: ['Date'], now: changed + age });
    onTestFinished(() => void vi.useRealTimers());
    const index = await cache.index();
    expect((await cache.index()) === index).toBe(isKept);
  });

  test('keeps a file with a time of modification in the future', async () => {
    await writeFile(path, MANY);
    const tomorrow = Date.now() / 1000 + 86_400;
    await utimes(path, tomorrow, tomorrow);
    await clockTick(path);
    const index = await cache.index();
    expect((await cache.index()) === index).toBe(true);
  });

  test('reads a file once for callers in the same and in the next turn of the event loop', async () => {
    await writeFile(path, MANY);
    await clockTick(path);
    const first = cache.index();
    await yieldToEventLoop();
    const more = Array.from({ length: 10 }, () => cache.index());
    expect(new Set(await Promise.all([first, ...more])).size).toBe(1);
  });

  test('resolves with what it is reading when it is dropped or closed meanwhile', async () => {
    await writeFile(path, MANY);
    for (const forget of [() => cache.drop(), () => cache.close()]) {
      const reading = cache.view();
      for (let turn = 0; turn < 3; turn++) await yieldToEventLoop();
      forget();
      expect((await reading).has('user35999')).toBe(true);
    }
  });

  test('makes one index for callers of one turn, of the names of all of them', async () => {
    await writeFile(path, MANY);
    await clockTick(path);
    const views = await Promise.all(
      ['user1', 'user2'].map(name => cache.view(undefined, new Set([name, 'nobody']))),
    );
    expect(views.map(({ index }) => [index.covers(new Set(['user1', 'user2'])), index.covers()])).toEqual([
      [true, false],
      [true, false],
    ]);
    expect(views.map(view => view.has('user2'))).toEqual([true, true]);
    expect((await cache.view()).has('user3')).toBe(true);
    expect(cache.current(path, undefined)?.index.covers()).toBe(true);
  });

  test('indexes all names of the file if one caller of a turn gives no names', async () => {
    await writeFile(path, MANY);
    const wanted = [undefined, new Set(['user1']), undefined, new Set(['user2'])];
    const views = await Promise.all(wanted.map(names => cache.view(undefined, names)));
    expect(views.map(view => view.has('user3'))).toEqual([true, true, true, true]);
  });

  test.each([
    ['dropped', () => cache.drop()],
    ['closed', () => cache.close()],
  ])('frees what it read when it is %s', async (_what, forget) => {
    await writeFile(path, MANY);
    const read = new WeakRef(await cache.index());
    forget();
    await expect.poll(() => collectGarbage().then(() => read.deref() === undefined)).toBe(true);
  });

  test('does not keep an error', async () => {
    const strict = new Cache(path, true);
    await expect(strict.index()).rejects.toMatchObject({ code: 'ERR_FILE_MISSING' });
    await writeFile(path, MANY);
    expect([...(await strict.index()).lines('user1')]).toHaveLength(1);
  });
});

needs(descriptors).describe('open files', () => {
  test('are closed before close() returns, even if the thread pool is busy, and are read again after it', async () => {
    await writeFile(path, MANY);
    await clockTick(path);
    await cache.index();
    expect(openIn(directory)).toEqual(['passwd']);
    expect(cache.current(path, undefined)).toBeDefined();
    const jobs = Array.from({ length: 8 }, () => promisify(pbkdf2)('pw', 'salt', 100_000, 64, 'sha512'));
    cache.close();
    expect(openIn(directory)).toEqual([]);
    expect(cache.current(path, undefined)).toBeUndefined();
    await Promise.all(jobs);
    expect([...(await cache.index()).lines('user1')]).toHaveLength(1);
    expect(openIn(directory)).toEqual(['passwd']);
  });

  test('are not left by a read that is under way at close()', async () => {
    await writeFile(path, MANY);
    const reading = cache.index();
    for (let turn = 0; turn < 3; turn++) await yieldToEventLoop();
    cache.close();
    expect([...(await reading).lines('user1')]).toHaveLength(1);
    await expect.poll(() => openIn(directory)).toEqual([]);
  });

  test('are at most 32 in a process, those used most recently', async () => {
    const caches = Array.from({ length: 40 }, (_, n) => new Cache(join(directory, `passwd${n}`), false));
    for (let n = 0; n < 40; n++) await writeFile(join(directory, `passwd${n}`), `user${n}:${HASH}\n`);
    path = join(directory, 'passwd39');
    await clockTick(path);
    const first = await caches[0]?.index();
    const second = await caches[1]?.index();
    for (const each of caches) {
      await each.index();
      expect((await caches[0]?.index()) === first).toBe(true);
    }
    const last = Array.from({ length: 31 }, (_, n) => `passwd${n + 9}`);
    await expect.poll(() => openIn(directory).sort()).toEqual(['passwd0', ...last].sort());
    // Another file may have the inode number of one that is no longer open.
    expect((await caches[1]?.index()) === second).toBe(false);
  });

  test('are the only ones of which the bytes stay in memory', async () => {
    const caches = Array.from({ length: 64 }, (_, n) => new Cache(join(directory, `passwd${n}`), false));
    const bytesOf = async (each: Cache) => new WeakRef((await each.index()).bytes.buffer);
    const read: [Cache, WeakRef<ArrayBufferLike>][] = [];
    for (const each of caches) {
      await writeFile(each.path, Buffer.alloc(100_000));
      read.push([each, await bytesOf(each)]);
    }
    await collectGarbage();
    const kept = read.filter(([, bytes]) => bytes.deref() !== undefined);
    expect(kept.map(([{ path }]) => basename(path)).sort()).toEqual(openIn(directory).sort());
    expect(kept).toHaveLength(32);
  });

  test('are the only ones that caches keep, also if many files are read at the same moment', async () => {
    const caches = Array.from({ length: 40 }, (_, n) => new Cache(join(directory, `passwd${n}`), false));
    for (const each of caches) await writeFile(each.path, `alice:${HASH}\n`);
    await clockTick(join(directory, 'passwd39'));
    await Promise.all(caches.map(each => each.index()));
    await expect.poll(() => openIn(directory)).toHaveLength(32);
    const kept = caches.filter(each => each.current(each.path, undefined) !== undefined);
    expect(kept.map(({ path }) => basename(path)).sort()).toEqual(openIn(directory).sort());
  });

  test('are at most 32 in a process, also those that no cache has read', async () => {
    const snapshots: unknown[] = [];
    for (let n = 0; n < 40; n++) {
      path = join(directory, `passwd${n}`);
      await writeFile(path, `user1:${HASH}\n`);
      const place = openPlace(path);
      snapshots.push(await takeSnapshot(place, undefined));
      place.close();
    }
    await expect.poll(() => openIn(directory)).toHaveLength(32);
    expect(snapshots).toHaveLength(40);
  });

  test('are closed when the file is replaced', async () => {
    await writeFile(path, MANY);
    const before = await cache.index();
    await writeFile(`${path}.new`, MANY);
    await rename(`${path}.new`, path);
    await cache.index();
    await expect.poll(() => openIn(directory)).toEqual(['passwd']);
    expect([...before.lines('user1')]).toHaveLength(1);
  });

  test('are closed when the instance that has read them is garbage-collected', async () => {
    await writeFile(path, MANY);
    await new PasswordFile(path).users();
    await expect.poll(() => collectGarbage().then(() => openIn(directory))).toEqual([]);
  });

  test.each<[what: string, edit: (file: PasswordFile) => Promise<unknown>]>([
    ['commits', file => file.setHash('alice', OTHER_HASH)],
    ['changes nothing', file => file.setHash('alice', HASH)],
    [
      'creates the file',
      file => {
        rmSync(path);
        return file.create();
      },
    ],
    [
      'is refused',
      file => {
        linkSync(path, `${path}2`);
        return expect(file.removeUser('alice')).rejects.toMatchObject({ code: 'ERR_NOT_REPLACEABLE' });
      },
    ],
    [
      'starts over, because its lock was broken',
      file => {
        diskCalls.before = name => {
          if (name !== 'sync') return;
          diskCalls.before = undefined;
          renameSync(`${path}.writer`, `${path}.broken`);
        };
        return file.setHash('alice', OTHER_HASH);
      },
    ],
  ])('are not left by an edit that %s', async (_what, edit) => {
    await writeFile(path, `alice:${HASH}\n`);
    await edit(new PasswordFile(path, quick));
    await expect.poll(() => openIn(directory)).toEqual([]);
  });

  test('are not left by reads on Windows, where an open file cannot be replaced', async () => {
    Object.assign(systemDisk, { windows: true });
    onTestFinished(() => void Object.assign(systemDisk, { windows: process.platform === 'win32' }));
    await writeFile(path, MANY);
    await clockTick(path);
    const index = await cache.index();
    expect(openIn(directory)).toEqual([]);
    expect((await cache.index()) === index).toBe(true);
    cache.close();
    const file = new PasswordFile(path, quick);
    expect(await file.hasUser('user1')).toBe(true);
    expect(await file.removeUser('user1')).toBe(true);
    writeFileSync(path, `alice:${HASH}\n`);
    expect(await file.users()).toEqual(['alice']);
    expect(openIn(directory)).toEqual([]);
  });
});

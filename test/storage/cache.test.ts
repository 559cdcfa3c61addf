import { existsSync, mkdirSync, readdirSync, readlinkSync } from 'node:fs';
import { rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { Cache } from '../../src/storage/cache.js';
import { testDirectory } from '../support/directory.js';
import { HASH, newFile } from '../support/password-file.js';

/** Enough to be read in several pieces. */
const MANY = Array.from({ length: 60_000 }, (_, n) => `user${n}:${HASH}\n`).join('');

let path: string;
let cache: Cache;
beforeEach(() => {
  ({ path } = newFile());
  cache = new Cache(path, false);
});

/** Until a change of the file would show in its times. */
async function clockTick(): Promise<void> {
  const { ctimeMs } = await stat(path);
  while (Date.now() - ctimeMs <= 20) await yieldToEventLoop();
}

/** The open files of this process in a directory. */
function openIn(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      const file = readlinkSync(`/proc/self/fd/${fd}`);
      return file.startsWith(`${directory}/`) ? [file.slice(directory.length + 1)] : [];
    } catch {
      return [];
    }
  });
}

describe('a cache', () => {
  test('keeps what it read while the file has not changed', async () => {
    await writeFile(path, MANY);
    await clockTick();
    const index = await cache.index();
    expect((await cache.index()) === index).toBe(true);
    await writeFile(path, `alice:${HASH}\n`);
    expect((await cache.index()).lines('alice')).toEqual([0]);
  });

  test('keeps a file with a time of modification in the future', async () => {
    await writeFile(path, MANY);
    const tomorrow = Date.now() / 1000 + 86_400;
    await utimes(path, tomorrow, tomorrow);
    await clockTick();
    const index = await cache.index();
    expect((await cache.index()) === index).toBe(true);
  });

  test('reads a file once for many callers', async () => {
    await writeFile(path, MANY);
    await clockTick();
    const first = cache.index();
    await yieldToEventLoop();
    const more = Array.from({ length: 10 }, () => cache.index());
    expect(new Set(await Promise.all([first, ...more])).size).toBe(1);
  });

  test('answers with the version that was read when it is dropped or closed meanwhile', async () => {
    await writeFile(path, MANY);
    for (const forget of [() => cache.drop(), () => cache.close()]) {
      const reading = cache.view();
      for (let turn = 0; turn < 3; turn++) await yieldToEventLoop();
      forget();
      expect((await reading).has('user59999')).toBe(true);
    }
  });

  test('serves callers of one turn by one index, of the names of all of them', async () => {
    await writeFile(path, MANY);
    await clockTick();
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

  test('indexes all names if one caller of a turn wants any', async () => {
    await writeFile(path, MANY);
    const [some, all] = await Promise.all([cache.view(undefined, new Set(['user1'])), cache.view()]);
    expect(some.has('user2')).toBe(true);
    expect(all.has('user3')).toBe(true);
  });

  test('does not keep an error', async () => {
    const strict = new Cache(path, true);
    await expect(strict.index()).rejects.toMatchObject({ code: 'ERR_FILE_MISSING' });
    await writeFile(path, MANY);
    expect((await strict.index()).lines('user1')).toHaveLength(1);
  });
});

describe.skipIf(!existsSync('/proc/self/fd'))('open files', () => {
  test('are closed by close(), after which the cache reads the file again', async () => {
    const directory = testDirectory();
    path = join(directory, 'passwd');
    cache = new Cache(path, false);
    await writeFile(path, MANY);
    await cache.index();
    expect(openIn(directory)).toEqual(['passwd']);
    cache.close();
    expect(openIn(directory)).toEqual([]);
    expect((await cache.index()).lines('user1')).toHaveLength(1);
    expect(openIn(directory)).toEqual(['passwd']);
  });

  test('are not left by a read that is under way at close()', async () => {
    const directory = testDirectory();
    path = join(directory, 'passwd');
    cache = new Cache(path, false);
    await writeFile(path, MANY);
    const reading = cache.index();
    for (let turn = 0; turn < 3; turn++) await yieldToEventLoop();
    cache.close();
    expect((await reading).lines('user1')).toHaveLength(1);
    while (openIn(directory).length > 0) await yieldToEventLoop();
  });

  test('are at most 32 in a process, the last ones used', async () => {
    const directory = testDirectory();
    const caches = Array.from({ length: 40 }, (_, n) => new Cache(join(directory, `passwd${n}`), false));
    mkdirSync(directory, { recursive: true });
    for (let n = 0; n < 40; n++) await writeFile(join(directory, `passwd${n}`), `user${n}:${HASH}\n`);
    path = join(directory, 'passwd39');
    await clockTick();
    const first = await caches[0]?.index();
    for (const each of caches) {
      await each.index();
      expect((await caches[0]?.index()) === first).toBe(true);
    }
    while (openIn(directory).length > 32) await yieldToEventLoop();
    const last = Array.from({ length: 31 }, (_, n) => `passwd${n + 9}`);
    expect(openIn(directory).sort()).toEqual(['passwd0', ...last].sort());
    expect((await caches[1]?.index())?.lines('user1')).toEqual([0]);
  });

  test('are closed when the file is replaced', async () => {
    const directory = testDirectory();
    path = join(directory, 'passwd');
    cache = new Cache(path, false);
    await writeFile(path, MANY);
    await cache.index();
    await writeFile(`${path}.new`, MANY);
    await rename(`${path}.new`, path);
    await cache.index();
    while (openIn(directory).length > 1) await yieldToEventLoop();
    expect(openIn(directory)).toEqual(['passwd']);
  });
});

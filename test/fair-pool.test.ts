import crypto from 'node:crypto';
import fs from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { beforeEach, expect, test } from 'vitest';
import { hashPassword, hashPasswordSync, PasswordFile, verifyPassword } from '../src/index.js';
import { spyOnBuiltin } from './support/builtins.js';
import { HASH, newFile } from './support/password-file.js';

/** The hashes that are in the thread pool, the most that were at once, and the order of hashes and fsyncs. */
const newPool = () => ({
  hashes: 0,
  most: 0,
  events: [] as string[],
  onHash: () => {},
  beforeFsync: async () => {},
});
let pool: ReturnType<typeof newPool>;

beforeEach(() => {
  // Hashes of an earlier test may still end: after an abort, nobody waits for those in the thread pool.
  const own = newPool();
  pool = own;
  const { pbkdf2 } = crypto;
  spyOnBuiltin(crypto, 'pbkdf2').mockImplementation((password, salt, iterations, length, digest, done) => {
    own.most = Math.max(own.most, ++own.hashes);
    own.events.push(`hash starts, ${own.hashes}`);
    pbkdf2(password, salt, iterations, length, digest, (error, key) => {
      own.hashes--;
      own.onHash();
      done(error, key);
    });
  });
  const { fsync } = fs;
  spyOnBuiltin(fs as { fsync(fd: number, done: fs.NoParamCallback): void }, 'fsync').mockImplementation(
    (fd, done) => {
      own.events.push(`fsync waits behind ${own.hashes} hashes`);
      const call = () =>
        fsync(fd, error => {
          own.events.push('fsync ends');
          done(error);
        });
      void own.beforeFsync().then(call);
    },
  );
});

/** More than the limiter puts into the thread pool at once. */
const MANY = 250;
const USUAL_HASH = hashPasswordSync('secret');

const times = <T>(count: number, call: (i: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, i) => call(i)));

test.each<[string, (path: string) => Promise<unknown>]>([
  ['hashPassword', () => times(MANY, () => hashPassword('secret'))],
  ['verifyPassword', () => times(MANY, () => verifyPassword('secret', USUAL_HASH))],
  ['verify', path => times(MANY, () => new PasswordFile(path).verify('alice', 'secret'))],
  ['setUser', path => times(MANY, i => new PasswordFile(path).setUser(`user${i}`, 'secret'))],
  ['addUser', path => times(MANY, i => new PasswordFile(path).addUser(`user${i}`, 'secret'))],
  ['provision', path => times(MANY, () => new PasswordFile(path).provision())],
  ['setUsers', path => new PasswordFile(path).setUsers(new Map(users(MANY)))],
  ['upgrade', path => new PasswordFile(path).upgrade()],
])('at most 133 of many hashes of %s are in the thread pool at once', async (name, call) => {
  const { path } = newFile();
  const text = users(MANY).map(([user, password]) => `${user}:${password}\n`);
  await writeFile(path, name === 'upgrade' ? text.join('') : `alice:${USUAL_HASH}\n`);
  Object.assign(pool, { most: 0, events: [] });
  await call(path);
  expect(pool.events.filter(event => event.startsWith('hash starts')).length).toBeGreaterThanOrEqual(MANY);
  expect(pool.most).toBeLessThanOrEqual(133);
  expect(pool.most).toBeGreaterThan(3);
});

test.each<[string, (file: PasswordFile, i: number, signal: AbortSignal) => Promise<unknown>]>([
  ['verify', (file, _, signal) => file.verify('alice', 'secret', { signal })],
  ['setUser', (file, i, signal) => file.setUser(`user${i}`, 'secret', { signal })],
  ['setUser with the password that is set', (file, _, signal) => file.setUser('alice', 'secret', { signal })],
  ['addUser', (file, i, signal) => file.addUser(`user${i}`, 'secret', { signal })],
  ['setUsers', (file, i, signal) => file.setUsers([[`user${i}`, 'secret']], { signal })],
])('calls of %s that are aborted while they wait compute no hash', async (_name, call) => {
  const { path } = newFile();
  await writeFile(path, `alice:${USUAL_HASH}\n`);
  const file = new PasswordFile(path);
  const controller = new AbortController();
  pool.onHash = () => controller.abort(new Error('enough'));
  await Promise.allSettled(Array.from({ length: MANY }, (_, i) => call(file, i, controller.signal)));
  expect(await file.verify('alice', 'secret')).toBe(true);
  // Only the hashes that were in the pool at the abort, and that of the last call.
  expect(pool.events.filter(event => event.startsWith('hash starts')).length).toBeLessThan(MANY);
});

function users(count: number): Array<[string, string]> {
  return Array.from({ length: count }, (_, i) => [`user${i}`, 'secret']);
}

test.each([
  [1_000, 100, 16],
  [20_000, 10, 3],
])('hashes of %i iterations leave a thread free for a commit', async (iterations, count, most) => {
  const { file } = newFile();
  const busy = times(count, () => hashPassword('secret', { iterations }));
  await file.setHash('alice', HASH);
  await busy;
  const waits = pool.events.flatMap((event, i) => (event.startsWith('fsync waits') ? [i] : []));
  // The file and its directory.
  expect(waits.length).toBe(2);
  for (const wait of waits) {
    expect(Number(/\d+/.exec(pool.events[wait] as string)?.[0])).toBeLessThanOrEqual(most);
    const during = pool.events.slice(wait + 1, pool.events.indexOf('fsync ends', wait));
    for (const event of during) expect(event).toMatch(/^hash starts, [123]$/);
  }
});

test('passwords are verified while a slow disk keeps a commit waiting', async () => {
  const { file } = newFile();
  pool.beforeFsync = async () => {
    pool.events.push(`verified: ${await verifyPassword('secret', USUAL_HASH)}`);
  };
  await file.setHash('alice', HASH);
  expect(pool.events.filter(event => event === 'verified: true').length).toBe(2);
});

/** Reads of a file that is replaced again and again: by a process that checks each byte, by the library, by brokers. */
import { EventEmitter, once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findBrokers, login, type RunningBroker, startBroker } from '../support/broker.js';
import { startChild } from '../support/children.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';
import { HASH } from '../support/password-file.js';
import { broker, needs } from '../support/require.js';
import { stamp } from '../support/stamps.js';

const COMMITS = 2_000;
const BASE_USERS = 50;

let directory: ReturnType<typeof temporaryDirectory>;
let path: string;
let file: PasswordFile;
beforeEach(async () => {
  directory = temporaryDirectory('readers', memoryDirectory());
  path = join(directory.path, 'passwords');
  file = new PasswordFile(path);
  await file.setUsers(Array.from({ length: BASE_USERS }, (_, n) => [baseUser(n), `password ${n}`] as const));
});
afterEach(() => directory[Symbol.dispose]());

const commits = new EventEmitter();

/** The name of a user who is in the file all the time. */
function baseUser(n: number): string {
  return `base_${n}`;
}

/** Adds, changes and removes other users, with a commit for each, so that the file grows and shrinks. */
async function commitAgainAndAgain(): Promise<void> {
  for (let n = 0; n < COMMITS; n++) {
    const phase = n % 60;
    if (phase < 40) await file.setHash(`user_${phase}`, stamp(1, n));
    else expect(await file.removeUser(`user_${2 * (phase - 40)}`)).toBe(true);
    commits.emit('commit');
  }
}

test(`a process that reads the file during ${COMMITS} commits never sees a torn one`, async () => {
  await using reader = await startChild('reader', { path, base: readFileSync(path, 'latin1') });
  await commitAgainAndAgain();
  const report = await reader.ask<{ reads: number; versions: number }>('stop');
  expect(report).toEqual({ reads: expect.any(Number), versions: expect.any(Number) });
  expect(report.versions).toBeGreaterThan(100);
  console.info(`${report.reads} reads saw ${report.versions} versions of the file`);
});

test('reads see all users of a large file while an edit of the same PasswordFile is being committed', async () => {
  const users = 400_000;
  writeFileSync(path, Array.from({ length: users }, (_, n) => `user${n}:${HASH}\n`).join(''));
  const { size } = statSync(path);
  for (let attempt = 0; attempt < 3; attempt++) {
    const fresh = new PasswordFile(path);
    let isCommitted = false;
    const edit = fresh.setHash('edited', stamp(1, attempt)).then(() => {
      isCommitted = true;
    });
    while (!isCommitted && sizeOfTempFile() < size) await yieldToEventLoop();
    // These reads index the file while the edit, which needed only one name of it, replaces it.
    const [has, names] = await Promise.all([fresh.hasUser('user7'), fresh.users(), edit]);
    expect([has, names.length >= users]).toEqual([true, true]);
  }
});

/** The size of the temp file in the lock directory; 0: there is none. */
function sizeOfTempFile(): number {
  try {
    const lock = `${path}.writer`;
    return Math.max(0, ...readdirSync(lock).map(name => statSync(join(lock, name)).size));
  } catch {
    return 0;
  }
}

needs(broker()).test(
  `brokers that reload during ${COMMITS} commits keep running and let the users in`,
  async () => {
    const running = await Promise.all(findBrokers().map(each => startBroker(each, { passwordFile: path })));
    try {
      const done = new AbortController();
      const reloading = running.map(each => reloadUntil(each, done.signal));
      await Promise.race([commitAgainAndAgain(), ...reloading]);
      done.abort();
      const reloads = await Promise.all(reloading);
      for (const each of running) expect(each.log()).not.toMatch(/error/i);
      console.info(`${reloads.join(' and ')} reloads of brokers`);
    } finally {
      await Promise.all(running.map(each => each.stop()));
    }
  },
);

/** Makes a broker reload every few commits, with logins meanwhile. Resolves with the number of reloads. */
async function reloadUntil(running: RunningBroker, done: AbortSignal): Promise<number> {
  for (let reloads = 0; ; reloads++) {
    const user = reloads % BASE_USERS;
    const times = running.reloads + 1;
    process.kill(running.pid, 'SIGHUP');
    // Mosquitto 2.0 sees the signal when a client connects, or else after 0.1 s.
    expect(await login(running.port, baseUser(user), `password ${user}`)).toBe(0);
    expect(await running.reloaded(times)).toBe(true);
    expect(await login(running.port, baseUser(user), `password ${user}`)).toBe(0);
    for (let n = 0; n < 5 && !done.aborted; n++)
      await once(commits, 'commit', { signal: done }).catch(() => []);
    if (done.aborted) return reloads;
  }
}

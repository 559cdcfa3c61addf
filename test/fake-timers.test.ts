import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { PasswordFile } from '../src/password-file.js';
import { yieldToEventLoop } from '../src/util/event-loop.js';
import { HASH, newFile } from './support/password-file.js';

let file: PasswordFile;
let reloading: PasswordFile;
beforeEach(() => {
  const { path, file: made } = newFile();
  file = made;
  reloading = new PasswordFile(path, { reload: { command: ['true'], minInterval: 1 } });
});

test.each<[string, () => Promise<unknown>, unknown]>([
  ['setUser', () => file.setUser('bob', 'secret'), 'added'],
  ['verify', () => file.verify('alice', 'secret'), true],
  ['verify of an unknown user', () => file.verify('bob', 'secret'), false],
  ['users', () => file.users(), ['alice']],
  ['check', async () => (await file.check()).loads, true],
  ['reloaded', () => reloading.reloaded({ force: true }), undefined],
  [
    'the second reloaded',
    async () => {
      await reloading.reloaded({ force: true });
      await reloading.reloaded({ force: true });
    },
    undefined,
  ],
  [
    'provision',
    async () => (await file.provision({ username: { prefix: 'd_' } })).username.slice(0, 2),
    'd_',
  ],
])('%s settles while a test has replaced the timers by fake ones', async (_name, call, expected) => {
  await file.setHash('alice', HASH);
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  expect(await call()).toEqual(expected);
});

test('an edit stops its heartbeat although a test has replaced the timers by fake ones meanwhile', async () => {
  const started = vi.spyOn(globalThis, 'setInterval');
  const stopped = vi.spyOn(globalThis, 'clearInterval');
  onTestFinished(() => void vi.restoreAllMocks());
  const edit = file.setHash('alice', HASH);
  while (started.mock.calls.length === 0) await yieldToEventLoop();
  const heartbeat = started.mock.results[0]?.value;
  vi.stubGlobal('clearInterval', () => undefined);
  onTestFinished(() => void vi.unstubAllGlobals());
  expect(await edit).toBe('added');
  expect(stopped.mock.calls).toEqual([[heartbeat]]);
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  abandon,
  candidateDirectory,
  isCandidate,
  isGone,
  isStale,
  type LockOwner,
  newNonce,
  parseTempFileName,
  tempFileName,
} from '../../src/storage/lock-owner.js';
import { beforeCall } from '../support/builtins.js';

const NONCE = '0123456789abcdef';
const REALM = '12345678-1234-1234-1234-123456789abc-4026531836';
const MONTH = 30 * 86_400_000;

describe('the name of a temp file', () => {
  test.each<[string, LockOwner]>([
    [`${NONCE}.1.2.${REALM}`, { pid: 1, start: '2', realm: REALM }],
    [
      `${NONCE}.4194304.12345678901234567890.${REALM}`,
      { pid: 4194304, start: '12345678901234567890', realm: REALM },
    ],
    [`${NONCE}.7..-`, { pid: 7, start: '', realm: '-' }],
  ])('says who owns the lock: %s', (name, owner) => {
    expect(parseTempFileName(name)).toEqual(owner);
  });

  test.each([
    `x${NONCE}.1.2.${REALM}`,
    `${NONCE}0.1.2.${REALM}`,
    `${NONCE.slice(1)}.1.2.${REALM}`,
    `${NONCE.toUpperCase()}.1.2.${REALM}`,
    `${NONCE}.0.2.${REALM}`,
    `${NONCE}.01.2.${REALM}`,
    `${NONCE}.12345678901.2.${REALM}`,
    `${NONCE}.1x.2.${REALM}`,
    `${NONCE}.1.123456789012345678901.${REALM}`,
    `${NONCE}.1.x.${REALM}`,
    `${NONCE}.1.2.0${REALM}`,
    `${NONCE}.1.2.x-1`,
    `${NONCE}.1.2.${REALM}x`,
    `${NONCE}.1.2.a-123456789012345678901`,
    `${NONCE}.1.2.a`,
    `${NONCE}.1.2`,
    'passwd',
    '',
  ])('is not %j', name => {
    expect(parseTempFileName(name)).toBeUndefined();
    expect(isStale(name, 0n, 0, 0)).toBe(false);
  });
});

test.each([
  [candidateDirectory('/etc/passwd', newNonce()).slice(5), true],
  [`passwd.${NONCE}.writer`, true],
  [`passwd.${NONCE}.writer2`, false],
  [`passwd.x${NONCE}.writer`, false],
  [`passwd.${NONCE}.${NONCE}.writer`, false],
  [`passwd.${NONCE}x.writer`, false],
  [`passwd.${NONCE}0.writer`, false],
  [`passwd.${NONCE}-writer`, false],
  [`passwd.${NONCE.toUpperCase()}.writer`, false],
  [`passwd-${NONCE}.writer`, false],
  [`passwe.${NONCE}.writer`, false],
  [`other.${NONCE}.writer`, false],
  ['passwd.writer', false],
  ['passwd', false],
])('isCandidate returns for %s beside passwd: %s', (name, expected) => {
  expect(isCandidate('/etc/passwd', name)).toBe(expected);
});

describe.skipIf(!existsSync('/proc/self/stat'))('a writer', () => {
  const own = parseTempFileName(tempFileName(newNonce())) as LockOwner;

  test.each<[string, Partial<LockOwner>, boolean]>([
    ['of this process is not gone', {}, false],
    ['with this pid and no start time is not gone', { start: '' }, false],
    ['with this pid and another start time is gone', { start: '1' }, true],
    ['with a pid that no process has is gone', { pid: 2 ** 31 - 1 }, true],
    ['with this pid and another boot id may be alive', { realm: REALM, start: '1' }, false],
    [
      'with a pid that no process has and an unknown realm may be alive',
      { realm: '-', pid: 2 ** 31 - 1 },
      false,
    ],
  ])('%s', (_what, owner, expected) => {
    const { pid, start, realm } = { ...own, ...owner };
    expect(isGone({ pid, start, realm })).toBe(expected);
    expect(isStale(`${newNonce()}.${pid}.${start}.${realm}`, undefined, 1000, MONTH)).toBe(expected);
  });

  test('names its process, start time, boot and pid namespace', () => {
    const start = readFileSync('/proc/self/stat', 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')[19];
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const namespace = readlinkSync('/proc/self/ns/pid').replace(/[^0-9]/g, '');
    expect(tempFileName(NONCE)).toBe(`${NONCE}.${process.pid}.${start}.${boot}-${namespace}`);
  });

  const hide = (path: string) => {
    for (const name of ['readFileSync', 'readlinkSync'] as const) {
      beforeCall(name, path, () => {
        throw Object.assign(new Error(`ENOENT: hidden, ${path}`), { code: 'ENOENT' });
      });
    }
  };

  test.each<[string, string, Partial<LockOwner>, boolean]>([
    ['boot', '/proc/sys/kernel/random/boot_id', { realm: '-' }, false],
    ['pid namespace', '/proc/self/ns/pid', { realm: '-' }, false],
    ['start time', '/proc/self/stat', { start: '' }, true],
  ])('that cannot know its %s names everything else', (_what, path, unknown, isKnown) => {
    hide(path);
    expect(parseTempFileName(tempFileName(NONCE))).toEqual({ ...own, ...unknown });
    // An unknown realm equals another unknown one, but may be another.
    expect(isGone({ ...own, ...unknown, pid: 2 ** 31 - 1 })).toBe(isKnown);
  });

  test.each([
    ['/proc shows another pid namespace', '/proc/self'],
    ['/proc hides its process', `/proc/${process.pid}/stat`],
  ])('is not called gone by its start time if %s', (_what, path) => {
    hide(path);
    expect(isGone({ ...own, start: '1' })).toBe(false);
    expect(isGone({ ...own, pid: 2 ** 31 - 1 })).toBe(true);
  });

  test('is gone if it is a zombie, which kill(pid, 0) still finds', async () => {
    // The parent of the process becomes `sleep`, which never waits for its child.
    const parent = spawn('sh', ['-c', 'exec 3<&0; cat <&3 & echo $!; exec sleep 300']);
    onTestFinished(() => void parent.kill());
    const [output] = await once(parent.stdout, 'data');
    const pid = Number(output);
    const wait = { timeout: 30_000, interval: 5 };
    await vi.waitUntil(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8') === 'sleep\n', wait);
    parent.stdin.end();
    const stat = () => readFileSync(`/proc/${pid}/stat`, 'utf8');
    await vi.waitUntil(() => / Z /.test(stat()), wait);
    expect(isGone({ ...own, pid, start: stat().split(' ')[21] as string })).toBe(true);
  });
});

describe('a temp file', () => {
  const other = (n: number) => `${n.toString(16).padStart(16, '0')}.1.2.-`;
  let modified: bigint;
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    modified = BigInt(Date.now()) * 1_000_000n;
  });
  afterEach(() => void vi.useRealTimers());

  test('is stale once it has had no heartbeat for the allowed time', () => {
    const name = tempFileName(newNonce());
    expect(isStale(name, modified, 1000, MONTH)).toBe(false);
    vi.advanceTimersByTime(999);
    expect(isStale(name, modified, 1000, MONTH)).toBe(false);
    vi.advanceTimersByTime(1);
    expect(isStale(name, modified, 1000, MONTH)).toBe(true);
    expect(isStale(name, modified + 1n, 1000, MONTH)).toBe(false);
    expect(isStale(name, undefined, 0, 0)).toBe(false);
  });

  test('is not stale because the clock of the system is put forward', () => {
    const name = tempFileName(newNonce());
    expect(isStale(name, modified, 1000, Infinity)).toBe(false);
    vi.setSystemTime(Date.now() + MONTH);
    expect(isStale(name, modified, 1000, Infinity)).toBe(false);
  });

  test('is stale at once if it is older than the orphan age, or abandoned', () => {
    const [old, given] = [tempFileName(newNonce()), tempFileName(newNonce())];
    expect(isStale(old, modified, 1000, 1000)).toBe(false);
    vi.advanceTimersByTime(1000);
    expect(isStale(old, modified, 10_000, 1000)).toBe(false);
    vi.advanceTimersByTime(1);
    expect(isStale(old, modified, 10_000, 1000)).toBe(true);
    abandon(given);
    expect(isStale(given, undefined, 1000, MONTH)).toBe(true);
  });

  test('is remembered, if it is abandoned, until 10,000 others are', async () => {
    vi.resetModules();
    const { abandon, isStale } = await import('../../src/storage/lock-owner.js');
    const isAbandoned = (n: number) => isStale(other(n), undefined, 1000, MONTH);
    for (let n = 0; n < 10_000; n++) abandon(other(n));
    expect([0, 9_999].map(isAbandoned)).toEqual([true, true]);
    abandon(other(10_000));
    expect([0, 9_999, 10_000].map(isAbandoned)).toEqual([false, false, true]);
  });

  test('is remembered until 10,000 others are', async () => {
    vi.resetModules();
    const { isStale } = await import('../../src/storage/lock-owner.js');
    const isStaleNow = (n: number) => isStale(other(n), modified, 1000, MONTH);
    for (let n = 0; n < 10_000; n++) isStaleNow(n);
    vi.advanceTimersByTime(1000);
    expect([0, 9_999].map(isStaleNow)).toEqual([true, true]);
    expect([10_000, 0].map(isStaleNow)).toEqual([false, false]);
    vi.advanceTimersByTime(1000);
    expect(isStaleNow(0)).toBe(true);
  });
});

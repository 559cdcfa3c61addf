/** Locks of dead writers whose files this process may not remove, or whose process it cannot see. */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { tempFileName } from '../../src/storage/lock-owner.js';
import { startChild } from '../support/children.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';
import { needs, program, root } from '../support/require.js';
import { stamp, stampedLines } from '../support/stamps.js';
import type { EditReport } from './children/editor.js';

const NONCE = '00000000000000aa';
const OLD = stampedLines('user', 3);
const NEW = `${OLD}new:${stamp(1, 1)}\n`;
const GROUP = 4242;

/** With these options a lock is broken only if its owner is known to be dead. */
const NEVER_STALE = { stale: 2 ** 31 - 1 };

let directory: ReturnType<typeof temporaryDirectory>;
let path: string;
beforeEach(() => {
  directory = temporaryDirectory('stale-lock', memoryDirectory());
  path = join(directory.path, 'passwords');
  writeFileSync(path, OLD, { mode: 0o660 });
});
afterEach(() => directory[Symbol.dispose]());

/** Makes the directory of a writer that has ended, with its temp file. */
function leave(writersDirectory: string, temp: string): string {
  mkdirSync(writersDirectory, { mode: 0o755 });
  writeFileSync(join(writersDirectory, temp), 'half of the', { mode: 0o600 });
  return join(writersDirectory, temp);
}

/** The name of a temp file of a process with this pid in this pid namespace. */
function tempFileNameOf(pid: number): string {
  return tempFileName(NONCE).replace(`.${process.pid}.`, `.${pid}.`);
}

needs(root, program('setpriv')).test(
  'the lock of a dead writer of another user is broken although its temp file may not be removed',
  async () => {
    // Larger than any pid, so that there is no such process.
    leave(`${path}.writer`, tempFileNameOf(9_999_999));
    chmodSync(path, 0o660);
    for (const each of [path, directory.path]) chownSync(each, 0, GROUP);
    chmodSync(directory.path, 0o2770);
    await using other = await startChild(
      'editor',
      { path, options: { allowOwnerChange: true, lock: NEVER_STALE } },
      { under: ['setpriv', '--reuid=1234', `--regid=${GROUP}`, '--clear-groups', '--'] },
    );
    const report = await other.ask<EditReport>({ name: 'new', hash: stamp(1, 1) });
    expect(report.outcome).toBe('added');
    expect(readFileSync(path, 'latin1')).toBe(NEW);
    // The lock directory has been renamed. Only a writer with the permission can remove it.
    expect(readdirSync(directory.path).toSorted()).toEqual([
      'passwords',
      expect.stringMatching(/^passwords\.[0-9a-f]{16}\.writer$/),
    ]);
    await new PasswordFile(path).update(() => undefined);
    expect(readdirSync(directory.path)).toEqual(['passwords']);
  },
);

test.each(['.nfs00000000000b0c7e0000001a', '.fuse_hidden0000000400000001'])(
  'the lock of a writer whose temp file was removed, but is still open and has the name %s, is broken',
  async hidden => {
    const left = leave(`${path}.writer`, hidden);
    await new PasswordFile(path).setHash('new', stamp(1, 1));
    expect(readFileSync(path, 'latin1')).toBe(NEW);
    const [, aside = ''] = readdirSync(directory.path).toSorted();
    expect(aside).toMatch(/^passwords\.[0-9a-f]{16}\.writer$/);
    // The file system removes it when the writer closes it.
    rmSync(left.replace('passwords.writer', aside));
    await new PasswordFile(path).update(() => undefined);
    expect(readdirSync(directory.path)).toEqual(['passwords']);
  },
);

const UNSEEN = `${NONCE}.1.5.00000000-0000-0000-0000-000000000000-4026531999`;

test('the lock of a writer that cannot be seen is broken when it has had no heartbeat for lock.stale', async () => {
  leave(`${path}.writer`, UNSEEN);
  const started = performance.now();
  await new PasswordFile(path, { lock: { stale: 1_000 } }).setHash('new', stamp(1, 1));
  expect(performance.now() - started).toBeGreaterThanOrEqual(1_000);
  expect(readFileSync(path, 'latin1')).toBe(NEW);
  expect(readdirSync(directory.path)).toEqual(['passwords']);
});

test('the candidate directory of a writer that cannot be seen is swept when it has had no heartbeat for lock.stale', async () => {
  leave(`${path}.${NONCE}.writer`, UNSEEN);
  const file = new PasswordFile(path, { lock: { stale: 1_000 } });
  const started = performance.now();
  while (readdirSync(directory.path).length > 1) await file.update(() => undefined);
  expect(performance.now() - started).toBeGreaterThanOrEqual(1_000);
});

test('the candidate directory of a writer that cannot be seen is swept at once if its temp file is two hours old', async () => {
  const temp = leave(`${path}.${NONCE}.writer`, UNSEEN);
  await new PasswordFile(path).update(() => undefined);
  expect(readdirSync(directory.path)).toHaveLength(2);
  const longAgo = Date.now() / 1000 - 2 * 3600;
  utimesSync(temp, longAgo, longAgo);
  await new PasswordFile(path).update(() => undefined);
  expect(readdirSync(directory.path)).toEqual(['passwords']);
});

test('a lock with a heartbeat is broken only when its owner is dead, whatever the lock.stale of either writer', async () => {
  await using owner = await startChild('lock-owner', { path, options: { lock: { stale: 60_000 } } });
  const waiting = new PasswordFile(path, { lock: { stale: 1_000, timeout: 2_500 } }).setHash(
    'new',
    stamp(1, 1),
  );
  await expect(waiting).rejects.toMatchObject({
    code: 'ERR_LOCK_TIMEOUT',
    message: expect.stringMatching(
      new RegExp(`^Waited \\d{4} ms .*${path}\\.writer holds the file .* name says process ${owner.pid} `),
    ),
  });
  expect(readFileSync(path, 'latin1')).toBe(OLD);
  expect(readdirSync(directory.path).toSorted()).toEqual(['passwords', 'passwords.writer']);

  const next = new PasswordFile(path, { lock: NEVER_STALE }).setHash('new', stamp(1, 1));
  owner.kill('SIGKILL');
  await next;
  expect(readFileSync(path, 'latin1')).toBe(NEW);
  expect(readdirSync(directory.path)).toEqual(['passwords']);
});

/** Edits that share a commit, and edits that do not. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { PasswordDraft } from '../../src/document/update-draft.js';
import { PasswordFile } from '../../src/password-file.js';
import { diskCalls } from '../support/disk-calls.js';
import { countCommits, HASH, hold, newFile, OTHER_WRITER, quick } from '../support/password-file.js';

let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ path, file } = newFile());
});

const NAMES = Array.from({ length: 10 }, (_, n) => `user${n}`);

test('all edits that come while a writer waits for another share its commit', async () => {
  await hold(path);
  const looked = new Promise<void>(resolve => {
    diskCalls.before = name => {
      if (name === 'list') resolve();
    };
  });
  const edits = NAMES.map(name => file.setHash(name, HASH));
  await looked;
  const commits = countCommits();
  await rm(join(`${path}.writer`, OTHER_WRITER));
  await Promise.all(edits);
  expect(commits.count).toBe(1);
  expect(await file.users()).toEqual(NAMES);
});

test.each([
  { allowOwnerChange: true },
  { create: { mode: 0o640 } },
  { lock: { timeout: 20_000 } },
  { lock: { stale: 6_000 } },
])('edits share no commit with those of an instance with the options %j', async options => {
  const other = new PasswordFile(path, { ...quick, ...options });
  const commits = countCommits();
  const files = [file, other, file, other, file];
  await Promise.all(files.map((each, n) => each.setHash(`user${n}`, HASH)));
  expect(commits.count).toBe(2);
  expect((await file.users()).sort()).toEqual(NAMES.slice(0, 5));
});

describe('an edit that fails because of another one of its commit', () => {
  const TAKEN = Object.assign(new Error('bob is taken'), { code: 'TAKEN' });
  const add = (draft: PasswordDraft): void => {
    if (draft.has('bob')) throw TAKEN;
    draft.set('bob', HASH);
  };
  const addTwice = () => Promise.allSettled([file.update(add), file.update(add)]);
  const codes = (results: PromiseSettledResult<void>[]) =>
    results.map(result => (result.status === 'rejected' ? result.reason.code : result.status));

  test('fails as the commit does if the file cannot be written', async () => {
    diskCalls.fail = name => (name === 'sync' ? 'EIO' : undefined);
    expect(codes(await addTwice())).toEqual(['ERR_WRITE_FAILED', 'ERR_WRITE_FAILED']);
    expect(await file.hasUser('bob')).toBe(false);
  });

  test('fails for itself if the file was written, though its directory could not be synced', async () => {
    diskCalls.fail = name => (name === 'syncDirectory' ? 'EIO' : undefined);
    expect(codes(await addTwice())).toEqual(['ERR_NOT_DURABLE', 'TAKEN']);
    expect(await file.hasUser('bob')).toBe(true);
  });

  test('fails for itself if the commit succeeds', async () => {
    expect(codes(await addTwice())).toEqual(['fulfilled', 'TAKEN']);
  });
});

test('the event loop turns between two edits of a commit, the first of which takes long', async () => {
  await hold(path);
  const looked = new Promise<void>(resolve => {
    diskCalls.before = name => {
      if (name === 'list') resolve();
    };
  });
  const events: string[] = [];
  const edits = [1, 2].map(n =>
    file.update(() => {
      events.push(`edit ${n}`);
      if (n === 2) return;
      setImmediate(() => events.push('turn'));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }),
  );
  await looked;
  const commits = countCommits();
  await rm(join(`${path}.writer`, OTHER_WRITER));
  await Promise.all(edits);
  expect(commits.count).toBe(0);
  expect(events).toEqual(['edit 1', 'turn', 'edit 2']);
});

import { readFile, writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import type { PasswordDraft } from '../../src/document/update-draft.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import type { PasswordFile } from '../../src/password-file.js';
import { countCommits, HASH, identityOf, newFile, OTHER_HASH } from '../support/password-file.js';

let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ path, file } = newFile());
});

const read = () => readFile(path, 'utf8');
const identity = () => identityOf(path);

describe('update', () => {
  beforeEach(() => writeFile(path, `alice:${HASH}\nbob:${HASH}\nbob:${OTHER_HASH}\n`));

  test('makes any number of edits in one commit, and returns what its function returns', async () => {
    const commits = countCommits();
    const result = await file.update(draft => {
      expect([...draft.keys()]).toEqual(['alice', 'bob']);
      expect([draft.has('alice'), draft.has('carol')]).toEqual([true, false]);
      expect([draft.get('bob'), draft.get('carol')]).toEqual([OTHER_HASH, undefined]);
      expect(draft.set('carol', HASH).set('alice', OTHER_HASH)).toBe(draft);
      expect([draft.delete('bob'), draft.delete('bob')]).toEqual([true, false]);
      return [...draft.keys()];
    });
    expect(result).toEqual(['alice', 'carol']);
    expect(await read()).toBe(`alice:${OTHER_HASH}\ncarol:${HASH}\n`);
    expect(commits.count).toBe(1);
  });

  test('does not come to names that a loop over its names adds, and not to those that it removes', async () => {
    await file.update(draft => {
      draft.set('carol', HASH).set('dave', HASH);
      const seen: string[] = [];
      for (const name of draft.keys()) {
        // A loop over all that it adds would not end.
        if (seen.push(name) > 4) break;
        draft.set(`new/${name}`, HASH).delete('dave');
      }
      expect(seen).toEqual(['alice', 'bob', 'carol']);
    });
    expect(await file.users()).toEqual(['alice', 'bob', 'carol', 'new/alice', 'new/bob', 'new/carol']);
  });

  test('does not replace the file if nothing changes', async () => {
    const before = await identity();
    await file.update(draft => draft.set('alice', HASH));
    await file.update(draft => draft.set('zoe', HASH).delete('zoe'));
    expect(await identity()).toEqual(before);
  });

  test('changes nothing if its function throws, and rejects with that error', async () => {
    const before = await identity();
    const error = new Error('no');
    const edit = file.update(draft => {
      draft.set('carol', HASH).delete('alice');
      throw error;
    });
    await expect(edit).rejects.toBe(error);
    expect(await identity()).toEqual(before);
  });

  test.each<[string, (draft: PasswordDraft) => unknown]>([
    ['an async function', async draft => draft.set('carol', HASH)],
    [
      'an async function that throws',
      async draft => {
        draft.set('carol', HASH);
        throw new Error('nobody catches this');
      },
    ],
    // biome-ignore lint/suspicious/noThenProperty: that is the point
    ['a thenable', draft => ({ draft: draft.set('carol', HASH), then: () => undefined })],
  ])('refuses %s, and changes nothing', async (_what, edit) => {
    const before = await identity();
    await expect(file.update(edit)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(
        /returned a promise, and nothing was changed\. Do what has to be awaited .* before/,
      ),
    });
    expect(await identity()).toEqual(before);
  });

  test('takes a function whose name is no string', async () => {
    const edit = Object.defineProperty((draft: PasswordDraft) => draft.has('nobody'), 'name', { value: 5 });
    expect(await file.update(edit)).toBe(false);
  });

  test('refuses invalid names and hashes, and changes nothing', async () => {
    const before = await identity();
    const wrong: Array<[(draft: PasswordDraft) => unknown, string, string?]> = [
      [draft => draft.set('a:b', HASH), 'ERR_INVALID_USERNAME', 'a'],
      [draft => draft.set('carol', 'secret'), 'ERR_INVALID_HASH', 'carol'],
      [draft => draft.set('carol', `${HASH}\n`), 'ERR_INVALID_HASH', 'carol'],
      [draft => draft.set('carol', HASH.replace('1', '1000001')), 'ERR_COST_LIMIT', 'carol'],
      [draft => draft.has(undefined as unknown as string), 'ERR_INVALID_USERNAME'],
      [draft => draft.delete(null as unknown as string), 'ERR_INVALID_USERNAME'],
    ];
    for (const [edit, code, username] of wrong) {
      const call = file.update(draft => [draft.set('zoe', HASH), edit(draft)]);
      await expect(call).rejects.toMatchObject(username === undefined ? { code } : { code, username });
    }
    expect(await identity()).toEqual(before);
  });

  test('closes the draft when its function returns', async () => {
    let draft: PasswordDraft | undefined;
    let keys: Iterator<string> | undefined;
    await file.update(open => {
      draft = open;
      keys = open.keys()[Symbol.iterator]();
      keys.next();
    });
    const closed = expect.objectContaining({
      code: 'ERR_INVALID_ARGUMENT',
      message: 'This draft is closed: it can be used only until the function given to update() returns.',
    });
    const before = await identity();
    expect(() => draft?.has('alice')).toThrow(closed);
    expect(() => draft?.get('alice')).toThrow(closed);
    expect(() => draft?.set('carol', HASH)).toThrow(closed);
    expect(() => draft?.delete('alice')).toThrow(closed);
    expect(() => [...(draft?.keys() ?? [])]).toThrow(closed);
    expect(() => keys?.next()).toThrow(closed);
    expect(await identity()).toEqual(before);
  });

  test('refuses the draft of an earlier call', async () => {
    let first: PasswordDraft | undefined;
    const outcomes = await Promise.allSettled([
      file.update(draft => {
        first = draft;
      }),
      file.update(() => first?.set('eve', HASH)),
      file.setHash('carol', HASH),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await file.users()).toEqual(['alice', 'bob', 'carol']);
  });

  test('makes the edit of a call that its function makes after its own', async () => {
    let inner: Promise<unknown> | undefined;
    await file.update(draft => {
      inner = file.update(next => next.get('carol'));
      draft.set('carol', HASH);
    });
    expect(await inner).toBe(HASH);
  });

  test('loses no edit of 200 concurrent calls that read and write the same user', async () => {
    await file.setHash('counter', hashPasswordSync('x', { iterations: 1 }));
    const raise = () =>
      file.update(draft => {
        const [, , iterations = '', ...rest] = (draft.get('counter') as string).split('$');
        draft.set('counter', ['', '7', Number(iterations) + 1, ...rest].join('$'));
      });
    await Promise.all(Array.from({ length: 200 }, raise));
    expect(await file.getHash('counter')).toMatch(/^\$7\$201\$/);
  });
});

/** Edits do not change who else can log in, by the rules of `checkPasswordFile`. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkPasswordFile } from '../../src/check/check.js';
import { type Edits, edited, edits, entryOf, files, HASH } from '../support/edited-files.js';

const RELEASES = ['2.0', '2.1'] as const;

function expectLoginsKept(text: string, edits: Edits): void {
  const after = edited(text, edits);
  const touched = new Set(edits.map(([name]) => name));
  const lost = RELEASES.map(broker => {
    const before = checkPasswordFile(Buffer.from(text, 'latin1'), { broker });
    const now = checkPasswordFile(after, { broker });
    const users = before.users.filter(name => !touched.has(name) && !now.users.includes(name));
    return { broker, users, file: before.loads && !now.loads };
  });
  expect(lost).toEqual(RELEASES.map(broker => ({ broker, users: [], file: false })));
}

describe('an edit keeps the login of every other user', () => {
  test.each<[string, string, Edits]>([
    [
      'with a last line of 255 bytes without line feed, when an earlier longer line is removed',
      `${entryOf(300)}\n${entryOf(255)}`,
      [[entryOf(300).split(':')[0] as string, undefined]],
    ],
    [
      'with a last line of 255 bytes without line feed, when an earlier longer line becomes shorter',
      `bob:${HASH}:${'x'.repeat(200)}\n${entryOf(255)}`,
      [['bob', HASH.replace('101', '102')]],
    ],
    [
      'with a last line with a NUL and without line feed, when a user is added',
      `alice:${HASH}\0junk`,
      [['bob', HASH]],
    ],
    [
      'with a last line with a NUL and without line feed, when a user is removed',
      `bob:${HASH}\nalice:${HASH}\0junk`,
      [['bob', undefined]],
    ],
    [
      'with a last line of colons without line feed, when a user is added',
      `alice:${HASH}\n::`,
      [['bob', HASH]],
    ],
    [
      'with a last line of 255 bytes that repeats a name without line feed, when a user is added',
      `${entryOf(255)}\n${entryOf(255)}`,
      [['bob', HASH]],
    ],
  ])('%s', (_what, text, edits) => {
    expectLoginsKept(text, edits);
  });

  test('in any file, whatever the edits', () => {
    fc.assert(fc.property(files, edits, expectLoginsKept), { numRuns: 300 });
  });
});

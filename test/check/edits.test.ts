/** What edits must not do to the users whom they do not touch, by the rules of `checkPasswordFile`. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkPasswordFile } from '../../src/check/check.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { edit } from '../support/edits.js';

const RELEASES = ['2.0', '2.1'] as const;
const HASH = hashPasswordSync('pw', { salt: Buffer.alloc(12, 1) });
const LONG_SALT = hashPasswordSync('pw', { salt: Buffer.alloc(64, 1) });

/** An entry of so many bytes. */
const entryOf = (length: number) => `${'n'.repeat(length - HASH.length - 1)}:${HASH}`;

type Edits = ReadonlyArray<readonly [name: string, hash: string | undefined]>;

function edited(text: string, edits: Edits): Buffer {
  return edit(Buffer.from(text, 'latin1'), draft => {
    for (const [name, hash] of edits) hash === undefined ? draft.delete(name) : draft.set(name, hash);
  });
}

function expectLoginsKept(text: string, edits: Edits): void {
  const after = edited(text, edits);
  const touched = new Set(edits.map(([name]) => name));
  for (const broker of RELEASES) {
    const before = checkPasswordFile(Buffer.from(text, 'latin1'), { broker });
    const now = checkPasswordFile(after, { broker });
    const kept = before.users.filter(name => !touched.has(name));
    expect({ broker, users: now.users }).toMatchObject({ users: expect.arrayContaining(kept) });
    if (before.loads) expect({ broker, loads: now.loads }).toMatchObject({ loads: true });
  }
}

describe('an edit keeps the login of every other user', () => {
  test.each<[string, string, Edits]>([
    [
      'a last line of 255 bytes without line feed, and an earlier longer line removed',
      `${entryOf(300)}\n${entryOf(255)}`,
      [[entryOf(300).split(':')[0] as string, undefined]],
    ],
    [
      'a last line of 255 bytes without line feed, and an earlier longer line made shorter',
      `bob:${HASH}:${'x'.repeat(200)}\n${entryOf(255)}`,
      [['bob', HASH.replace('101', '102')]],
    ],
    [
      'a last line with a NUL and without line feed, and a user added',
      `alice:${HASH}\0junk`,
      [['bob', HASH]],
    ],
    [
      'a last line with a NUL and without line feed, and a user removed',
      `bob:${HASH}\nalice:${HASH}\0junk`,
      [['bob', undefined]],
    ],
    ['a last line of colons without line feed, and a user added', `alice:${HASH}\n::`, [['bob', HASH]]],
    [
      'a last line that repeats a name in 255 bytes without line feed, and a user added',
      `${entryOf(255)}\n${entryOf(255)}`,
      [['bob', HASH]],
    ],
  ])('%s', (_what, text, edits) => {
    expectLoginsKept(text, edits);
  });

  const name = fc.constantFrom('alice', 'bob', 'carol', 'dave', 'new/device');
  const line = fc.oneof(
    { weight: 6, arbitrary: name.map(each => `${each}:${HASH}`) },
    { weight: 2, arbitrary: fc.constantFrom(254, 255, 256, 1255, 1256).map(entryOf) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(name, fc.constantFrom(254, 255, 256, 1255))
        .map(([each, length]) => `${each}:${HASH}:`.padEnd(length, 'x')),
    },
    { weight: 1, arbitrary: name.map(each => `${each}:${LONG_SALT}`) },
    { weight: 1, arbitrary: name.map(each => `${each}:${HASH}\0junk`) },
    { weight: 1, arbitrary: fc.constantFrom(253, 254, 255, 256).map(n => `alice:${HASH}\0`.padEnd(n, 'x')) },
    { weight: 1, arbitrary: fc.constantFrom('', '#', '# c', ' ', '\r', ':', '::', 'x', 'x:y', '#\0', '\0') },
    { weight: 1, arbitrary: fc.constantFrom(254, 255, 256, 1255).map(n => '#'.padEnd(n, 'c')) },
    { weight: 1, arbitrary: fc.constantFrom(255, 1255).map(n => `bob:${'y'.repeat(n - 4)}`) },
  );
  const file = fc
    .tuple(
      fc.array(
        fc.tuple(line, fc.constantFrom('\n', '\n', '\n', '\r\n')).map(parts => parts.join('')),
        {
          maxLength: 5,
        },
      ),
      line,
      fc.constantFrom('', '', '', '\n'),
    )
    .map(([lines, last, end]) => `${lines.join('')}${last}${end}`)
    .filter(
      text =>
        !/\0[^\n]*\n|\0[^\n]{99}/.test(text) && (text.length - text.lastIndexOf('\n') - 1) % 1000 !== 255,
    );
  const anyName = fc.oneof(
    name,
    fc.constantFrom(254, 255, 256).map(length => entryOf(length).split(':')[0] as string),
  );
  const edits = fc.array(fc.tuple(anyName, fc.constantFrom(HASH, undefined)), { minLength: 1, maxLength: 3 });

  test('any edits of any file', () => {
    fc.assert(fc.property(file, edits, expectLoginsKept), { numRuns: 5_000 });
  });
});

import { describe, expect, test } from 'vitest';
import { edited } from '../../src/document/draft.js';
import { NewLines } from '../../src/document/new-lines.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { draftOf } from '../support/edits.js';

const [A = '', B = ''] = [1, 2].map(byte => hashPasswordSync('pw', { salt: Buffer.alloc(12, byte) }));

function newLines(names: string[], hash = B): NewLines {
  const lines = new NewLines(101);
  for (const name of names) lines.add(name, hash as string);
  lines.flush();
  return lines;
}

function result<T>(work: Generator<unknown, T>): { steps: number; value: T } {
  for (let steps = 0; ; steps++) {
    const step = work.next();
    if (step.done) return { steps, value: step.value };
  }
}

/** Merges users, each with hash B, into a file. In its text `=` means `:` and hash A, `+` means `:` and hash B. */
function merge(text: string, names: string[], removeOthers = false) {
  const bytes = Buffer.from(text.replaceAll('=', `:${A}`).replaceAll('+', `:${B}`), 'latin1');
  const draft = draftOf(bytes);
  const { value: counts } = result(draft.merge(newLines(names), removeOthers));
  const { value: changes } = result(draft.changes());
  const after = Buffer.concat([...edited(bytes, changes)].map(piece => Buffer.from(piece)));
  return {
    after: after.toString('latin1').replaceAll(`:${A}`, '=').replaceAll(`:${B}`, '+'),
    counts,
    hasChanged: draft.hasChanged(),
  };
}

/** A name whose line has 255 bytes. Brokers lose that line if it is the last one and has no line feed. */
const FILLING = 'n'.repeat(255 - B.length - 1);

const none = { added: 0, updated: 0, unchanged: 0, removed: 0 };

describe('a merge of users into a file', () => {
  test.each<[string, string, string[], string, object]>([
    ['adds users in ascending order to an empty file', '', ['a', 'b'], 'a+\nb+\n', { added: 2 }],
    ['adds users in another order to an empty file', '', ['b', 'c', 'a'], 'b+\nc+\na+\n', { added: 3 }],
    [
      'adds a user who comes twice at the place of the first time',
      '',
      ['a', 'p', 'y', 'p', 'q'],
      'a+\np+\ny+\nq+\n',
      { added: 4 },
    ],
    ['adds users after an empty line', '\n', ['a'], '\na+\n', { added: 1 }],
    ['changes nothing in a file that is the same', 'a+\nb+\n', ['a', 'b'], 'a+\nb+\n', { unchanged: 2 }],
    [
      'changes nothing in a file with the users and others after them',
      'a+\nx=\n',
      ['a'],
      'a+\nx=\n',
      { unchanged: 1 },
    ],
    [
      'changes nothing in a file with the users in another order',
      'b+\na+\n',
      ['a', 'b'],
      'b+\na+\n',
      { unchanged: 2 },
    ],
    ['changes the first line', 'a=\nb+\n', ['a', 'b'], 'a+\nb+\n', { updated: 1, unchanged: 1 }],
    ['changes the last line', 'a+\nb=\n', ['a', 'b'], 'a+\nb+\n', { updated: 1, unchanged: 1 }],
    ['changes adjacent lines', 'a=\nb=\nc=\n', ['a', 'b', 'c'], 'a+\nb+\nc+\n', { updated: 3 }],
    [
      'changes adjacent lines in another order',
      'c=\na=\nb=\n',
      ['a', 'b', 'c'],
      'c+\na+\nb+\n',
      { updated: 3 },
    ],
    [
      'changes and adds lines with CR LF',
      'a=\r\nb=\r\n',
      ['a', 'b', 'c'],
      'a+\r\nb+\r\nc+\r\n',
      { updated: 2, added: 1 },
    ],
    ['changes adjacent lines with different endings', 'a=\r\nb=\n', ['a', 'b'], 'a+\r\nb+\n', { updated: 2 }],
    ['changes lines between others', '#\na=\nx=\nb=\n', ['a', 'b'], '#\na+\nx=\nb+\n', { updated: 2 }],
    ['ends a last line before it adds one', 'a+', ['b'], 'a+\nb+\n', { added: 1 }],
    ['changes a last line without a line feed', 'x=\na=', ['a'], 'x=\na+\n', { updated: 1 }],
    ['finds a name among blanks', ' a\t: x\n', ['a'], 'a+\n', { updated: 1 }],
    ['keeps a further field after the same hash', 'a+:x\n', ['a'], 'a+:x\n', { unchanged: 1 }],
    ['leaves one line of a duplicate name', 'a+\nx=\n a =\na=\n', ['a'], 'a+\nx=\n', { updated: 1 }],
    ['counts a user who comes twice once', 'a=\n', ['a', 'b', 'a'], 'a+\nb+\n', { updated: 1, added: 1 }],
    ['keeps lines that are no users', '#a=\na\n\n:\na\0=\n', ['a'], '#a=\na\n\n:\na\0=\na+\n', { added: 1 }],
    ['of no users changes nothing', 'x=\n', [], 'x=\n', {}],
  ])('%s', (_what, before, names, after, counts) => {
    expect(merge(before, names)).toEqual({
      after,
      counts: { ...none, ...counts },
      hasChanged: after !== before,
    });
  });

  test.each<[string, string, string[], string, object]>([
    ['replaces all other users', 'x=\ny=\n', ['a'], 'a+\n', { added: 1, removed: 2 }],
    ['removes a user after those of the merge', 'a+\nx=\n', ['a'], 'a+\n', { unchanged: 1, removed: 1 }],
    ['removes the only user', 'x=\n', [], '', { removed: 1 }],
    ['keeps comments and lines without a colon', 'x=\n# x=\n\ny\n', [], '# x=\n\ny\n', { removed: 1 }],
    ['counts a removed duplicate name once', 'x=\ny=\n x =\nx=\n', [], '', { removed: 2 }],
    [
      'removes lines without a name, and does not count them',
      ':x\n : \n:\n',
      ['a'],
      'a+\n',
      { added: 1, removed: 1 },
    ],
    ['removes a line of one colon', ':', ['a'], 'a+\n', { added: 1 }],
    [
      'removes lines around those that it changes',
      'x=\ny=\na=\nz=\nb=\nx=\n',
      ['a', 'b'],
      'a+\nb+\n',
      { updated: 2, removed: 3 },
    ],
    [
      'removes lines before a last one without a line feed',
      'x=\na=',
      ['a'],
      'a+\n',
      { updated: 1, removed: 1 },
    ],
    ['removes lines around one that stays', 'x=\na+\ny=\nz=\n', ['a'], 'a+\n', { unchanged: 1, removed: 3 }],
    ['replaces a line with a NUL', 'a+\0x\n', ['a'], 'a+\n', { updated: 1 }],
    [
      'leaves one line of a duplicate name of which one has a NUL',
      'a+\0x\na+\n',
      ['a'],
      'a+\n',
      { updated: 1 },
    ],
    ['replaces a last line that fills a buffer', `${FILLING}+`, [FILLING], `${FILLING}+\n`, { updated: 1 }],
    [
      'removes a line with a colon after a NUL, and does not count it',
      'x\0=\n#\0=\nx\0\n',
      ['a'],
      '#\0=\nx\0\na+\n',
      { added: 1 },
    ],
  ])('with removeOthers %s', (_what, before, names, after, counts) => {
    expect(merge(before, names, true)).toEqual({ after, counts: { ...none, ...counts }, hasChanged: true });
  });
});

test('a delete removes 1,000 adjacent lines as one change', () => {
  const draft = draftOf(Buffer.from(`bob:x\n${'alice:x\n'.repeat(1000)}bob:x\n`));
  draft.delete('alice');
  expect(result(draft.changes()).value).toEqual([{ start: 6, end: 8006, text: '' }]);
});

test('a merge removes 1,000 adjacent lines as one change', () => {
  const draft = draftOf(Buffer.from('x:y\n'.repeat(1000)));
  result(draft.merge(newLines(['b', 'a']), true));
  const { value: changes } = result(draft.changes());
  expect(changes.map(({ start, end }) => [start, end])).toEqual([
    [0, 4000],
    [4000, 4000],
  ]);
});

describe('a long merge yields', () => {
  const names = Array.from({ length: 6_400 }, (_, i) => `user${i}`);
  const stepsOf = (text: string, lines: NewLines) =>
    result(draftOf(Buffer.from(text)).merge(lines, false)).steps;

  test('after 1 KiB of the file', () => {
    expect(stepsOf('\n'.repeat(64_000), newLines(['a']))).toBe(65);
  });

  test('after 64 users who are not in the file', () => {
    const indexing = result(newLines(names).indexed()).steps;
    expect(stepsOf('\n', newLines(names))).toBeGreaterThanOrEqual(indexing + 100);
  });

  test('after each block of lines that the file holds already', () => {
    const lines = newLines([...names].sort());
    const text = Buffer.concat(lines.blocks).toString();
    expect(stepsOf(text, lines)).toBe(lines.blocks.length);
    expect(lines.blocks.length).toBeGreaterThan(10);
  });
});

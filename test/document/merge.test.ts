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

/** Merges users, who all get hash B, into a file. In its text `=` stands for `:` and hash A, `+` for `:` and hash B. */
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

/** A name whose line of 255 bytes brokers lose, where it is the last one and has no line feed. */
const FILLING = 'n'.repeat(255 - B.length - 1);

const none = { added: 0, updated: 0, unchanged: 0, removed: 0 };

describe('users merged into a file', () => {
  test.each<[string, string, string[], string, object]>([
    ['fill an empty one', '', ['a', 'b'], 'a+\nb+\n', { added: 2 }],
    ['fill an empty one in their order', '', ['b', 'c', 'a'], 'b+\nc+\na+\n', { added: 3 }],
    [
      'come in the order of their first rows',
      '',
      ['a', 'p', 'y', 'p', 'q'],
      'a+\np+\ny+\nq+\n',
      { added: 4 },
    ],
    ['follow an empty line', '\n', ['a'], '\na+\n', { added: 1 }],
    ['leave what they are', 'a+\nb+\n', ['a', 'b'], 'a+\nb+\n', { unchanged: 2 }],
    ['leave it where more follows', 'a+\nx=\n', ['a'], 'a+\nx=\n', { unchanged: 1 }],
    ['leave it in another order', 'b+\na+\n', ['a', 'b'], 'b+\na+\n', { unchanged: 2 }],
    ['change the first line', 'a=\nb+\n', ['a', 'b'], 'a+\nb+\n', { updated: 1, unchanged: 1 }],
    ['change the last line', 'a+\nb=\n', ['a', 'b'], 'a+\nb+\n', { updated: 1, unchanged: 1 }],
    ['change lines that follow each other', 'a=\nb=\nc=\n', ['a', 'b', 'c'], 'a+\nb+\nc+\n', { updated: 3 }],
    ['change them in another order', 'c=\na=\nb=\n', ['a', 'b', 'c'], 'c+\na+\nb+\n', { updated: 3 }],
    [
      'change lines with CR LF',
      'a=\r\nb=\r\n',
      ['a', 'b', 'c'],
      'a+\r\nb+\r\nc+\r\n',
      { updated: 2, added: 1 },
    ],
    ['change lines that end unlike each other', 'a=\r\nb=\n', ['a', 'b'], 'a+\r\nb+\n', { updated: 2 }],
    ['change lines among others', '#\na=\nx=\nb=\n', ['a', 'b'], '#\na+\nx=\nb+\n', { updated: 2 }],
    ['end a last line', 'a+', ['b'], 'a+\nb+\n', { added: 1 }],
    ['change a last line without a line feed', 'x=\na=', ['a'], 'x=\na+\n', { updated: 1 }],
    ['take a line for theirs by its name', ' a\t: x\n', ['a'], 'a+\n', { updated: 1 }],
    ['leave further fields of the same hash', 'a+:x\n', ['a'], 'a+:x\n', { unchanged: 1 }],
    ['leave one line of a duplicate name', 'a+\nx=\n a =\na=\n', ['a'], 'a+\nx=\n', { updated: 1 }],
    ['count once where they come twice', 'a=\n', ['a', 'b', 'a'], 'a+\nb+\n', { updated: 1, added: 1 }],
    ['keep what is no user', '#a=\na\n\n:\na\0=\n', ['a'], '#a=\na\n\n:\na\0=\na+\n', { added: 1 }],
    ['may be nobody', 'x=\n', [], 'x=\n', {}],
  ])('%s', (_what, before, names, after, counts) => {
    expect(merge(before, names)).toEqual({
      after,
      counts: { ...none, ...counts },
      hasChanged: after !== before,
    });
  });

  test.each<[string, string, string[], string, object]>([
    ['replace all others', 'x=\ny=\n', ['a'], 'a+\n', { added: 1, removed: 2 }],
    ['replace what follows theirs', 'a+\nx=\n', ['a'], 'a+\n', { unchanged: 1, removed: 1 }],
    ['replace a single line', 'x=\n', [], '', { removed: 1 }],
    ['keep comments and lines without a colon', 'x=\n# x=\n\ny\n', [], '# x=\n\ny\n', { removed: 1 }],
    ['count a duplicate name once', 'x=\ny=\n x =\nx=\n', [], '', { removed: 2 }],
    ['remove lines without a name, and count none', ':x\n : \n:\n', ['a'], 'a+\n', { added: 1, removed: 1 }],
    ['remove a line of one byte', ':', ['a'], 'a+\n', { added: 1 }],
    [
      'remove lines around theirs',
      'x=\ny=\na=\nz=\nb=\nx=\n',
      ['a', 'b'],
      'a+\nb+\n',
      { updated: 2, removed: 3 },
    ],
    [
      'remove lines before a last one without a line feed',
      'x=\na=',
      ['a'],
      'a+\n',
      { updated: 1, removed: 1 },
    ],
    ['remove lines around one that stays', 'x=\na+\ny=\nz=\n', ['a'], 'a+\n', { unchanged: 1, removed: 3 }],
    ['mend a line with a NUL', 'a+\0x\n', ['a'], 'a+\n', { updated: 1 }],
    ['keep the duplicate without a NUL', 'a+\0x\na+\n', ['a'], 'a+\n', { updated: 1 }],
    ['mend a last line that fills a buffer', `${FILLING}+`, [FILLING], `${FILLING}+\n`, { updated: 1 }],
    ['remove a colon behind a NUL, uncounted', 'x\0=\n#\0=\nx\0\n', ['a'], '#\0=\nx\0\na+\n', { added: 1 }],
  ])('alone %s', (_what, before, names, after, counts) => {
    expect(merge(before, names, true)).toEqual({ after, counts: { ...none, ...counts }, hasChanged: true });
  });
});

describe('a long merge yields', () => {
  const names = Array.from({ length: 6_400 }, (_, i) => `user${i}`);
  const stepsOf = (text: string, lines: NewLines) =>
    result(draftOf(Buffer.from(text)).merge(lines, false)).steps;

  test('after 64 lines of the file', () => {
    expect(stepsOf('\n'.repeat(6_400), newLines(['a']))).toBeGreaterThanOrEqual(100);
  });

  test('after 64 users who are not in the file', () => {
    // 100 times while their lines are indexed.
    expect(stepsOf('\n', newLines(names))).toBeGreaterThanOrEqual(200);
  });

  test('after each line that it changes, away from others', () => {
    expect(stepsOf(names.map(name => `${name}:x\n\n`).join(''), newLines(names))).toBeGreaterThanOrEqual(
      6_400,
    );
  });

  test('after each block of lines that the file holds already', () => {
    const lines = newLines([...names].sort());
    const text = Buffer.concat(lines.blocks).toString();
    expect(stepsOf(text, lines)).toBe(lines.blocks.length);
    expect(lines.blocks.length).toBeGreaterThan(10);
  });
});

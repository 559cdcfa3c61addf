import { describe, expect, test } from 'vitest';
import { MAX_FILE_BYTES } from '../../src/document/line.js';
import { NewLines } from '../../src/document/new-lines.js';
import type { PasswordFileError } from '../../src/errors.js';
import { hashPasswordSync } from '../../src/hash/hash.js';

const HASH = hashPasswordSync('secret', { salt: Buffer.alloc(12, 1) });
const LONG = 'x'.repeat(65_535);

function linesOf(...entries: [name: string, hash: string][]): NewLines {
  const lines = new NewLines(101);
  for (const [name, hash] of entries) lines.add(name, hash);
  return lines;
}
const textOf = (lines: NewLines) => Buffer.concat(lines.blocks).toString();

describe('new lines', () => {
  test.each([
    ['of one character', 'a'],
    ['of printable ASCII', 'first !"$%&~ last'],
    ['with a # that is not first', 'a#'],
    ['of letters that are no ASCII', 'é設'],
    ['of 65,535 bytes', LONG],
  ])('accept a name %s', (_what, name) => {
    const lines = linesOf(['é', HASH], [name, HASH], ['last', HASH]);
    lines.flush();
    expect(textOf(lines)).toBe(`é:${HASH}\n${name}:${HASH}\nlast:${HASH}\n`);
    expect(lines).toMatchObject({ count: 3, length: Buffer.byteLength(textOf(lines)) });
  });

  test.each([
    ['that is empty', ''],
    ['that starts with #', '#a'],
    ['that starts with a blank', ' a'],
    ['that ends with a blank', 'a '],
    ['with a colon', 'a:b'],
    ['with a control character', 'a\x1fb'],
    ['with DEL', 'a\x7fb'],
    ['of 65,536 bytes', `${LONG}x`],
    ['with half of a surrogate pair', '\ud800'],
    ['with a colon, and of the length of the name before', 'fi:st'],
  ])('refuse a name %s, and report the number of its entry', (_what, name) => {
    for (const first of ['first', 'é']) {
      const refusal = { code: 'ERR_INVALID_USERNAME', message: expect.stringMatching(/^Entry 2\b/) };
      expect(() => linesOf([first, HASH], [name, HASH], ['last', HASH]).flush()).toThrow(
        expect.objectContaining(refusal),
      );
    }
  });

  test.each([
    ['plain text', 'secret', 'ERR_INVALID_HASH'],
    ['a hash and further text', `${HASH}x`, 'ERR_INVALID_HASH'],
    ['a hash and a further field', `${HASH}:x`, 'ERR_INVALID_HASH'],
    ['a damaged hash of the right length', `${HASH.slice(0, -1)}x`, 'ERR_INVALID_HASH'],
    ['a blank and a hash', ` ${HASH}`, 'ERR_INVALID_HASH'],
    ['a hash with more iterations than allowed', HASH.replace('101', '102'), 'ERR_COST_LIMIT'],
  ])('refuse %s, and report the number and user of the entry', (_what, hash, code) => {
    for (const name of ['bob', 'carol', 'é']) {
      const lines = linesOf(['é', HASH], ['alice', HASH], [name, hash]);
      const refusal = { code, username: name, message: expect.stringContaining(`Entry 3 ("${name}"): `) };
      expect(() => lines.flush()).toThrow(expect.objectContaining(refusal));
    }
  });

  test.each([
    ['after an entry whose name is no ASCII', ['aa', 'é'], 'bb'],
    ['with a name two bytes longer than the hash', ['a'], 'n'.repeat(HASH.length + 2)],
  ])('refuse a damaged hash of the right length in an entry %s', (_what, before, name) => {
    const good = before.map((each): [string, string] => [each, HASH]);
    expect(() => linesOf(...good, [name, 'x'.repeat(HASH.length)]).flush()).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_HASH' }),
    );
  });

  test.each<[string, string, string | undefined]>([
    ['the name before a colon', 'alice:secret', 'alice'],
    ['a name that contains $', 'a$b:secret', 'a$b'],
    ['no user if the name is empty', '', undefined],
    ['no user if the name is a hash', HASH, undefined],
    ['no user if the name has 60 characters of base64', `${'Ab0+/'.repeat(12)}:`, undefined],
    ['a name of 59 characters of base64', `${'Ab0+/'.repeat(12).slice(1)}:`, 'Ab0+/'.repeat(12).slice(1)],
    ['the first 100 characters of a long name', `${'x-'.repeat(60)}:`, 'x-'.repeat(50)],
  ])('report of an entry that is refused %s', (_what, name, username) => {
    const entry = username === undefined ? 'Entry 2: ' : `Entry 2 (${JSON.stringify(username)}): `;
    const isRight = (error: PasswordFileError) =>
      error.username === username && error.message.startsWith(entry);
    expect(() => linesOf(['a', HASH], [name, 'x']).flush()).toThrow(expect.toSatisfy(isRight));
  });

  test('refuse more bytes than a file can hold', () => {
    const size = `a:${HASH}\n`.length;
    const full = Object.assign(linesOf(['a', HASH]), { length: MAX_FILE_BYTES - size });
    expect(() => full.flush()).not.toThrow();
    const overfull = Object.assign(linesOf(['a', HASH]), { length: MAX_FILE_BYTES - size + 1 });
    expect(() => overfull.flush()).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
  });

  test('count the entries of earlier flushes in the number that an error reports', () => {
    const lines = linesOf(['a', HASH], ['b', HASH]);
    lines.flush();
    lines.add('c', HASH);
    lines.add('d', 'secret');
    expect(() => lines.flush()).toThrow('Entry 4 ("d")');
  });

  test.each([
    [['a', 'b', 'é'], true],
    [['a', 'a'], false],
    [['b', 'a', 'c'], false],
    [['a', 'b', 'a'], false],
  ])('know whether names are ascending: %j: %s', (names, expected) => {
    expect(linesOf(...names.map((name): [string, string] => [name, HASH])).isAscending).toBe(expected);
  });

  test('are indexed once, in one buffer', () => {
    const lines = linesOf(['é', HASH], ['b', HASH]);
    lines.flush();
    lines.add('a', HASH);
    lines.flush();
    expect(lines.blocks).toHaveLength(2);
    const index = () => {
      const steps = lines.indexed();
      for (;;) {
        const step = steps.next();
        if (step.done) return step.value;
      }
    };
    const first = index();
    const text = `é:${HASH}\nb:${HASH}\na:${HASH}\n`;
    expect(first.bytes.toString()).toBe(text);
    expect(textOf(lines)).toBe(text);
    expect(['é', 'b', 'a'].map(name => [...first.lines(name)])).toEqual(
      [0, text.indexOf('b:') + 1, text.indexOf('a:') + 1].map(start => [start]),
    );
    expect(index()).toBe(first);
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalLineEnd, LineReader } from '../../src/document/line.js';
import { hashPasswordSync } from '../../src/hash/hash.js';

const HASH = hashPasswordSync('pw', { salt: Buffer.alloc(12, 1) });

/** The properties of a reader at each line, with texts in place of offsets. */
function linesOf(content: string) {
  const reader = new LineReader(Buffer.from(content, 'latin1'));
  const text = (from: number, to: number) => reader.bytes.toString('latin1', from, to);
  const lines = [];
  for (let start = 0; start < reader.bytes.length; start = reader.next) {
    reader.read(start);
    const content = text(start, reader.contentEnd);
    if (reader.nameStart < 0) {
      lines.push({ content });
      continue;
    }
    const { hashStart, hashEnd, ...rest } = reader.fields();
    expect(reader.nameEnd).toBeGreaterThanOrEqual(reader.nameStart);
    const name = text(reader.nameStart, reader.nameEnd);
    lines.push({ content, name, hash: text(hashStart, hashEnd), ...rest });
  }
  return lines;
}

const usual = { hasFurtherField: false, colons: 1 };

describe('a line reader', () => {
  test.each([
    ['alice:x', { name: 'alice', hash: 'x', ...usual }],
    [' alice\t: x \r', { name: 'alice', hash: 'x', ...usual }],
    ['alice:x:y:z', { name: 'alice', hash: 'x', ...usual, hasFurtherField: true }],
    ['\x08alice\x0e:\x1fx', { name: '\x08alice\x0e', hash: '\x1fx', ...usual }],
    ['::alice:: x', { name: 'alice', hash: 'x', ...usual, colons: 4 }],
    ['alice:', { name: 'alice', hash: '', ...usual }],
    [':x', { name: 'x', hash: '', hasFurtherField: false, colons: 1 }],
    [' :x', { name: '', hash: 'x', ...usual }],
    ['::', { name: '', hash: '', hasFurtherField: false, colons: 2 }],
    ['::bob:', { name: 'bob', hash: '', ...usual, colons: 3 }],
    [':: bob\t: ', { name: 'bob', hash: '', ...usual, colons: 3 }],
    ['::bob', { name: 'bob', hash: '', ...usual, colons: 2 }],
    ['alice', {}],
    ['#alice:x', {}],
    ['', {}],
  ])('reads %j', (line, entry) => {
    expect(linesOf(`${line}\nbob:y\n`)).toEqual([
      { content: line, ...entry },
      { content: 'bob:y', name: 'bob', hash: 'y', ...usual },
    ]);
  });

  test.each([
    ['al\0ice:x', 'al', {}],
    ['alice:x\0y:z', 'alice:x', { name: 'alice', hash: 'x', ...usual }],
    ['alice:x:y\0z', 'alice:x:y', { name: 'alice', hash: 'x', ...usual, hasFurtherField: true }],
    ['alice:\0', 'alice:', { name: 'alice', hash: '', ...usual }],
    ['\0', '', {}],
  ])('reads %j up to its NUL', (line, content, entry) => {
    expect(linesOf(`a:b\n${line}\nbob:y`)).toEqual([
      { content: 'a:b', name: 'a', hash: 'b', ...usual },
      { content, ...entry },
      { content: 'bob:y', name: 'bob', hash: 'y', ...usual },
    ]);
  });

  test.each([255, 256, 257, 300])('reads names and hashes of %i bytes up to their colon or NUL', length => {
    const field = 'x'.repeat(length);
    expect(
      linesOf(`${field}:${field}\n${field}:${field}:y:z\n${field}:${field}\0y:z\n${field}\0y:z\n`),
    ).toEqual([
      { content: `${field}:${field}`, name: field, hash: field, ...usual },
      { content: `${field}:${field}:y:z`, name: field, hash: field, hasFurtherField: true, colons: 1 },
      { content: `${field}:${field}`, name: field, hash: field, ...usual },
      { content: field },
    ]);
  });

  test.each([0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 65_792, 131_072, 200_000])(
    'skips runs of %i colons and blanks',
    length => {
      const blanks = ' \t\r\v'.repeat(length).slice(0, length);
      const line = `${':'.repeat(length)}${blanks}a ${blanks}:${':'.repeat(length)}${blanks}x y${blanks}:z`;
      expect(linesOf(`${line}\n${blanks}:${blanks}\nbob:y`)).toEqual([
        { content: line, name: 'a', hash: 'x y', hasFurtherField: true, colons: 2 * length + 1 },
        { content: `${blanks}:${blanks}`, name: '', hash: '', ...usual },
        { content: 'bob:y', name: 'bob', hash: 'y', ...usual },
      ]);
    },
  );

  test('decodes the name of an entry as UTF-8', () => {
    const reader = new LineReader(Buffer.from('#a:x\nab\n\xff:x\nab:x\n', 'latin1'));
    const names = [0, 5, 8, 12].map(start => {
      reader.read(start);
      return reader.name();
    });
    expect(names).toEqual([undefined, undefined, undefined, 'ab']);
    const replaced = new LineReader(Buffer.from('\ufffd:x'));
    replaced.read(0);
    expect(replaced.name()).toBe('\ufffd');
  });

  test('decodes no name that is longer than any client can send', () => {
    const reader = new LineReader(Buffer.from(`${'x'.repeat(65_535)}:\n${'x'.repeat(65_536)}:\n`));
    const lengths = [0, 65_537].map(start => {
      reader.read(start);
      return reader.name()?.length;
    });
    expect(lengths).toEqual([65_535, undefined]);
  });

  test('finds the first NUL or the end of any line, in whatever order it reads the lines', () => {
    const bytes = fc.array(fc.constantFrom('\0', '\n', ':', 'a'), { maxLength: 30 });
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(29), { maxLength: 10 }), (content, order) => {
        const lines = content.join('').split('\n');
        const starts = lines.map((_, i) => lines.slice(0, i).join('\n').length + (i > 0 ? 1 : 0));
        const reader = new LineReader(Buffer.from(lines.join('\n')));
        for (const n of order) {
          const start = starts[n % lines.length] ?? 0;
          const line = lines[n % lines.length] ?? '';
          reader.read(start);
          expect(reader.contentEnd - start).toBe(`${line}\0`.indexOf('\0'));
        }
      }),
    );
  });
});

test.each([
  ['a hash and a line feed', `alice:${HASH}\nbob:x\n`, 6 + HASH.length],
  ['a hash, at the end of the file', `alice:${HASH}`, 6 + HASH.length],
  ['a blank and a ~ in it', `a b~:${HASH}`, 5 + HASH.length],
  ['a # in front', `#alice:${HASH}\n`, -1],
  ['a blank in front', ` alice:${HASH}\n`, -1],
  ['a blank at its end', `alice :${HASH}\n`, -1],
  ['a carriage return', `alice:${HASH}\r\n`, -1],
  ['a further field', `alice:${HASH}:\n`, -1],
  ['a blank before the hash', `alice: ${HASH}\n`, -1],
  ['no colon', 'alice', -1],
  ['no colon before the next line', `alice\nbob:${HASH}\n`, -1],
])('canonicalLineEnd of a name with %s', (_what, text, end) => {
  expect(canonicalLineEnd(Buffer.from(text), 0, 101)).toBe(end);
});

test('canonicalLineEnd finds the end of a line that starts anywhere', () => {
  const before = Buffer.alloc(70_000, 'x');
  const bytes = Buffer.concat([before, Buffer.from(`alice:${HASH}`)]);
  expect(canonicalLineEnd(bytes, before.length, 101)).toBe(bytes.length);
});

test('canonicalLineEnd reads no more of a name than 65,535 bytes', () => {
  const ends = [65_535, 65_536].map(length =>
    canonicalLineEnd(Buffer.from(`${'x'.repeat(length)}:${HASH}`), 0, 101),
  );
  expect(ends).toEqual([65_535 + 1 + HASH.length, -1]);
});

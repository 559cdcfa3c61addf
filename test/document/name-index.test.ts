import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineReader } from '../../src/document/line.js';
import { NameIndex, wantedByAll } from '../../src/document/name-index.js';
import { halfSipHash } from '../../src/util/half-sip-hash.js';
import { indexed, scanTo } from '../support/indexed.js';

const names = Array.from({ length: 3_000 }, (_, i) => `device-${i}`);
const lineOf = (name: string) => `${name}:x\n`;
const bytes = Buffer.from(names.map(lineOf).join(''));

const noSeed = new Uint32Array(2);

/** Two names whose hashes are equal under {@link noSeed}. */
function namesOfEqualHash(): [string, string] {
  const byHash = new Map<number, string>();
  for (let n = 0; ; n++) {
    const name = `user${n}`;
    const hash = halfSipHash(noSeed, Buffer.from(name));
    const other = byHash.get(hash);
    if (other !== undefined) return [other, name];
    byHash.set(hash, name);
  }
}

describe('an index of names', () => {
  test('finds where the line of each name starts', () => {
    const index = indexed(bytes);
    let start = 0;
    const starts = names.map(name => {
      start += lineOf(name).length;
      return start - lineOf(name).length;
    });
    expect(names.flatMap(name => [...index.lines(name)])).toEqual(starts);
    expect(names.map(name => index.firstLine(name))).toEqual(starts);
    for (const name of ['device-3000', 'device-'])
      expect([...index.lines(name), index.firstLine(name)]).toEqual([undefined]);
  });

  test('finds all lines of a name, the last one first', () => {
    const lines = names.slice(0, 1000).map(lineOf);
    const all = [...lines, ...lines, ...lines.slice(500)];
    const index = indexed(Buffer.from(all.join('')));
    const [once, half] = [lines.join('').length, lines.slice(0, 500).join('').length];
    let start = 0;
    const expected = names.slice(0, 1000).map((name, i) => {
      const first = start;
      start += lineOf(name).length;
      return [...(i < 500 ? [] : [2 * once + first - half]), once + first, first];
    });
    expect(names.slice(0, 1000).map(name => [...index.lines(name)])).toEqual(expected);
  });

  test('takes linear time for a name that all lines have', () => {
    // In quadratic time this would not end within an hour.
    const index = indexed(Buffer.from('a:\n'.repeat(300_000)));
    expect([...index.lines('a')]).toHaveLength(300_000);
  });

  test('takes linear time for a name whose first line is very long', () => {
    // Reading the first line again for each further one would take minutes.
    const index = indexed(
      Buffer.from(`a${' '.repeat(5_000_000)}:${'x'.repeat(5_000_000)}\n${'a:\n'.repeat(50_000)}`),
    );
    expect([...index.lines('a')]).toHaveLength(50_001);
  });

  test('finds names of any length and script', () => {
    const odd = [0, 1, 255, 256, 257, 5000].flatMap(length => ['x'.repeat(length), 'é'.repeat(length)]);
    const unique = [...new Set(odd)];
    const lines = unique.map(name => ` ${name} :x\n`);
    const index = indexed(Buffer.from(lines.join('')));
    for (const [i, name] of unique.entries())
      expect([...index.lines(name)]).toEqual([Buffer.byteLength(lines.slice(0, i).join(''))]);
  });

  test.each([
    ['all names are wanted', undefined],
    ['only such a name is wanted', new Set(['x'.repeat(65_536)])],
    ['such a name is wanted beside another', new Set(['x'.repeat(65_535), 'x'.repeat(65_536)])],
  ])('leaves out names that are longer than any client can send, where %s', (_, wanted) => {
    const [longest, tooLong] = [65_535, 65_536].map(length => 'x'.repeat(length)) as [string, string];
    const index = indexed(Buffer.from(`${tooLong}:\n${longest}:\n${tooLong}:\n`), wanted);
    const isWanted = wanted?.has(longest) ?? true;
    expect([longest, tooLong].map(name => [...index.lines(name)])).toEqual([isWanted ? [65_538] : [], []]);
    expect([index.count, index.hasDuplicates]).toEqual([isWanted ? 1 : 0, false]);
    const line = new LineReader(index.bytes);
    line.read(0);
    expect([index.add(line), index.numberOf(line)]).toEqual([true, 0]);
  });

  test('finds the wanted names and no others, if only few are wanted', () => {
    const index = indexed(bytes, new Set(['device-7', 'device-2999', 'nobody']));
    expect([...index.lines('device-7')]).toEqual([bytes.indexOf('device-7:')]);
    expect([...index.lines('device-2999')]).toEqual([bytes.indexOf('device-2999:')]);
    expect([...index.lines('nobody')]).toEqual([]);
    expect([...index.lines('device-8')]).toEqual([]);
  });

  test('finds the lines of the only wanted name, whatever else contains its bytes', () => {
    const unit = fc.constantFrom('a', 'b', ':', ':', '\n', '\n', ' ', '\0');
    const text = fc.string({ unit, maxLength: 40 });
    const name = fc.constantFrom('a', 'b', 'aa', 'ab', 'a b', '', '\n', 'a\n', '\0');
    fc.assert(
      fc.property(text, name, fc.array(fc.nat(40), { maxLength: 4 }), (text, name, limits) => {
        const bytes = Buffer.from(text);
        // What has not arrived yet is unlike what arrives.
        const index = new NameIndex(
          Buffer.alloc(bytes.length, limits.length > 1 ? 'x' : `${name}:\n`),
          new Set([name]),
        );
        for (const limit of [...limits, bytes.length].sort((a, b) => a - b)) {
          bytes.copy(index.bytes, 0, 0, limit);
          scanTo(index, Math.min(limit, bytes.length));
        }
        expect([...index.lines(name)]).toEqual([...indexed(bytes).lines(name)]);
      }),
      { numRuns: 500, examples: [['bbb\nbb\na:x\nbbbbbbbbbb\n', 'a', [5, 5]]] },
    );
  });

  test.each([
    [1, 0],
    [250, 0],
    [251, 39],
  ])('of a file without the only wanted name, of %i bytes, reads lines in %i steps', (length, steps) => {
    const index = new NameIndex(bytes, new Set(['+'.repeat(length)]));
    expect([...index.scan(bytes.length)]).toHaveLength(steps);
  });

  test('finds all names, if many are wanted', () => {
    const index = indexed(bytes, new Set(names.slice(1_000)));
    expect(names.filter(name => [...index.lines(name)].length !== 1)).toEqual([]);
  });

  test('is for the names that all callers want, unless one wants any or all want too many', () => {
    const few = new Set(['a', 'b']);
    expect(wantedByAll([few, new Set(['b', 'c'])])).toEqual(new Set(['a', 'b', 'c']));
    expect(wantedByAll([few, undefined])).toBeUndefined();
    expect(wantedByAll([new Set(names.slice(0, 1022)), few])?.size).toBe(1024);
    expect(wantedByAll([new Set(names.slice(0, 1023)), few])).toBeUndefined();
  });

  test('covers the wanted names, or all', () => {
    const index = indexed(bytes, new Set(['device-7', 'nobody']));
    const covered = [['device-7'], ['nobody', 'device-7'], [], ['device-7', 'device-8']];
    expect(covered.map(names => index.covers(new Set(names)))).toEqual([true, true, true, false]);
    expect(index.covers()).toBe(false);
    expect(indexed(bytes).covers()).toBe(true);
    expect(indexed(bytes).covers(new Set(['device-8']))).toBe(true);
    expect(indexed(bytes, new Set(names)).covers()).toBe(true);
  });

  test('does not cover a name that only has the hash of a wanted one', () => {
    const [wanted, other] = namesOfEqualHash();
    const index = new NameIndex(bytes, new Set([wanted]), noSeed);
    expect([wanted, other].map(name => index.covers(new Set([name])))).toEqual([true, false]);
  });

  test.each([
    ['a:b\n', -1],
    ['a:b\0\n\0', 3],
    ['\0', 0],
  ])('finds the first NUL in %j', (text, at) => {
    const index = indexed(Buffer.from(text));
    expect([index.firstNul, index.firstNul]).toEqual([at, at]);
  });

  test('numbers the names by their first lines, and knows the last line of each', () => {
    const index = indexed(Buffer.from('bob:1\nalice:2\ncarol:3\nbob:4\nalice:5\nbob:6\n'));
    expect(index.count).toBe(3);
    expect([1, 2, 3].map(number => index.lastLine(number))).toEqual([36, 28, 14]);
  });

  test('takes less memory than a file whose lines are as the library writes them', () => {
    const file = Buffer.alloc(1_300_000, `${'device-1:'.padEnd(129, 'x')}\n`);
    const before = process.memoryUsage().arrayBuffers;
    const index = new NameIndex(file);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(index.bytes.length);
  });

  test('yields after a long line', () => {
    const index = new NameIndex(Buffer.from(`a:${'x'.repeat(5_000)}\n`.repeat(60)));
    expect([...index.scan(index.bytes.length)]).toHaveLength(60);
  });

  test('reports of each line whether its name is new', () => {
    const index = new NameIndex(Buffer.from('bob:1\nalice:2\n bob :3\n'));
    const line = new LineReader(index.bytes);
    const added = [0, 6, 14].map(start => {
      line.read(start);
      return index.add(line);
    });
    expect(added).toEqual([true, true, false]);
  });

  test('has a random seed, so that nobody can choose names whose hashes are equal', () => {
    const pair = namesOfEqualHash();
    const bytes = Buffer.from(pair.map(name => `${name}:x\n`).join(''));
    // Names are compared only where their hashes are equal.
    let compared = 0;
    bytes.compare = () => {
      compared++;
      return 1;
    };
    const comparisons = (index: NameIndex) => {
      compared = 0;
      for (const _ of index.scan(bytes.length));
      return compared;
    };
    expect(comparisons(new NameIndex(bytes, undefined, noSeed))).toBe(1);
    expect(comparisons(new NameIndex(bytes))).toBe(0);
  });
});

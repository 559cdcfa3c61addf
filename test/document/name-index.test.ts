/** The tables of names, in files that are larger than their first size. */
import { describe, expect, test } from 'vitest';
import { checkPasswordFile } from '../../src/check/check.js';
import { NameIndex } from '../../src/document/name-index.js';

const HASH = `$7$101$AQIDBAUGBwgJCgsM$${Buffer.alloc(64, 1).toString('base64')}`;

describe('many names', () => {
  // Long lines first: what is to come is then thought to be fewer names than it is.
  const names = Array.from({ length: 30_000 }, (_, i) => `device-${i}`);
  const bytes = Buffer.from(names.map((name, i) => `${name}:${i < 3_000 ? HASH : 'x'}\n`).join(''));

  test('are all found where their lines start', () => {
    const index = new NameIndex(bytes);
    index.scan(bytes.length);
    let start = 0;
    for (const name of names) {
      expect(index.lines(name)).toEqual([start]);
      start = bytes.indexOf('\n', start) + 1;
    }
    expect(index.lines('device-30000')).toEqual([]);
    expect(index.lines('device-')).toEqual([]);
  });

  test('are found in the order of their lines, wherever the table has put them', () => {
    // In some of these a name has the last slot of the table and the first one, when the table grows.
    for (let n = 0; n < 200; n++) {
      const twice = Array.from({ length: 20 }, (_, m) => `${n}-${m}:x\n`.repeat(2)).join('');
      const index = new NameIndex(Buffer.from(twice));
      index.scan(twice.length);
      for (let m = 0, first = 0; m < 20; m++) {
        const { length } = `${n}-${m}:x\n`;
        expect(index.lines(`${n}-${m}`)).toEqual([first, first + length]);
        first += 2 * length;
      }
    }
  });

  test('are found where only these are wanted', () => {
    const index = new NameIndex(bytes, ['device-7', 'device-4999', 'nobody']);
    index.scan(bytes.length);
    expect(index.lines('device-7')).toEqual([bytes.indexOf('device-7:')]);
    expect(index.lines('device-4999')).toEqual([bytes.indexOf('device-4999:')]);
    expect(index.lines('nobody')).toEqual([]);
  });

  test('are found whatever their length and script', () => {
    const odd = [255, 256, 257, 5000].flatMap(length => ['x'.repeat(length), 'é'.repeat(length)]);
    const lines = odd.map(name => `${name}:x\n`);
    const text = Buffer.from(lines.join(''));
    const index = new NameIndex(text);
    index.scan(text.length);
    for (const [i, name] of odd.entries()) {
      expect(index.lines(name)).toEqual([Buffer.byteLength(lines.slice(0, i).join(''))]);
    }
  });

  test('are told apart, and those that stand twice are found', () => {
    const lines = names.slice(0, 10_000).map(name => `${name}:${HASH}\n`);
    const all = [...lines, lines[5], lines[9_999], lines[5_000]].join('');
    const { users, findings } = checkPasswordFile(Buffer.from(all), { broker: '2.0' });
    expect(users).toHaveLength(10_000);
    expect(findings.map(({ line, code, username }) => [line, code, username])).toEqual([
      [10_001, 'DOUBLED_NAME', 'device-5'],
      [10_002, 'DOUBLED_NAME', 'device-9999'],
      [10_003, 'DOUBLED_NAME', 'device-5000'],
    ]);
  });
});

/** The tables of names, in files that are larger than their first size. */
import { describe, expect, test } from 'vitest';
import { checkPasswordFile } from '../src/check.js';
import { NameIndex } from '../src/lines.js';

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

import { expect, test } from 'vitest';
import { Rows } from '../../src/util/rows.js';

test('rows keep their values and their numbers, however many there are', () => {
  const rows = new Rows(2);
  const numbers = Array.from({ length: 10_000 }, (_, i) => rows.add(i, -i));
  expect(numbers).toEqual(Array.from(numbers, (_, i) => i + 1));
  expect(rows.count).toBe(10_000);
  for (const number of [1, 255, 256, 257, 10_000]) {
    expect([rows.get(number, 0), rows.get(number, 1)]).toEqual([number - 1, 1 - number]);
    rows.set(number, 1, 7);
    expect([rows.get(number, 0), rows.get(number, 1)]).toEqual([number - 1, 7]);
  }
});

test('rows are kept in arrays of a fixed size, so that none has to grow', () => {
  const rows = new Rows(2);
  rows.add(1, 2);
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 256; i++) rows.add(i, i);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThanOrEqual(256 * 2 * 4);
});

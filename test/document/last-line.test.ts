import { expect, test } from 'vitest';
import { canBeEnded } from '../../src/document/last-line.js';
import { hashPasswordSync } from '../../src/hash/hash.js';

const HASH = hashPasswordSync('secret', { salt: new Uint8Array(12).fill(1) });
/** A name whose line has 1,255 bytes. Brokers lose that line if it is the last one and has no line feed. */
const filling = (first: string) => first.padEnd(1255 - 1 - HASH.length, 'a');

test.each([
  ['may be ended after 100 steps, if 100 earlier lines have other names', 'a', true],
  ['may not be ended, which takes 99 steps to find out, if the 100th line has its name', 'b', false],
])('a last line that fills a buffer %s', (_, first, canBe) => {
  const earlier = 100;
  // Searching the bytes for the last name, which has so much in common with these, takes the product of their lengths.
  const lines = [
    `${filling(first)}:${HASH}`,
    ...Array.from({ length: earlier - 1 }, () => `${filling('a')}:${HASH}`),
  ];
  const bytes = Buffer.from([...lines.reverse(), `${filling('b')}:${HASH}`].join('\n'));
  const work = canBeEnded(bytes, bytes.lastIndexOf('\n') + 1, false);
  let steps = 0;
  let step = work.next();
  for (; !step.done; step = work.next()) steps++;
  expect(step.value).toBe(canBe);
  expect(steps).toBe(canBe ? earlier : earlier - 1);
});

import { expect, test } from 'vitest';
import { canBeEnded } from '../../src/document/last-line.js';
import { hashPasswordSync } from '../../src/hash/hash.js';

const HASH = hashPasswordSync('secret', { salt: new Uint8Array(12).fill(1) });
/** A name whose line has 1,255 bytes. Brokers lose that line if it is the last one and has no line feed. */
const filling = (first: string) => first.padEnd(1255 - 1 - HASH.length, 'a');

test.each([
  ['another name', 'a', true],
  ['the same name', 'b', false],
])('a last line that fills a buffer is compared with each earlier line, here of %s', (_, first, canBe) => {
  const earlier = 100;
  // A search for the last name in such names takes the product of their lengths.
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

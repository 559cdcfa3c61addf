import { describe, expect, test } from 'vitest';
import { halfSipHash } from '../../src/util/half-sip-hash.js';

describe('halfSipHash', () => {
  test('returns the hashes of the test vectors in Linux', () => {
    // Linux lib/siphash_kunit.c, test_vectors_hsiphash for 32 bits: the first n bytes 00 01 02 … under this key.
    const seed = new Uint32Array([0x03020100, 0x07060504]);
    const vectors = [
      0x5814c896, 0xe7e864ca, 0xbc4b0e30, 0x01539939, 0x7e059ea6, 0x88e3d89b, 0xa0080b65, 0x9d38d9d6,
    ];
    const input = Uint8Array.from(vectors, (_, i) => i);
    expect(vectors.map((_, length) => halfSipHash(seed, input, 0, length) >>> 0)).toEqual(vectors);
  });

  /** How many slots the names take. The low bits of a hash choose its slot. */
  const slotsOf = (seed: Uint32Array, chosen: readonly string[], mask: number) =>
    new Set(chosen.map(name => halfSipHash(seed, Buffer.from(name)) & mask)).size;

  test('spreads inputs that share a slot under one seed over many slots under 100 others', () => {
    const seed = new Uint32Array([0x12345678, 0x9abcdef0]);
    const candidates = Array.from({ length: 110_000 }, (_, i) => `device-${i}`);
    const colliding = candidates.filter(name => (halfSipHash(seed, Buffer.from(name)) & 1023) === 0);
    expect(colliding.length).toBeGreaterThan(80);
    expect(slotsOf(seed, colliding, 1023)).toBe(1);
    for (let n = 0; n < 100; n++) {
      const other = new Uint32Array([n, 0x9abcdef0]);
      expect(slotsOf(other, colliding, 1023), `under seed ${n}`).toBeGreaterThan(colliding.length * 0.75);
    }
  });

  test.each([
    [105_378, 152_372],
    [15_546, 197_778],
    [59_542, 206_234],
    [138_608, 225_511],
    [182_830, 233_244],
    [163_829, 266_736],
    [87_356, 285_654],
    [56_664, 307_153],
  ])(
    'gives two inputs with equal hashes under one seed different hashes under 100 others: device-%i and device-%i',
    (...numbers) => {
      const pair = numbers.map(n => `device-${n}`);
      expect(slotsOf(new Uint32Array([0x12345678, 0x9abcdef0]), pair, -1)).toBe(1);
      for (let n = 0; n < 100; n++) {
        expect(slotsOf(new Uint32Array([0x12345678, n]), pair, -1), `under seed ${n}`).toBe(2);
      }
    },
  );
});

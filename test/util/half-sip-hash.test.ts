import { describe, expect, test } from 'vitest';
import { halfSipHash } from '../../src/util/half-sip-hash.js';

describe('halfSipHash', () => {
  test('agrees with the vectors of Linux', () => {
    // Linux lib/siphash_kunit.c, test_vectors_hsiphash for 32 bits: the first n bytes 00 01 02 … under this key.
    const seed = new Uint32Array([0x03020100, 0x07060504]);
    const vectors = [
      0x5814c896, 0xe7e864ca, 0xbc4b0e30, 0x01539939, 0x7e059ea6, 0x88e3d89b, 0xa0080b65, 0x9d38d9d6,
    ];
    const input = Uint8Array.from(vectors, (_, i) => i);
    expect(vectors.map((_, length) => halfSipHash(seed, input, 0, length) >>> 0)).toEqual(vectors);
  });

  /** Under how many different values of the low bits, which choose the slot, the names are found. */
  const slotsOf = (seed: Uint32Array, chosen: readonly string[], mask: number) =>
    new Set(chosen.map(name => halfSipHash(seed, Buffer.from(name)) & mask)).size;

  test('spreads inputs under 100 seeds that share a slot under another', () => {
    const seed = new Uint32Array([0x12345678, 0x9abcdef0]);
    const candidates = Array.from({ length: 200_000 }, (_, i) => `device-${i}`);
    const colliding = candidates.filter(name => (halfSipHash(seed, Buffer.from(name)) & 1023) === 0);
    expect(colliding.length).toBeGreaterThan(100);
    expect(slotsOf(seed, colliding, 1023)).toBe(1);
    for (let n = 0; n < 100; n++) {
      const other = new Uint32Array([n, 0x9abcdef0]);
      expect(slotsOf(other, colliding, 1023), `under seed ${n}`).toBeGreaterThan(colliding.length * 0.75);
    }
  });

  test('distinguishes inputs under 100 seeds that have the same hash under another', () => {
    const seed = new Uint32Array([0x12345678, 0x9abcdef0]);
    const seen = new Map<number, string>();
    const pairs: string[][] = [];
    for (let i = 0; i < 400_000; i++) {
      const hash = halfSipHash(seed, Buffer.from(`device-${i}`));
      const twin = seen.get(hash);
      if (twin !== undefined) pairs.push([twin, `device-${i}`]);
      seen.set(hash, `device-${i}`);
    }
    expect(pairs.length).toBeGreaterThan(5);
    for (let n = 0; n < 100; n++) {
      const other = new Uint32Array([0x12345678, n]);
      for (const pair of pairs) expect(slotsOf(other, pair, -1), `${pair} under seed ${n}`).toBe(2);
    }
  });
});

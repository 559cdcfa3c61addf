/**
 * HalfSipHash-1-3, as a signed 32-bit number. A keyed hash, for hash tables whose keys an attacker may choose: keys that
 * collide under one seed do not collide under others (J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input
 * PRF", 2012; Linux lib/siphash.c).
 *
 * @param seed two 32-bit words
 */
export function halfSipHash(seed: Uint32Array, bytes: Uint8Array, from = 0, to = bytes.length): number {
  let v0 = seed[0] as number;
  let v1 = seed[1] as number;
  let v2 = 0x6c796765 ^ v0;
  let v3 = 0x74656462 ^ v1;
  const words = (to - from + 4) >> 2;
  for (let round = 0, at = from; round < words + 3; round++) {
    let word = 0;
    if (round === words) v2 ^= 0xff;
    else if (round < words - 1) {
      word = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
      word |= ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24);
      at += 4;
    } else if (round < words) {
      word = (to - from) << 24;
      for (let shift = 0; at < to; at++, shift += 8) word |= (bytes[at] as number) << shift;
    }
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  return v1 ^ v3;
}

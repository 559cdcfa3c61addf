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
    let word = round === words - 1 ? (to - from) << 24 : 0;
    for (let shift = 0; shift < 32 && at < to; shift += 8, at++) word |= (bytes[at] as number) << shift;
    if (round === words) v2 ^= 0xff;
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

import fc from 'fast-check';

/** Any code point, even a lone surrogate. The unit 'binary' of fast-check is the same, but takes a second to create. */
export const codePoint: fc.Arbitrary<string> = fc
  .oneof(fc.integer({ min: 0, max: 0x17f }), fc.integer({ min: 0, max: 0x10_ffff }))
  .map(point => String.fromCodePoint(point));

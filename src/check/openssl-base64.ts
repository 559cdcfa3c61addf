/**
 * Base64 as the broker decodes it: by OpenSSL's `BIO_f_base64` with `BIO_FLAGS_BASE64_NO_NL` (2.0.11
 * src/security_default.c `base64__decode`, 2.1.2 libcommon/base64_common.c). Which lenience that has depends on the
 * OpenSSL it runs with, so both ways are here and only what they agree on counts.
 */

/** What the two ways of OpenSSL made of a text. */
export type Decoded = Uint8Array | 'malformed' | 'depends';

const BLANK = 64;
const HYPHEN = 65;
const INVALID = 66;
const EQUALS = 61;

/** The six bits of each character of base64; over 63: it is none. */
export const SEXTETS = new Uint8Array(256).fill(INVALID);
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
for (let value = 0; value < 64; value++) SEXTETS[ALPHABET.charCodeAt(value)] = value;

/** The value of each character: a sextet (0 for `=`), or what kind of other character it is. */
const VALUES = SEXTETS.slice();
for (const char of ' \t\r\n') VALUES[char.charCodeAt(0)] = BLANK;
VALUES[EQUALS] = 0;
VALUES['-'.charCodeAt(0)] = HYPHEN;

/** BIO_f_base64 reads so much at once. Nothing near that long is a salt or a key. */
const MAX_LENGTH = 1024;

/** RFC 4648 section 4, but for stray bits in the last character: on this all versions agree. */
const WELL_FORMED = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * Decodes base64 as brokers do, whatever OpenSSL they run with; `'depends'`: with some OpenSSL it comes out in a wanted
 * length, with another one not, or as other bytes.
 *
 * @param text each byte a character
 * @param lengths how many bytes may come out; anything else is malformed
 */
export function decodeBase64(text: string, lengths: readonly number[]): Decoded {
  if (text.length > MAX_LENGTH) return 'malformed';
  if (WELL_FORMED.test(text)) {
    const bytes = new Uint8Array(Buffer.from(text, 'base64'));
    return lengths.includes(bytes.length) ? bytes : 'malformed';
  }
  const [older, newer] = [decodeOlder(text), decodeNewer(text)].map(bytes =>
    bytes !== undefined && lengths.includes(bytes.length) ? bytes : undefined,
  );
  if (older === undefined && newer === undefined) return 'malformed';
  if (older === undefined || newer === undefined || Buffer.compare(older, newer) !== 0) return 'depends';
  return older;
}

/** Older OpenSSL (seen: 3.0.19): crypto/evp/bio_b64.c `b64_read` hands whole quads to `EVP_DecodeBlock`. */
function decodeOlder(text: string): Uint8Array | undefined {
  const whole = text.length - (text.length % 4);
  let from = 0;
  let to = whole;
  while (from < to && VALUES[text.charCodeAt(from)] === BLANK && !isLineEnd(text, from)) from++;
  while (to - from > 3 && isSkipped(text, to - 1)) to--;
  if ((to - from) % 4 !== 0) return undefined;
  const padding = text[whole - 1] !== '=' ? 0 : text[whole - 2] !== '=' ? 1 : 2;
  return withoutPadding(decodeQuads(text.slice(from, to)), padding);
}

/** Newer OpenSSL (seen: 3.5.7 and 3.6.5): `b64_read` calls `EVP_DecodeUpdate`, but never `EVP_DecodeFinal`. */
function decodeNewer(text: string): Uint8Array | undefined {
  let quads = '';
  let padding = 0;
  let ended = false;
  for (let i = 0; i < text.length && !ended; i++) {
    const value = VALUES[text.charCodeAt(i)] as number;
    if (value === INVALID) return undefined;
    if (text[i] === '=') padding++;
    else if (padding > 0 && value < BLANK) return undefined;
    if (padding > 2) return undefined;
    if (value === HYPHEN) ended = true;
    else if (value < BLANK) quads += text[i];
  }
  const incomplete = quads.length % 4 !== 0;
  if (incomplete && ended) return undefined;
  // With a last quad that is not full, only the full lines of 64 characters come out.
  const out = incomplete ? quads.slice(0, quads.length - (quads.length % 64)) : quads;
  return withoutPadding(decodeQuads(out), out.split('=').length - 1);
}

/** Three bytes for each four characters, `=` counting as 0. */
function decodeQuads(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array((text.length / 4) * 3);
  for (let i = 0, out = 0; i < text.length; i += 4) {
    let bits = 0;
    for (let j = i; j < i + 4; j++) {
      const value = VALUES[text.charCodeAt(j)] as number;
      if (value >= BLANK) return undefined;
      bits = (bits << 6) | value;
    }
    bytes[out++] = bits >> 16;
    bytes[out++] = bits >> 8;
    bytes[out++] = bits;
  }
  return bytes;
}

function withoutPadding(bytes: Uint8Array | undefined, padding: number): Uint8Array | undefined {
  return bytes !== undefined && bytes.length > padding
    ? bytes.subarray(0, bytes.length - padding)
    : undefined;
}

function isLineEnd(text: string, at: number): boolean {
  return text[at] === '\r' || text[at] === '\n';
}

/** What `EVP_DecodeBlock` strips at the end: blanks, line ends and the hyphen of a PEM footer. */
function isSkipped(text: string, at: number): boolean {
  const value = VALUES[text.charCodeAt(at)];
  return value === BLANK || value === HYPHEN;
}

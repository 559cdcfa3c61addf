import type { LineReader } from '../document/line.js';
import { KEY_BYTES, type Pbkdf2Hash } from '../hash/encoding.js';
import { SEXTETS } from './openssl-base64.js';

const SPACE = 32;
const HASH = 35;
const DOLLAR = 36;
const PLUS = 43;
const DIGIT_0 = 48;
const DIGIT_7 = 55;
const DIGIT_9 = 57;
const COLON = 58;
const EQUALS = 61;
const DELETE = 127;

const MAX_NAME = 65_535;
const BASE64_OF_12_BYTES = 16;
const BASE64_OF_64_BYTES = 88;

/**
 * Whether there is nothing to tell of a line: a name of printable ASCII without `+` and `#`, and right behind it, up to
 * the end of the line, a `$7$` hash in the form of mosquitto_passwd with up to a million iterations. Nearly all lines
 * are such, and a million of them take half a second.
 */
export function isUsualLine(line: LineReader, end: number, saltBytes: readonly number[]): boolean {
  const { bytes, nameStart, nameEnd, start } = line;
  if (nameStart !== start || bytes[nameEnd] !== COLON) return false;
  if (nameStart === nameEnd || nameEnd - nameStart > MAX_NAME) return false;
  for (let i = nameStart; i < nameEnd; i++) {
    const byte = bytes[i] as number;
    if (byte < SPACE || byte >= DELETE || byte === HASH || byte === PLUS) return false;
  }
  return saltBytes.includes(usualSalt(bytes, nameEnd + 1, end));
}

/** The hash of a line, taken apart, where it is a `$7$` hash in its usual form and all there is behind the `:`. */
export function readUsualHash({ bytes, nameEnd, end: to }: LineReader): Pbkdf2Hash | undefined {
  const from = nameEnd + 1;
  const saltBytes = bytes[nameEnd] === COLON ? usualSalt(bytes, from, to) : 0;
  if (saltBytes === 0) return undefined;
  const keyStart = to - BASE64_OF_64_BYTES;
  const saltStart = keyStart - 1 - (saltBytes === 12 ? BASE64_OF_12_BYTES : BASE64_OF_64_BYTES);
  return {
    algorithm: 'pbkdf2-sha512',
    iterations: readNumber(bytes, from + 3, saltStart - 1),
    salt: decoded(bytes, saltStart, saltBytes),
    key: decoded(bytes, keyStart, KEY_BYTES),
  };
}

function readNumber(bytes: Uint8Array, from: number, to: number): number {
  let number = 0;
  for (let i = from; i < to; i++) number = number * 10 + (bytes[i] as number) - DIGIT_0;
  return number;
}

/** So many bytes out of base64 that is in its usual form. */
function decoded(bytes: Uint8Array, from: number, length: number): Uint8Array {
  const out = Buffer.allocUnsafe(length);
  const sextet = (at: number) => SEXTETS[bytes[at] as number] as number;
  for (let i = 0, at = from; i < length; i += 3, at += 4) {
    const bits = (sextet(at) << 18) | (sextet(at + 1) << 12) | (sextet(at + 2) << 6) | sextet(at + 3);
    out[i] = bits >> 16;
    if (i + 1 === length) break;
    out[i + 1] = bits >> 8;
    out[i + 2] = bits;
  }
  return out;
}

/** The length in bytes of the salt of a `$7$` hash in its usual form; 0: it is not in that form. */
export function usualSalt(bytes: Uint8Array, from: number, to: number): number {
  if (bytes[from] !== DOLLAR || bytes[from + 1] !== DIGIT_7 || bytes[from + 2] !== DOLLAR) return 0;
  let at = from + 3;
  if (bytes[at] === DIGIT_0) return 0;
  while ((bytes[at] as number) >= DIGIT_0 && (bytes[at] as number) <= DIGIT_9) at++;
  const digits = at - from - 3;
  if (digits === 0 || digits > 6 || bytes[at] !== DOLLAR) return 0;
  const saltStart = at + 1;
  const keyStart = to - BASE64_OF_64_BYTES;
  const saltLength = keyStart - 1 - saltStart;
  if (bytes[keyStart - 1] !== DOLLAR || !isBase64Of64Bytes(bytes, keyStart)) return 0;
  if (saltLength === BASE64_OF_64_BYTES) return isBase64Of64Bytes(bytes, saltStart) ? 64 : 0;
  return saltLength === BASE64_OF_12_BYTES && isBase64(bytes, saltStart, keyStart - 1) ? 12 : 0;
}

function isBase64Of64Bytes(bytes: Uint8Array, from: number): boolean {
  const padding = from + BASE64_OF_64_BYTES - 2;
  if (bytes[padding] !== EQUALS || bytes[padding + 1] !== EQUALS) return false;
  // What stands before `==` has four bits that are not used.
  return ((SEXTETS[bytes[padding - 1] as number] as number) & 15) === 0 && isBase64(bytes, from, padding);
}

function isBase64(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if ((SEXTETS[bytes[i] as number] as number) > 63) return false;
  return true;
}

import { isBytes, typeName } from '../credentials/rules.js';
import { PasswordFileError, type PasswordFileErrorDetails } from '../errors.js';
import { DOLLAR, EQUALS, SEVEN, ZERO } from '../util/ascii.js';

/**
 * `$7$`: PBKDF2-HMAC-SHA512 (RFC 8018 section 5.2), what Mosquitto 2.x writes.
 *
 * @example const { iterations, salt } = parseHash(hashPasswordSync('secret')) as Pbkdf2Hash; // 101, 12 bytes
 */
export interface Pbkdf2Hash {
  algorithm: 'pbkdf2-sha512';
  /** 1 to 2^31 − 1. Mosquitto 2.0 writes 101, 2.1 writes 1000. */
  iterations: number;
  /** 12 bytes, read by every 2.x, or 64 bytes, read by 2.1 alone. */
  salt: Uint8Array;
  /** 64 bytes. */
  key: Uint8Array;
}

/**
 * `$6$`: SHA-512 of password and salt, what Mosquitto 1.x writes.
 *
 * @example const { salt, key } = parseHash(hashPasswordSync('secret', { algorithm: 'sha512' })) as Sha512Hash;
 */
export interface Sha512Hash {
  algorithm: 'sha512';
  /** 12 bytes, read by every release, or 64 bytes, read by 2.1 alone. */
  salt: Uint8Array;
  /** 64 bytes. */
  key: Uint8Array;
}

/**
 * `$argon2id$` (RFC 9106), read only by brokers that were built with argon2; stock builds are not.
 *
 * @example
 * const hash: Argon2idHash = {
 *   ...{ algorithm: 'argon2id', memory: 47_104, passes: 1, parallelism: 1 },
 *   ...{ salt: new Uint8Array(64), key: new Uint8Array(64) },
 * };
 */
export interface Argon2idHash {
  algorithm: 'argon2id';
  /** Memory in KiB. */
  memory: number;
  /** Number of passes over the memory. */
  passes: number;
  /** Degree of parallelism. */
  parallelism: number;
  /** 12 or 64 bytes; mosquitto_passwd 2.1 writes 64. */
  salt: Uint8Array;
  /** 64 bytes. */
  key: Uint8Array;
}

/**
 * A parsed hash; `algorithm` says which of the three it is.
 *
 * @example const { algorithm }: ParsedHash = parseHash(hashPasswordSync('secret')); // 'pbkdf2-sha512'
 */
export type ParsedHash = Pbkdf2Hash | Sha512Hash | Argon2idHash;

/** All that a key is computed from, except the password. */
export type KeyParams = Omit<Pbkdf2Hash, 'key'> | Omit<Sha512Hash, 'key'> | Omit<Argon2idHash, 'key'>;

/** The key of every hash, in bytes. */
export const KEY_BYTES = 64;
/** `$7$` iterations: what fits a C `int`. */
export const MAX_ITERATIONS = 0x7fff_ffff;
/** These take a thread about a second. */
export const DEFAULT_MAX_ITERATIONS = 1_000_000;
/** The limits for argon2id: memory in KiB; passes; lanes, each of which is a thread (RFC 9106 section 3.1). */
const MAX_MEMORY = 1_048_576;
const MAX_PASSES = 16;
const MAX_LANES = 16;

/**
 * The canonical forms. 64 bytes are 86 characters of base64 and padding, which PHC strings leave out. The last character
 * has four unused bits, which are 0.
 */
const PBKDF2 =
  /^\$7\$([1-9][0-9]{0,9})\$([A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{85}[AQgw]==)\$([A-Za-z0-9+/]{85}[AQgw]==)$/;
const SHA512 = /^\$6\$([A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{85}[AQgw]==)\$([A-Za-z0-9+/]{85}[AQgw]==)$/;
const ARGON2ID =
  /^\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,7})\$([A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{85}[AQgw])\$([A-Za-z0-9+/]{85}[AQgw])$/;
const FORMS =
  '$7$iterations$salt$key (1 to 2147483647 iterations), $6$salt$key and $argon2id$v=19$m=…,t=…,p=…$salt$key (m: at ' +
  'least 8 KiB for each lane p; no padding), where numbers have no leading zero, and the salt (12 or 64 bytes) and the ' +
  'key (64 bytes) are canonical base64';

/**
 * Parses a hash in the canonical form, which mosquitto_passwd writes, and no other: numbers without sign or leading zero,
 * a salt of 12 or 64 bytes and a key of 64, in canonical base64 (RFC 4648 section 4; for argon2id without padding).
 *
 * @throws PasswordFileError `ERR_INVALID_HASH`
 * @example
 * ```ts
 * import { hashPasswordSync, parseHash } from 'mosquitto-passwd-ts';
 *
 * const parsed = parseHash(hashPasswordSync('secret'));
 * if (parsed.algorithm === 'pbkdf2-sha512') console.log(parsed.iterations, parsed.salt.length); // 101 12
 * ```
 */
export function parseHash(hash: string): ParsedHash {
  return parse(hash);
}

function parse(hash: string, details?: PasswordFileErrorDetails): ParsedHash {
  if (typeof hash !== 'string') throw invalid(`is ${typeName(hash)}, not a string`, details);
  const parsed = tryParseHash(hash);
  if (parsed !== undefined) return parsed;
  throw invalid(`has none of the forms ${FORMS}`, details);
}

/** {@link parseHash}, but `undefined` where that throws. */
export function tryParseHash(hash: string): ParsedHash | undefined {
  const pbkdf2 = PBKDF2.exec(hash);
  if (pbkdf2 !== null) {
    const [, iterations, salt, key] = pbkdf2;
    const parsed = { iterations: Number(iterations), salt: decode(salt), key: decode(key) };
    return parsed.iterations > MAX_ITERATIONS ? undefined : { algorithm: 'pbkdf2-sha512', ...parsed };
  }
  const sha512 = SHA512.exec(hash);
  if (sha512 !== null) return { algorithm: 'sha512', salt: decode(sha512[1]), key: decode(sha512[2]) };
  const [, m, t, p, salt, key] = ARGON2ID.exec(hash) ?? [];
  const [memory, passes, parallelism] = [Number(m), Number(t), Number(p)];
  // RFC 9106 section 3.1.
  const isInRange =
    memory < 2 ** 32 && passes < 2 ** 32 && parallelism < 2 ** 24 && memory >= 8 * parallelism;
  if (!isInRange) return undefined;
  return { algorithm: 'argon2id', memory, passes, parallelism, salt: decode(salt), key: decode(key) };
}

/**
 * The inverse of {@link parseHash}.
 *
 * @throws PasswordFileError `ERR_INVALID_HASH` where a part has a length or value that parseHash refuses
 * @example
 * ```ts
 * import { formatHash, hashPasswordSync, parseHash } from 'mosquitto-passwd-ts';
 *
 * const hash = hashPasswordSync('secret');
 * console.log(formatHash(parseHash(hash)) === hash); // true
 * ```
 */
export function formatHash(parsed: ParsedHash): string {
  const given = parsed ?? ({} as ParsedHash);
  const hash = joinHash(given, given.key);
  parseHash(hash);
  return hash;
}

/** {@link formatHash} without its checks. */
export function joinHash(params: KeyParams, key: Uint8Array): string {
  const fields = [base64(params.salt, 'salt'), base64(key, 'key')];
  // join() makes a flat string, of half the memory that a concatenated one takes.
  switch (params.algorithm) {
    case 'pbkdf2-sha512':
      return ['', '7', String(params.iterations), ...fields].join('$');
    case 'sha512':
      return ['', '6', ...fields].join('$');
    case 'argon2id': {
      const [m, t, p] = [params.memory, params.passes, params.parallelism].map(String);
      const unpadded = fields.map(field => field.replaceAll('=', ''));
      return ['', 'argon2id', 'v=19', `m=${m},t=${t},p=${p}`, ...unpadded].join('$');
    }
    default:
      throw invalid('has none of the algorithms pbkdf2-sha512, sha512 and argon2id');
  }
}

/** Throws what {@link parseHash} and {@link assertCost} throw. */
export function assertHash(hash: string, maxIterations: number, details?: PasswordFileErrorDetails): void {
  assertCost(parse(hash, details), maxIterations, details);
}

/** For each byte, 0: not a character of base64; 1: one; 3: one that the encoding of 64 bytes can end with. */
const BASE64 = /* @__PURE__ */ Uint8Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  return /[AQgw]/.test(character) ? 3 : /[A-Za-z0-9+/]/.test(character) ? 1 : 0;
});

/**
 * The end of the canonical `$7$` hash at `start` with at most `maxIterations`; -1: there is none. Takes a tenth of the time
 * of a regular expression: a million hashes are read twice as fast.
 */
export function canonicalHashEnd(bytes: Uint8Array, start: number, maxIterations: number): number {
  if (bytes[start] !== DOLLAR || bytes[start + 1] !== SEVEN || bytes[start + 2] !== DOLLAR) return -1;
  let at = start + 3;
  for (let iterations = 0; bytes[at] !== DOLLAR || iterations === 0; at++) {
    const digit = (bytes[at] as number) - ZERO;
    iterations = iterations * 10 + digit;
    if (!(digit >= 0 && digit <= 9 && iterations > 0 && iterations <= maxIterations)) return -1;
  }
  const salt = at + 1;
  const isShort = bytes[salt + 16] === DOLLAR;
  if (isShort ? !areBase64(bytes, salt, 16) : !isBase64Of64(bytes, salt)) return -1;
  const key = salt + (isShort ? 17 : 89);
  return bytes[key - 1] === DOLLAR && isBase64Of64(bytes, key) ? key + 88 : -1;
}

/** Whether the canonical base64 of 64 bytes starts there: 86 characters and `==`. */
function isBase64Of64(bytes: Uint8Array, start: number): boolean {
  const isLast = BASE64[bytes[start + 85] as number] === 3;
  const isPadded = bytes[start + 86] === EQUALS && bytes[start + 87] === EQUALS;
  return isLast && isPadded && areBase64(bytes, start, 85);
}

/** Whether so many bytes are characters of base64. */
function areBase64(bytes: Uint8Array, start: number, count: number): boolean {
  let all = 1;
  for (let at = start; at < start + count; at++) all &= BASE64[bytes[at] as number] as number;
  return all === 1;
}

/**
 * Throws `ERR_COST_LIMIT` where computing a key would occupy a thread for too long: the computation cannot be aborted,
 * and keeps even `process.exit()` waiting. A stored hash sets its own cost, and an attacker may have written it.
 */
export function assertCost(
  params: KeyParams,
  maxIterations: number,
  details?: PasswordFileErrorDetails,
): void {
  let problem: string | undefined;
  if (params.algorithm === 'pbkdf2-sha512' && params.iterations > maxIterations) {
    problem = `${params.iterations} iterations, and maxIterations allows ${maxIterations}. Use fewer, or raise it (in the library)`;
  } else if (params.algorithm === 'argon2id') {
    const { memory, passes, parallelism } = params;
    if (memory > MAX_MEMORY || passes > MAX_PASSES || parallelism > MAX_LANES) {
      problem =
        `${passes} passes over ${memory} KiB in ${parallelism} lanes, and ${MAX_PASSES} over ${MAX_MEMORY} in ` +
        `${MAX_LANES} are allowed. Give the user a new password`;
    }
  }
  if (problem !== undefined)
    throw new PasswordFileError('ERR_COST_LIMIT', `The hash takes ${problem}.`, details);
}

function decode(base64Text = ''): Uint8Array {
  return new Uint8Array(Buffer.from(base64Text, 'base64'));
}

function base64(bytes: Uint8Array, what: string): string {
  if (!isBytes(bytes)) throw invalid(`has a ${what} that is not a Uint8Array`);
  return Buffer.from(bytes).toString('base64');
}

function invalid(problem: string, details?: PasswordFileErrorDetails): PasswordFileError {
  return new PasswordFileError(
    'ERR_INVALID_HASH',
    `The hash ${problem}. Use a hash that mosquitto_passwd or hashPassword wrote.`,
    details,
  );
}

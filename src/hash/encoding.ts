import { isBytes } from '../credentials/rules.js';
import { PasswordFileError, type PasswordFileErrorDetails } from '../errors.js';

/** `$7$`: PBKDF2-HMAC-SHA512 (RFC 8018 section 5.2), what Mosquitto 2.x writes. */
export interface Pbkdf2Hash {
  algorithm: 'pbkdf2-sha512';
  /** 1 to 2^31 − 1. Mosquitto 2.0 writes 101, 2.1 writes 1000. */
  iterations: number;
  /** 12 bytes, read by every 2.x, or 64 bytes, read by 2.1 alone. */
  salt: Uint8Array;
  /** 64 bytes. */
  key: Uint8Array;
}

/** `$6$`: SHA-512 of password and salt, what Mosquitto 1.x writes. */
export interface Sha512Hash {
  algorithm: 'sha512';
  /** 12 bytes, read by every release, or 64 bytes, read by 2.1 alone. */
  salt: Uint8Array;
  /** 64 bytes. */
  key: Uint8Array;
}

/** `$argon2id$` (RFC 9106), read only by brokers that were built with argon2; stock builds are not. */
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

/** A parsed hash; `algorithm` says which of the three it is. */
export type ParsedHash = Pbkdf2Hash | Sha512Hash | Argon2idHash;

/** All that a key is computed from, except the password. */
export type KeyParams = Omit<Pbkdf2Hash, 'key'> | Omit<Sha512Hash, 'key'> | Omit<Argon2idHash, 'key'>;

/** The key of every hash, in bytes. */
export const KEY_BYTES = 64;
/** `$7$` iterations: what fits a C `int`. */
export const MAX_ITERATIONS = 0x7fff_ffff;
/** In KiB. */
const MAX_MEMORY = 1_048_576;
const MAX_PASSES = 16;

/**
 * Parses a hash. Strict: only the canonical form that mosquitto_passwd writes is accepted, that is canonical base64
 * (RFC 4648 section 4; for argon2id without padding, as the PHC string format has it), decimal numbers without sign or
 * leading zero, a salt of 12 or 64 bytes and a key of 64.
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
  if (typeof hash !== 'string') throw invalid(`is ${hash === null ? 'null' : typeof hash}, not a string`);
  const canonical = parseCanonical(hash);
  if (canonical !== undefined) return canonical;
  const [before, type, ...fields] = hash.split('$');
  if (before !== '' || type === undefined) throw invalid("does not start with '$'");
  if (type === '7') {
    const [iterations = '', salt = '', key = ''] = exactly(fields, 3, '$7$iterations$salt$key');
    return {
      algorithm: 'pbkdf2-sha512',
      iterations: parseNumber(iterations, 'number of iterations', MAX_ITERATIONS),
      salt: parseSalt(salt, true),
      key: parseKey(key, true),
    };
  }
  if (type === '6') {
    const [salt = '', key = ''] = exactly(fields, 2, '$6$salt$key');
    return { algorithm: 'sha512', salt: parseSalt(salt, true), key: parseKey(key, true) };
  }
  if (type === 'argon2id') return parseArgon2id(fields);
  throw invalid('is of none of the types $7$, $6$ and $argon2id$');
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
  const hash = joinHash(parsed, parsed.key);
  parseHash(hash);
  return hash;
}

/** {@link formatHash} without its checks. */
export function joinHash(params: KeyParams, key: Uint8Array): string {
  const fields = [base64(params.salt, 'salt'), base64(key, 'key')];
  // join() makes a flat string, of half the memory that a concatenated one takes.
  switch (params.algorithm) {
    case 'pbkdf2-sha512':
      return ['', '7', params.iterations, ...fields].join('$');
    case 'sha512':
      return ['', '6', ...fields].join('$');
    case 'argon2id': {
      const { memory, passes, parallelism } = params;
      const unpadded = fields.map(field => field.replaceAll('=', ''));
      return ['', 'argon2id', 'v=19', `m=${memory},t=${passes},p=${parallelism}`, ...unpadded].join('$');
    }
    default:
      throw invalid('has none of the algorithms pbkdf2-sha512, sha512 and argon2id');
  }
}

/** A `$7$` hash with a salt of 12 bytes; the last character of a key has four bits that are not used. */
const CANONICAL_HASH = /^\$7\$([1-9][0-9]{0,8})\$([A-Za-z0-9+/]{16})\$([A-Za-z0-9+/]{85}[AQgw]==)$/;

/** {@link parseHash} for the form that nearly all hashes have, which is much faster; `undefined`: it has another form. */
export function parseCanonical(hash: string): Pbkdf2Hash | undefined {
  const [, iterations, salt = '', key = ''] = CANONICAL_HASH.exec(hash) ?? [];
  return iterations === undefined
    ? undefined
    : { algorithm: 'pbkdf2-sha512', iterations: Number(iterations), salt: decode(salt), key: decode(key) };
}

/** Throws what {@link parseHash} and {@link assertCost} throw. */
export function assertHash(hash: string, maxIterations: number): void {
  assertCost(parseHash(hash), maxIterations);
}

const BASE64 = /* @__PURE__ */ Uint8Array.from({ length: 256 }, (_, byte) =>
  /[A-Za-z0-9+/]/.test(String.fromCharCode(byte)) ? 1 : 0,
);
const [DOLLAR, ZERO, SEVEN, EQUALS] = [36, 48, 55, 61];

/**
 * Whether bytes are a canonical `$7$` hash with a salt of 12 bytes that costs no more than this. It answers for a million
 * hashes in a third of the time that the expression takes.
 */
export function isCanonicalHash(bytes: Uint8Array, from: number, to: number, maxIterations: number): boolean {
  const key = to - 88;
  const salt = key - 17;
  if (salt < from + 5 || salt > from + 13) return false;
  let iterations = 0;
  for (let at = from + 3; at < salt - 1; at++) {
    const digit = (bytes[at] as number) - ZERO;
    if (digit < 0 || digit > 9) return false;
    iterations = iterations * 10 + digit;
  }
  const table = BASE64;
  let isBase64 = 1;
  for (let at = salt; at < key - 1; at++) isBase64 &= table[bytes[at] as number] as number;
  for (let at = key; at < to - 2; at++) isBase64 &= table[bytes[at] as number] as number;
  if (isBase64 === 0 || iterations > maxIterations || bytes[from + 3] === ZERO) return false;
  if (bytes[from] !== DOLLAR || bytes[from + 1] !== SEVEN || bytes[from + 2] !== DOLLAR) return false;
  if (bytes[salt - 1] !== DOLLAR || bytes[key - 1] !== DOLLAR) return false;
  const last = bytes[to - 3];
  return (
    (last === 65 || last === 81 || last === 103 || last === 119) &&
    bytes[to - 2] === EQUALS &&
    bytes[to - 1] === EQUALS
  );
}

/**
 * Throws `ERR_COST_LIMIT` where computing a key would take a thread for too long: that cannot be aborted, and keeps even
 * `process.exit()` waiting. A stored hash says itself what it costs, and anybody may have written it.
 */
export function assertCost(
  params: KeyParams,
  maxIterations: number,
  details?: PasswordFileErrorDetails | undefined,
): void {
  let problem: string | undefined;
  if (params.algorithm === 'pbkdf2-sha512' && params.iterations > maxIterations) {
    problem = `${params.iterations} iterations, and maxIterations allows ${maxIterations}. Use fewer, or raise it`;
  } else if (params.algorithm === 'argon2id' && (params.memory > MAX_MEMORY || params.passes > MAX_PASSES)) {
    problem =
      `${params.passes} passes over ${params.memory} KiB, and ${MAX_PASSES} over ${MAX_MEMORY} are allowed. ` +
      'Give the user a new password';
  }
  if (problem !== undefined)
    throw new PasswordFileError('ERR_COST_LIMIT', `The hash takes ${problem}.`, details);
}

function parseArgon2id(fields: string[]): Argon2idHash {
  const [version, costs = '', salt = '', key = ''] = exactly(
    fields,
    4,
    '$argon2id$v=19$m=…,t=…,p=…$salt$key',
  );
  if (version !== 'v=19') throw invalid('has another argon2 version than v=19');
  const [, m, t, p] = /^m=([^,]*),t=([^,]*),p=([^,]*)$/.exec(costs) ?? [];
  if (m === undefined || t === undefined || p === undefined) throw invalid('has no m=…,t=…,p=… field');
  const parallelism = parseNumber(p, 'parallelism p', 2 ** 24 - 1);
  const memory = parseNumber(m, 'memory m', 2 ** 32 - 1);
  if (memory < 8 * parallelism)
    throw invalid('has less than 8 KiB of memory for each lane (RFC 9106 section 3.1)');
  return {
    algorithm: 'argon2id',
    memory,
    passes: parseNumber(t, 'number of passes t', 2 ** 32 - 1),
    parallelism,
    salt: parseSalt(salt, false),
    key: parseKey(key, false),
  };
}

function exactly(fields: string[], count: number, form: string): string[] {
  if (fields.length !== count) throw invalid(`has not the form ${form}`);
  return fields;
}

function parseNumber(text: string, what: string, max: number): number {
  const number = /^[1-9][0-9]{0,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(number <= max)) {
    throw invalid(`has a ${what} that is not a decimal number from 1 to ${max} without sign or leading zero`);
  }
  return number;
}

function parseSalt(text: string, padded: boolean): Uint8Array {
  const salt = parseBase64(text, 'salt', padded);
  if (salt.length !== 12 && salt.length !== 64)
    throw invalid(`has a salt of ${salt.length} bytes, not 12 or 64`);
  return salt;
}

function parseKey(text: string, padded: boolean): Uint8Array {
  const key = parseBase64(text, 'key', padded);
  if (key.length !== KEY_BYTES) throw invalid(`has a key of ${key.length} bytes, not ${KEY_BYTES}`);
  return key;
}

function decode(base64Text: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64Text, 'base64'));
}

function parseBase64(text: string, what: string, padded: boolean): Uint8Array {
  const bytes = decode(text);
  const canonical = base64(bytes, what);
  if (text !== (padded ? canonical : canonical.replaceAll('=', ''))) {
    throw invalid(`has a ${what} that is not canonical base64 ${padded ? 'with' : 'without'} padding`);
  }
  return bytes;
}

function base64(bytes: Uint8Array, what: string): string {
  if (!isBytes(bytes)) throw invalid(`has a ${what} that is not a Uint8Array`);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

function invalid(problem: string): PasswordFileError {
  return new PasswordFileError(
    'ERR_INVALID_HASH',
    `The hash ${problem}. Use a hash that mosquitto_passwd or hashPassword wrote.`,
  );
}

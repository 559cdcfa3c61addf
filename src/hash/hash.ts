import * as crypto from 'node:crypto';
import { assertPassword, comparedPassword, isBytes, ownCopy } from '../credentials/rules.js';
import { invalidArgument, PasswordFileError } from '../errors.js';
import { inNextTurn } from '../util/event-loop.js';
import { type Done, limited } from '../util/limiter.js';
import { type OptionChecks, oneOf, readOptions, whole } from '../util/read-options.js';
import {
  type Argon2idHash,
  assertCost,
  DEFAULT_MAX_ITERATIONS,
  joinHash,
  KEY_BYTES,
  type KeyParams,
  MAX_ITERATIONS,
  type ParsedHash,
  parseHash,
} from './encoding.js';

/**
 * What a hash may cost.
 *
 * @example await verifyPassword('secret', hashPasswordSync('secret'), { maxIterations: 10_000 }); // true
 */
export interface VerifyOptions {
  /**
   * The most iterations of PBKDF2 that are computed, 1 to 2^31 − 1; more are `ERR_COST_LIMIT`. Default 1,000,000, about a
   * second of a thread. For argon2id the limit is 1 GiB, 16 passes and 16 lanes.
   */
  maxIterations?: number | undefined;
}

/**
 * How the hashes of a file are made.
 *
 * @example new PasswordFile('passwd', { hash: { iterations: 1000, saltBytes: 64 } });
 */
export interface FileHashOptions extends VerifyOptions {
  /** Default `'pbkdf2-sha512'`. `'sha512'` is for Mosquitto 1.x brokers only: it is one fast SHA-512. */
  algorithm?: 'pbkdf2-sha512' | 'sha512' | undefined;
  /** Iterations of PBKDF2, up to `maxIterations`. Default 101, as Mosquitto 2.0 writes; 2.1 writes 1000. Not for `'sha512'`. */
  iterations?: number | undefined;
  /** 12, which every 2.x broker reads (default), or 64, as 2.1 writes and 2.0 cannot read. */
  saltBytes?: 12 | 64 | undefined;
}

/**
 * How a hash is made.
 *
 * @example hashPasswordSync('secret', { salt: new Uint8Array(12) }); // the same hash each time
 */
export interface HashOptions extends FileHashOptions {
  /** 12 or 64 bytes, to reproduce a hash, instead of `saltBytes`. Default: `saltBytes` random bytes. */
  salt?: Uint8Array | undefined;
}

/** {@link HashOptions}, checked. */
export type HashSettings = { [K in keyof FileHashOptions]-?: NonNullable<FileHashOptions[K]> } & {
  salt: Uint8Array | undefined;
};

const isIterations = /* @__PURE__ */ whole(1, MAX_ITERATIONS);
export const FILE_HASH_CHECKS = {
  algorithm: /* @__PURE__ */ oneOf('pbkdf2-sha512', 'sha512'),
  iterations: isIterations,
  saltBytes: /* @__PURE__ */ oneOf(12, 64),
  maxIterations: isIterations,
};
const HASH_CHECKS: OptionChecks<HashOptions> = {
  ...FILE_HASH_CHECKS,
  salt: salt =>
    isBytes(salt) && (salt.length === 12 || salt.length === 64)
      ? undefined
      : 'a Uint8Array of 12 or 64 bytes',
};

/**
 * Hashes a password into what follows the `:` in a password file, `$7$101$<salt>$<key>` by default, on the thread pool.
 * Mosquitto 2.0 and 2.1 both read the default (2.0.11 src/security_default.c, 2.1.2 common/password_mosq.c).
 *
 * @param password a string (hashed as UTF-8, not normalised) or bytes; `undefined`, an unset variable, is an error
 * @throws PasswordFileError `ERR_INVALID_PASSWORD`, `ERR_INVALID_ARGUMENT` (options), `ERR_COST_LIMIT`
 * @example
 * ```ts
 * import { hashPassword } from 'mosquitto-passwd-ts';
 *
 * console.log(`alice:${await hashPassword('correct horse battery staple')}`);
 * ```
 */
export async function hashPassword(
  password: string | Uint8Array | undefined,
  options?: HashOptions,
): Promise<string> {
  const own = ownCopy(password);
  assertPassword(own);
  return newHash(own, hashSettings(readOptions(options, HASH_CHECKS)));
}

/** {@link hashPassword} with checked arguments that no caller can change. An abort before the computation starts rejects. */
export async function newHash(
  password: string | Uint8Array,
  settings: HashSettings,
  signal?: AbortSignal,
): Promise<string> {
  const params = newKeyParams(settings);
  const key = await limited<Uint8Array>(done => {
    signal?.throwIfAborted();
    return deriveKey(password, params, done);
  });
  return joinHash(params, key);
}

/**
 * {@link hashPassword}, computed on the calling thread; throws the same errors.
 *
 * @example
 * ```ts
 * import { hashPasswordSync } from 'mosquitto-passwd-ts';
 *
 * console.log(hashPasswordSync('correct horse battery staple', { iterations: 1000 }));
 * ```
 */
export function hashPasswordSync(password: string | Uint8Array | undefined, options?: HashOptions): string {
  assertPassword(password);
  const params = newKeyParams(hashSettings(readOptions(options, HASH_CHECKS)));
  return joinHash(params, deriveKeySync(password, params));
}

/**
 * Whether a broker that has this hash would let a client with this password in. It compares as the broker does: up to
 * the first NUL byte, and never an empty password. The comparison takes the same time wherever the keys differ.
 *
 * @throws PasswordFileError `ERR_INVALID_HASH` (malformed), `ERR_COST_LIMIT`, `ERR_UNSUPPORTED_HASH` (argon2id before
 *   Node 24.7), `ERR_INVALID_PASSWORD` (neither string nor bytes), `ERR_INVALID_ARGUMENT` (options)
 * @example
 * ```ts
 * import { hashPassword, verifyPassword } from 'mosquitto-passwd-ts';
 *
 * const hash = await hashPassword('secret');
 * console.log(await verifyPassword('secret', hash), await verifyPassword('Secret', hash)); // true false
 * ```
 */
export async function verifyPassword(
  password: string | Uint8Array | undefined,
  hash: string,
  options?: VerifyOptions,
): Promise<boolean> {
  const parsed = parseAffordable(hash, options);
  const compared = comparedPassword(password);
  return compared !== undefined && limited<boolean>(done => compareKey(compared, parsed, done));
}

/**
 * {@link verifyPassword}, computed on the calling thread; throws the same errors.
 *
 * @example
 * ```ts
 * import { hashPasswordSync, verifyPasswordSync } from 'mosquitto-passwd-ts';
 *
 * console.log(verifyPasswordSync('secret', hashPasswordSync('secret'))); // true
 * ```
 */
export function verifyPasswordSync(
  password: string | Uint8Array | undefined,
  hash: string,
  options?: VerifyOptions,
): boolean {
  const parsed = parseAffordable(hash, options);
  const compared = comparedPassword(password);
  return compared !== undefined && crypto.timingSafeEqual(parsed.key, deriveKeySync(compared, parsed));
}

/** A job for {@link limited}: derives the key of a password and compares it with that of the hash. */
export function compareKey(password: string | Uint8Array, hash: ParsedHash, done: Done<boolean>): number {
  return deriveKey(password, hash, (error, key) =>
    done(error, !error && crypto.timingSafeEqual(hash.key, key)),
  );
}

function parseAffordable(hash: string, options: VerifyOptions | undefined): ParsedHash {
  const checks = { maxIterations: isIterations };
  const { maxIterations = DEFAULT_MAX_ITERATIONS } = readOptions<VerifyOptions>(options, checks);
  const parsed = parseHash(hash);
  assertCost(parsed, maxIterations);
  return parsed;
}

/** Fills in defaults, and checks what concerns two options. Each value has been checked before. */
export function hashSettings(given: HashOptions): HashSettings {
  const { algorithm = 'pbkdf2-sha512', iterations = 101, saltBytes = 12, salt } = given;
  const { maxIterations = DEFAULT_MAX_ITERATIONS } = given;
  if (salt !== undefined && given.saltBytes !== undefined)
    throw invalidArgument('Give either salt or saltBytes.');
  assertCost({ algorithm, iterations } as KeyParams, maxIterations);
  return { algorithm, iterations, saltBytes, maxIterations, salt: salt && new Uint8Array(salt) };
}

function newKeyParams(settings: HashSettings): KeyParams {
  const { algorithm, iterations, saltBytes, salt = newSalt(saltBytes) } = settings;
  return algorithm === 'sha512' ? { algorithm, salt } : { algorithm, iterations, salt };
}

let randomness: Uint8Array = /* @__PURE__ */ new Uint8Array();

/** Draws random bytes for many salts at once: drawing them for each salt takes up to 7 % of the time of its hash. */
function newSalt(bytes: number): Uint8Array {
  if (randomness.length < bytes) randomness = crypto.randomBytes(4096);
  const salt = randomness.subarray(0, bytes);
  randomness = randomness.subarray(bytes);
  return salt;
}

/** What a job costs besides its iterations, as a number of iterations. */
const JOB_COST = 20;

/** A job for {@link limited}: derives the key of a password. Returns the job's cost. */
function deriveKey(password: string | Uint8Array, params: KeyParams, done: Done<Uint8Array>): number {
  switch (params.algorithm) {
    case 'pbkdf2-sha512':
      crypto.pbkdf2(password, params.salt, params.iterations, KEY_BYTES, 'sha512', done);
      return JOB_COST + params.iterations;
    case 'argon2id':
      argon2('argon2', password, params, done);
      return params.memory * params.passes;
    default:
      // Computed on this thread. The job ends in the next turn, so that many of them let the event loop turn.
      inNextTurn(done, null, deriveKeySync(password, params));
      return 100;
  }
}

function deriveKeySync(password: string | Uint8Array, params: KeyParams): Uint8Array {
  switch (params.algorithm) {
    case 'pbkdf2-sha512':
      return crypto.pbkdf2Sync(password, params.salt, params.iterations, KEY_BYTES, 'sha512');
    case 'argon2id':
      return argon2('argon2Sync', password, params);
    default:
      return crypto.createHash('sha512').update(password).update(params.salt).digest();
  }
}

/** `crypto.argon2` or its Sync twin, which @types/node for Node 20 does not declare. */
function argon2(
  name: 'argon2' | 'argon2Sync',
  message: string | Uint8Array,
  { memory, passes, parallelism, salt: nonce }: Omit<Argon2idHash, 'key'>,
  done?: Done<Uint8Array>,
): Uint8Array {
  const { [name]: derive } = crypto as { [name: string]: unknown };
  if (typeof derive === 'function') {
    const options = { message, nonce, memory, passes, parallelism, tagLength: KEY_BYTES };
    return derive('argon2id', options, done);
  }
  throw new PasswordFileError(
    'ERR_UNSUPPORTED_HASH',
    `Node ${process.versions.node} cannot compute argon2id; Node 24.7 and later can. ` +
      'Update Node, or give the user a new password (hashed with PBKDF2).',
  );
}

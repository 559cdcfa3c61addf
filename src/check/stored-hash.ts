import { MAX_BYTES } from '../credentials/rules.js';
import { KEY_BYTES, type Pbkdf2Hash, type Sha512Hash } from '../hash/encoding.js';

/**
 * The release lines of the broker whose rules differ: 2.0.x, and 2.1.x with its password-file plugin.
 *
 * @example const oldest: BrokerRelease = '2.0';
 */
export type BrokerRelease = '2.0' | '2.1';

/** What a broker compares a user's password with. */
export type LoadedHash = Pbkdf2Hash | Sha512Hash;

/** Why a broker cannot read a hash, as the kind of a finding. */
export type HashFault =
  | 'MISSING_HASH'
  | 'LONG_HASH'
  | 'PLAIN_TEXT'
  | `UNSUPPORTED_HASH.${'argon2id' | 'type'}`
  | `MALFORMED_HASH.${'fields' | 'iterations' | 'salt' | 'key'}`
  | 'LONG_SALT.refused';

/** The outcome of {@link readBrokerHash}: either the hash or the reason why there is none. */
export type HashReading = { hash: LoadedHash; fault?: undefined } | { hash?: undefined; fault: HashFault };

/**
 * Reads a hash as a broker of this release does, which is more lenient than {@link parseHash}: runs of `$` count as
 * one, what follows the key is ignored, the iterations are read by C `atoi`. 2.0 splits the whole field at `$`, so that
 * the first `$` may be missing; 2.1 insists on `$7$` or `$6$`. Sources: 2.0.11 src/security_default.c
 * `unpwd__decode_passwords`, 2.1.2 libcommon/password_common.c `mosquitto_pw_decode`.
 *
 * @param field what follows the `:`, trimmed, each byte a character
 * @returns the hash, or why the broker cannot read it
 */
export function readBrokerHash(field: string, release: BrokerRelease): HashReading {
  if (field === '') return { fault: 'MISSING_HASH' };
  if (field.length > MAX_BYTES) return { fault: 'LONG_HASH' };
  // As C `strtok` splits it.
  const [type, ...fields] = field.match(/[^$]+/g) ?? [];
  if ((type !== '7' && type !== '6') || (release === '2.1' && !/^\$[67]\$/.test(field))) {
    if (!looksLikeHash(field)) return { fault: 'PLAIN_TEXT' };
    return { fault: type === 'argon2id' ? 'UNSUPPORTED_HASH.argon2id' : 'UNSUPPORTED_HASH.type' };
  }
  const [count, saltText, keyText] = type === '7' ? fields : ['1', ...fields];
  if (count === undefined || saltText === undefined || keyText === undefined)
    return { fault: 'MALFORMED_HASH.fields' };
  const iterations = atoi(count);
  if (iterations < 1) return { fault: 'MALFORMED_HASH.iterations' };
  const salt = decodeBase64(saltText);
  if (salt === undefined) return { fault: 'MALFORMED_HASH.salt' };
  if (release === '2.0' && salt.length === 64) return { fault: 'LONG_SALT.refused' };
  const key = decodeBase64(keyText);
  if (key?.length !== KEY_BYTES) return { fault: 'MALFORMED_HASH.key' };
  if (type === '6') return { hash: { algorithm: 'sha512', salt, key } };
  return { hash: { algorithm: 'pbkdf2-sha512', iterations, salt, key } };
}

/**
 * 12 or 64 bytes (RFC 4648 section 4). Stray bits in the last character are allowed, because every OpenSSL ignores them.
 * Only some versions ignore other damage, so it counts as malformed (2.0.11 src/security_default.c `base64__decode`,
 * 2.1.2 libcommon/base64_common.c: `BIO_f_base64`, whose decoder changed between OpenSSL 3.0.19 and 3.5.7).
 */
const BASE64 = /^(?:[A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{86}==)$/;

function decodeBase64(text: string): Uint8Array | undefined {
  return BASE64.test(text) ? new Uint8Array(Buffer.from(text, 'base64')) : undefined;
}

/**
 * Whether a broker may read a hash with this fault all the same: its OpenSSL may ignore damaged base64, and its `atoi` may
 * make a positive number of iterations for which {@link atoi} returns 0.
 */
export function mayBeRead(fault: HashFault): boolean {
  return fault.startsWith('MALFORMED_HASH') && fault !== 'MALFORMED_HASH.fields';
}

/**
 * C `atoi`: skips blanks and a plus sign, reads digits up to the first other character, and keeps 32 bits. Returns 0 for
 * another sign, and for over 18 digits: these may exceed a 64-bit integer, of which C makes -1.
 */
function atoi(text: string): number {
  const [, digits = ''] = /^[\t-\r ]*\+?0*([0-9]*)/.exec(text) ?? [];
  return digits.length > 18 ? 0 : Number(BigInt.asIntN(32, BigInt(digits)));
}

/**
 * Whether a field looks like a hash, perhaps a damaged or foreign one, and not like a password in plain text: it begins
 * like a hash (`$7`, `7$`, `$argon2`) or has 60 characters of base64 after a `$`.
 *
 * @param field what follows the `:`, trimmed
 */
export function looksLikeHash(field: string): boolean {
  return /^\$+(?:[0-9]|argon2)|^[67]\$|\$[A-Za-z0-9+/]{60}/.test(field);
}

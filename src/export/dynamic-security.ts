import { canBeSent } from '../credentials/rules.js';
import { PasswordFileError } from '../errors.js';
import { type ParsedHash, parseHash } from '../hash/encoding.js';
import { type Entries, forEachEntry } from '../util/entries.js';

/** A client as it stands in the list `clients` of the plugin's JSON file, in one of the two forms. */
export interface DynamicSecurityClient {
  username: string;
  /** Base64 of the key; together with `salt` and `iterations` the form that Mosquitto 2.0 and 2.1 both read. */
  password?: string;
  /** Base64 of the salt. */
  salt?: string;
  /** Iterations of PBKDF2. */
  iterations?: number;
  /** The whole hash (`$7$…`, `$6$…`): the form that only Mosquitto 2.1 reads. */
  encoded_password?: string;
  /** Absent: without a role the plugin allows what `defaultACLAccess` allows, by default no publish and no subscribe. */
  roles?: Array<{ rolename: string }>;
}

/** How clients are exported. */
export interface DynamicSecurityOptions {
  /** The oldest release that is to read the clients. Default `'2.0'`, whose form 2.1 reads too. */
  broker?: '2.0' | '2.1' | undefined;
  /** The roles of each client, which must stand in the plugin's file: a broker ignores the others. Default: none. */
  roles?: Iterable<string> | undefined;
}

/** A user that is not among the clients, and why. */
export interface SkippedUser {
  username: string;
  reason: string;
}

/**
 * Makes clients for the JSON file of Mosquitto's dynamic-security plugin out of users and their hashes, so that devices
 * keep their passwords. It does no I/O. Put the clients into the list `clients` of a file that `mosquitto_ctrl dynsec init` made,
 * while the broker is stopped: the plugin reads its file only at start, and overwrites it.
 *
 * The clients are in descending order of their names: a broker starts in linear time with it, and in quadratic time with
 * ascending order. The last of duplicate names wins. What brokers read was measured with 2.0.11, 2.0.21 and 2.1.2: 2.0 reads
 * `$7$` hashes with 12-byte salts, 2.1 all `$7$` and `$6$` hashes; both refuse other clients without a word.
 *
 * @param entries pairs of user name and hash
 * @returns the clients, and the users that the release cannot let in with the reason for each
 * @throws PasswordFileError `ERR_INVALID_ARGUMENT`
 * @example
 * ```ts
 * import { exportDynamicSecurity, hashPassword } from 'mosquitto-passwd-ts';
 *
 * const rows = [['device_1', await hashPassword('secret')] as const];
 * const { clients, skipped } = await exportDynamicSecurity(rows, { roles: ['device'] });
 * console.log(JSON.stringify(clients), skipped.length); // [{"username":"device_1","password":"…",…}] 0
 * ```
 */
export async function exportDynamicSecurity(
  entries: Entries<string>,
  options: DynamicSecurityOptions = {},
): Promise<{ clients: DynamicSecurityClient[]; skipped: SkippedUser[] }> {
  const { release, roles } = readOptions(options);
  const clients = new Map<string, DynamicSecurityClient>();
  const skipped = new Map<string, string>();
  await forEachEntry(entries, (username, hash, number) => {
    if (typeof username !== 'string') throw invalid(`The user name of entry ${number} is not a string.`);
    clients.delete(username);
    skipped.delete(username);
    const converted = convert(username, hash, release);
    if (typeof converted === 'string') skipped.set(username, converted);
    else clients.set(username, roles.length === 0 ? converted : { ...converted, roles: [...roles] });
  });
  return {
    clients: [...clients.values()].sort((a, b) => (a.username < b.username ? 1 : -1)),
    skipped: Array.from(skipped, ([username, reason]) => ({ username, reason })),
  };
}

/** The client without its roles, or why there is none. */
function convert(username: string, hash: unknown, release: '2.0' | '2.1'): DynamicSecurityClient | string {
  // Not a matter of taste: a lone surrogate makes the whole file unreadable to a broker, and a NUL ends the name there.
  if (!canBeSent(username)) {
    return 'No MQTT client can send this user name: it is empty, too long or has characters that brokers refuse.';
  }
  let parsed: ParsedHash;
  try {
    parsed = parseHash(hash as string);
  } catch (error) {
    return (error as Error).message;
  }
  if (parsed.algorithm === 'argon2id') return 'Stock builds of Mosquitto read no argon2id hash.';
  if (release === '2.1') return { username, encoded_password: hash as string };
  if (parsed.algorithm === 'sha512') return 'The plugin of Mosquitto 2.0 reads no $6$ hash.';
  const { salt, iterations, key } = parsed;
  if (salt.length !== 12)
    return `The plugin of Mosquitto 2.0 reads no salt of ${salt.length} bytes, only 12.`;
  return { username, password: base64(key), salt: base64(salt), iterations };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

function readOptions(options: DynamicSecurityOptions): {
  release: '2.0' | '2.1';
  roles: Array<{ rolename: string }>;
} {
  if (typeof options !== 'object' || options === null) throw invalid('The options must be an object.');
  for (const name of Object.keys(options)) {
    if (name !== 'broker' && name !== 'roles')
      throw invalid(`There is no option ${name}: only broker and roles.`);
  }
  const { broker = '2.0', roles = [] } = { ...options };
  if (broker !== '2.0' && broker !== '2.1') throw invalid("The option broker must be '2.0' or '2.1'.");
  if (typeof roles === 'string' || typeof roles?.[Symbol.iterator] !== 'function') {
    throw invalid('The option roles must be a list of role names.');
  }
  const names = [...new Set(roles)];
  if (!names.every(name => typeof name === 'string' && canBeSent(name))) {
    throw invalid('A role in the option roles has no name that brokers read.');
  }
  return { release: broker, roles: names.map(rolename => ({ rolename })) };
}

function invalid(message: string): PasswordFileError {
  return new PasswordFileError('ERR_INVALID_ARGUMENT', message);
}

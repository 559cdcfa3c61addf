import { canBeSent } from '../credentials/rules.js';
import { tryParseHash } from '../hash/encoding.js';
import { type Entries, forEachEntry } from '../util/entries.js';
import { invalidOption, type OptionCheck, oneOf, readOptions } from '../util/read-options.js';

/**
 * A client in the list `clients` of the plugin's JSON file, with `password`, `salt` and `iterations`, or with
 * `encoded_password`.
 *
 * @example
 * const rows = [['alice', await hashPassword('secret')] as const];
 * const [alice]: DynamicSecurityClient[] = (await exportDynamicSecurity(rows)).clients;
 */
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
  /** Absent: none. The plugin then allows what `defaultACLAccess` allows, by default no publish and no subscribe. */
  roles?: Array<{ rolename: string }>;
}

/**
 * How clients are exported.
 *
 * @example await exportDynamicSecurity(new PasswordFile('passwd').entries(), { broker: '2.1' });
 */
export interface DynamicSecurityOptions {
  /** The oldest release that is to read the clients. Default `'2.0'`, whose form 2.1 reads too. */
  broker?: '2.0' | '2.1' | undefined;
  /** The roles of each client, which must be in the plugin's file: a broker ignores the others. Default: none. */
  roles?: Iterable<string> | undefined;
}

/**
 * A user that is not among the clients, and why.
 *
 * @example
 * const { skipped } = await exportDynamicSecurity(new PasswordFile('passwd').entries());
 * for (const { username, reason } of skipped satisfies SkippedUser[]) console.log(username, reason);
 */
export interface SkippedUser {
  username: string;
  reason: string;
}

/**
 * Makes clients for the JSON file of Mosquitto's dynamic-security plugin out of users and their hashes, so that devices
 * keep their passwords. It does no I/O. Put the clients into the list `clients` of a file that `mosquitto_ctrl dynsec
 * init` made, while the broker is stopped: the plugin reads its file only at start, and overwrites it.
 *
 * The clients are in descending order of their names, because a broker's start takes quadratic time in ascending order.
 * The last of duplicate names wins. Measured with Mosquitto 2.0.11, 2.0.21 and 2.1.2: the plugin of 2.0 reads `$7$` hashes
 * with 12-byte salts, that of 2.1 all `$7$` and `$6$` hashes. Both ignore other hashes without a log line.
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
  const { broker = '2.0', roles: names = [] } = readOptions(options, {
    broker: oneOf('2.0', '2.1'),
    roles: isList,
  });
  const roles = [...new Set(names)].map(rolename => ({ rolename }));
  if (!roles.every(({ rolename }) => typeof rolename === 'string' && canBeSent(rolename))) {
    throw invalidOption('roles', ROLES);
  }
  const converted = new Map<string, DynamicSecurityClient | string>();
  await forEachEntry(entries, (username, hash, number) => {
    if (typeof username !== 'string') throw invalidOption(`The user name of entry ${number}`, 'a string');
    converted.set(username, convert(username, hash, broker));
  });
  const clients: DynamicSecurityClient[] = [];
  const skipped: SkippedUser[] = [];
  for (const [username, client] of converted) {
    if (typeof client === 'string') skipped.push({ username, reason: client });
    else clients.push(roles.length === 0 ? client : { ...client, roles: [...roles] });
  }
  return { clients: clients.sort((a, b) => (a.username < b.username ? 1 : -1)), skipped };
}

/** The client without its roles, or why there is none. */
function convert(username: string, given: unknown, release: '2.0' | '2.1'): DynamicSecurityClient | string {
  // A lone surrogate makes the whole JSON file unreadable to a broker, and a NUL ends the name there.
  if (!canBeSent(username)) {
    return 'No MQTT client can send this user name: it is empty, too long or has characters that brokers refuse.';
  }
  const hash = typeof given === 'string' ? given : '';
  const parsed = tryParseHash(hash);
  if (parsed === undefined) return 'This is not a hash that mosquitto_passwd or hashPassword wrote. Use one.';
  if (parsed.algorithm === 'argon2id') return 'Stock builds of Mosquitto read no argon2id hash.';
  if (release === '2.1') return { username, encoded_password: hash };
  if (parsed.algorithm === 'sha512') return 'The plugin of Mosquitto 2.0 reads no $6$ hash.';
  if (parsed.salt.length !== 12) return 'The plugin of Mosquitto 2.0 reads no salt of 64 bytes, only 12.';
  const [salt = '', key = ''] = hash.split('$').slice(3);
  return { username, password: key, salt, iterations: parsed.iterations };
}

const ROLES = 'a list of names that roles can have';
const isList: OptionCheck = value =>
  typeof value === 'object' && value !== null && Symbol.iterator in value ? undefined : ROLES;

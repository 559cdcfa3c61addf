/** Adds the users of a password file to the file of Mosquitto's dynamic-security plugin. */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { type DynamicSecurityClient, exportDynamicSecurity, type PasswordFile } from '../index.js';
import type { Command } from './arguments.js';
import { describe, interruption } from './input.js';
import { CliError, complain, inform, Skipped, STATUS } from './output.js';

/** An object in the plugin's file. Its fields may hold anything. */
type Item = Record<string, unknown>;

/** The plugin's file, as far as it is checked. */
type Config = Item & { clients: unknown[] };

/** With more clients of one role, the broker starts slowly. */
const MANY = 10_000;

export async function exportClients({ path, given }: Command, file: PasswordFile): Promise<number> {
  const configPath = given.get('--dynsec') ?? '';
  const role = given.get('--role');
  const leftOut = new Skipped(path);
  const leaveOut = (username: string, reason: string) =>
    leftOut.report({ line: 0, severity: 'error', message: `User ${username}: ${reason}` });
  const { clients, skipped } = await exportDynamicSecurity(
    file.entries({ signal: interruption(), onSkipped: leftOut.report }),
    { broker: given.get('--broker') === '2.1' ? '2.1' : '2.0', roles: role === undefined ? [] : [role] },
  );
  const { bytes, stats } = read(configPath);
  const config = parse(configPath, bytes);
  if (role !== undefined) assertRole(configPath, config, role);
  const merged = merge(configPath, config, clients, given.has('--force'));
  for (const { username, reason } of skipped) leaveOut(username, reason);
  for (const name of merged.admins) {
    leaveOut(name, `In ${configPath} this client is an administrator, and stays.`);
  }
  const isChanged = merged.added + merged.replaced > 0;
  // Indented by tabs, as Mosquitto 2.0 writes it.
  if (isChanged) replace(configPath, stats, `${JSON.stringify(merged.config, undefined, '\t')}\n`);
  const isQuiet = given.has('--quiet');
  inform(`Clients in ${configPath}: ${merged.added} added, ${merged.replaced} replaced.\n`, isQuiet);
  if (isChanged) inform(NOTES, isQuiet);
  if (!isQuiet) warnOfMany(merged.config, role);
  return leftOut.status;
}

/** A file that has just been made has only the role of the administrator, which no device must have. */
function assertRole(path: string, { roles }: Config, role: string): void {
  const found = objects(roles).find(({ rolename }) => rolename === role);
  const remedy = 'with mosquitto_ctrl dynsec createRole';
  if (found === undefined) throw new CliError(`${path} has no role ${role}. Make it ${remedy}.`);
  if (isAdminRole(found)) {
    throw new CliError(`The role ${role} in ${path} is for administrators. Make another one ${remedy}.`);
  }
}

const NOTES = `\
A broker that ran meanwhile does not read this, and overwrites it. Then stop the broker and repeat this.
Keep a copy for Mosquitto 2.0: it cannot read the file once 2.1 has saved it.
`;

function warnOfMany({ clients }: Config, role: string | undefined): void {
  const count = role === undefined ? 0 : objects(clients).filter(client => hasRole(client, role)).length;
  if (count <= MANY) return;
  complain(
    `Warning: ${count} clients have the role ${role}. With 100,000 of one role a broker starts in 1 to 4 s, but ` +
      'once it has saved the file itself, in another order, with 20,000 in 10 to 104 s. ' +
      'Keep the password file, or use several roles.\n',
  );
}

/**
 * Reads a file, and makes its directory the working directory, so that nobody can redirect the replacement of the file
 * to another one.
 */
export function read(path: string): { bytes: Buffer; stats: fs.Stats } {
  const absolute = resolve(path);
  const name = basename(absolute);
  try {
    process.chdir(dirname(absolute));
    if (process.platform !== 'win32' && fs.realpathSync.native(name) !== absolute) {
      throw new CliError(`There is a symbolic link in ${path}. Pass the path without it.`);
    }
    // O_NONBLOCK: to open a FIFO would block.
    const fd = fs.openSync(name, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
    const stats = fs.fstatSync(fd);
    if (!stats.isFile()) throw new CliError(`${path} is not a file.`);
    const bytes = fs.readFileSync(fd);
    fs.closeSync(fd);
    return { bytes, stats };
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`Unable to open file ${path}. ${describe(error)}.`);
  }
}

/** Replaces a file in the working directory atomically. It keeps its owner and mode. */
export function replace(path: string, { uid, gid, mode }: fs.Stats, text: string): void {
  const temp = `.${randomBytes(12).toString('hex')}.tmp`;
  let status: number = STATUS.FAILED;
  try {
    const fd = fs.openSync(temp, 'wx', 0o600);
    fs.writeFileSync(fd, text);
    fs.fchownSync(fd, uid, gid);
    fs.fchmodSync(fd, mode & 0o777);
    fs.fsyncSync(fd);
    fs.renameSync(temp, basename(path));
    status = STATUS.CHANGED_BUT;
    // Windows cannot sync directories.
    if (process.platform !== 'win32') fs.fsyncSync(fs.openSync('.', 'r'));
  } catch (error) {
    fs.rmSync(temp, { force: true });
    const outcome = status === STATUS.FAILED ? 'was not changed' : 'was changed, but may not be on disk yet';
    const { code } = error as NodeJS.ErrnoException;
    const remedy = code === 'EPERM' || code === 'EACCES' ? ' Run as the owner of the file or as root.' : '';
    throw new CliError(`${path} ${outcome}: ${describe(error)}.${remedy}`, { status });
  }
}

export function parse(path: string, bytes: Uint8Array): Config {
  let config: Partial<Config> | null | undefined;
  try {
    config = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    // The error is dropped, because its message quotes the file.
  }
  if (Array.isArray(config?.clients) && Array.isArray(config.roles)) return config as Config;
  const problem = 'it is not JSON in UTF-8 with lists of clients and roles';
  throw new CliError(`${path} is not a file of mosquitto_ctrl dynsec init: ${problem}.`);
}

/** A config with these clients too, all in descending order of their names: see {@link exportDynamicSecurity}. */
export function merge(
  path: string,
  config: Config,
  clients: readonly DynamicSecurityClient[],
  replaces: boolean,
): { config: Config; added: number; replaced: number; admins: string[] } {
  const before = new Map(objects(config.clients).map(client => [client.username, client]));
  const [taken, ...others] = clients.filter(({ username }) => before.has(username));
  if (taken !== undefined && !replaces) {
    const more = others.length === 0 ? '' : ` and ${others.length} more of the users`;
    throw new CliError(
      `${path} has the client ${taken.username}${more} already. --force replaces ` +
        'clients, but no administrators. Nothing was changed.',
    );
  }
  const admins = adminsOf(config);
  const set = clients.filter(({ username }) => !admins.has(username));
  const names = new Set(set.map(nameOf));
  const kept = config.clients.filter(client => !names.has(nameOf(client)));
  const merged = set.map(client => ({ ...withoutLogin(before.get(client.username)), ...client }));
  const replaced = set.filter(({ username }) => before.has(username)).length;
  return {
    config: { ...config, clients: [...kept, ...merged].sort(descending) },
    added: set.length - replaced,
    replaced,
    admins: clients.map(({ username }) => username).filter(name => admins.has(name)),
  };
}

/** What stays of a client that is replaced: that it is disabled, or bound to a client id, for example. */
function withoutLogin(client: Item | undefined): Item {
  const login = ['password', 'salt', 'iterations', 'encoded_password', 'roles'];
  return Object.fromEntries(Object.entries(client ?? {}).filter(([key]) => !login.includes(key)));
}

/** The names of the clients with an administrator's role, by themselves or by a group. */
function adminsOf({ clients, groups, roles }: Config): Set<unknown> {
  const admin = objects(roles)
    .filter(isAdminRole)
    .map(({ rolename }) => rolename);
  const isAdmin = (holder: Item) => objects(holder.roles).some(({ rolename }) => admin.includes(rolename));
  const members = objects(groups)
    .filter(isAdmin)
    .flatMap(group => objects(group.clients));
  return new Set([...objects(clients).filter(isAdmin), ...members].map(nameOf));
}

/**
 * Whether a role is `admin`, or lets clients give commands to the broker, as `super-admin` does in a file that Mosquitto
 * 2.1 has made. No other topic filter matches a topic below `$CONTROL`: wildcards do not match a first `$` (MQTT 3.1.1,
 * 4.7.2).
 */
function isAdminRole({ rolename, acls }: Item): boolean {
  const controls = ({ acltype, topic, allow }: Item) =>
    acltype === 'publishClientSend' && allow === true && String(topic).startsWith('$CONTROL/');
  return rolename === 'admin' || objects(acls).some(controls);
}

function hasRole({ roles }: Item, role: string): boolean {
  return objects(roles).some(({ rolename }) => rolename === role);
}

function descending(a: unknown, b: unknown): number {
  const [first, second] = [String(nameOf(a) ?? ''), String(nameOf(b) ?? '')];
  return first === second ? 0 : first < second ? 1 : -1;
}

function nameOf(client: unknown): unknown {
  return (client as Item | null)?.username;
}

function objects(list: unknown): Item[] {
  return Array.isArray(list) ? list.filter(each => typeof each === 'object' && each !== null) : [];
}

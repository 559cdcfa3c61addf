/** One function for each mode: it calls the library, reports in the words of mosquitto_passwd, and returns the status. */
import { X509Certificate } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import {
  assertUsername,
  confirmLogin,
  type FileHashOptions,
  generateCredentials,
  generateUsername,
  hashPassword,
  type LoginOptions,
  type PasswordDraft,
  PasswordFile,
  PasswordFileError,
  type PasswordFileOptions,
  type ReloadTarget,
} from '../index.js';
import { type Command, HOST_AND_PORT, type Mode } from './arguments.js';
import { exportClients } from './dynamic-security.js';
import { help, version } from './help.js';
import * as input from './input.js';
import * as output from './output.js';
import { CliError, STATUS } from './output.js';

export const COMMANDS: Record<Mode, (command: Command) => number | Promise<number>> = {
  set,
  delete: remove,
  upgrade,
  import: importList,
  'import-hashes': importList,
  provision,
  verify,
  list,
  export: exportHashes,
  dynsec: command => exportClients(command, open(command)),
  check,
  help: () => output.print(help()),
  version: () => output.print(version()),
};

/** Gives one user a password. */
async function set(command: Command): Promise<number> {
  const { path, usernames, given } = command;
  const [username = ''] = usernames;
  assertUsername(username);
  if (given.has('-c') && path === '-') {
    const hash = await hashPassword(await input.readPassword(command), hashOptions(command));
    return output.print(`${username}:${hash}\n`);
  }
  const file = open(command);
  const confirm = await confirmation(command);
  const password = await input.readPassword(command);
  const signal = input.interruption();
  const edit = async () => {
    if (!given.has('--force')) return file.setUser(username, password, { signal });
    const hash = await hashPassword(password, hashOptions(command));
    const { added } = await file.setHashes([[username, hash]], { removeOthers: true, signal });
    return added > 0 ? 'added' : 'updated';
  };
  const isQuiet = given.has('--quiet');
  const isGenerated = given.has('--generate');
  const print = () => isGenerated && output.printSecret(`${password}\n`, [username], isQuiet);
  const outcome = await committed(edit(), print);
  const verb = outcome === 'added' ? 'Adding' : 'Updating';
  if (!isGenerated) output.inform(`${verb} password for user ${username}\n`, isQuiet);
  return reload(command, file, outcome !== 'unchanged', () => confirm?.({ username, password }));
}

/** Awaits an edit, then prints the passwords it made: also where it fails after the file holds them. */
async function committed<T>(edit: Promise<T>, print: () => void): Promise<T> {
  let isCommitted = true;
  try {
    return await edit;
  } catch (error) {
    isCommitted = error instanceof PasswordFileError && error.committed === true;
    throw error;
  } finally {
    if (isCommitted) print();
  }
}

async function remove(command: Command): Promise<number> {
  const { usernames } = command;
  const file = open(command);
  const removed = new Set(await file.removeUsers(usernames, { signal: input.interruption() }));
  const missing = new Set(usernames.filter(username => !removed.has(username)));
  for (const username of missing) {
    output.complain(`Warning: User ${output.shown(username)} not found in password file.\n`);
  }
  return (await reload(command, file, removed.size > 0)) || (missing.size > 0 ? STATUS.FAILED : STATUS.DONE);
}

async function upgrade(command: Command): Promise<number> {
  const file = open(command);
  const skipped = new output.Skipped(command.path);
  const hashed = await file.upgrade({
    signal: input.interruption(),
    onProgress: output.progressLine(command.given.has('--quiet')),
    onSkipped: skipped.report,
  });
  return (await reload(command, file, hashed.length > 0)) || skipped.status;
}

/** Sets the users of a list of passwords or hashes. */
async function importList(command: Command): Promise<number> {
  const { given } = command;
  const isQuiet = given.has('--quiet');
  const file = open(command);
  const hashes = given.get('--import-hashes');
  const { added, updated, unchanged, removed } =
    hashes === undefined
      ? {
          removed: 0,
          ...(await file.setUsers(await input.readPasswords(given.get('--import') ?? ''), {
            signal: input.interruption(),
            onProgress: output.progressLine(isQuiet),
          })),
        }
      : await file.setHashes(await input.readHashes(hashes), {
          signal: input.interruption(),
          removeOthers: given.has('--remove-others'),
        });
  const counts = `${added} added, ${updated} updated, ${unchanged} unchanged, ${removed} removed`;
  const users = added + updated + unchanged;
  output.inform(`Imported ${users} ${users === 1 ? 'user' : 'users'}: ${counts}.\n`, isQuiet);
  return reload(command, file, added + updated + removed > 0);
}

/** Adds users with generated names and passwords, in one commit. */
async function provision(command: Command): Promise<number> {
  const { given } = command;
  const count = Number(given.get('--count') ?? 1);
  const rules = { prefix: given.get('--prefix') };
  const file = open(command);
  const confirm = await confirmation(command);
  const logins = Array.from({ length: count }, () => generateCredentials({ username: rules }));
  const options = hashOptions(command);
  const hashes = await Promise.all(logins.map(({ password }) => hashPassword(password, options)));
  const addAll = (draft: PasswordDraft) => {
    for (const [i, login] of logins.entries()) {
      while (draft.has(login.username)) login.username = generateUsername(rules);
      draft.set(login.username, hashes[i] as string);
    }
  };
  const print = () => {
    const lines = logins.map(({ username, password }) => `${username}:${password}\n`);
    const text = given.has('--json') ? output.json(logins) : lines.join('');
    const names = logins.map(({ username }) => username);
    output.printSecret(text, names, given.has('--quiet'));
  };
  await committed(file.update(addAll, { signal: input.interruption() }), print);
  return reload(command, file, true, () => logins[0] && confirm?.(logins[0]));
}

/** Whether a broker lets this user in. */
async function verify(command: Command): Promise<number> {
  const { path, usernames, given } = command;
  const [username = ''] = usernames;
  const file = open(command);
  const isRight = await file.verify(username, await input.readPassword(command));
  if (given.has('--quiet')) return isRight ? STATUS.DONE : STATUS.FAILED;
  // The answer is about the lines of this user. The broker may refuse the file because of other lines.
  const { loads } = await file.check();
  if (!loads) output.complain(`Warning: The broker does not load ${path}. --check says why.\n`);
  if (isRight) output.print(`User ${output.shown(username)} and this password match.\n`);
  else output.complain(`User ${output.shown(username)} and this password do not match.\n`);
  return isRight ? STATUS.DONE : STATUS.FAILED;
}

async function list(command: Command): Promise<number> {
  const names = await open(command).users();
  const lines = names.map(name => `${output.shown(name)}\n`).join('');
  return output.print(command.given.has('--json') ? output.json(names) : lines);
}

async function exportHashes(command: Command): Promise<number> {
  const skipped = new output.Skipped(command.path);
  const entries = open(command).entries({ onSkipped: skipped.report });
  let text = '';
  for await (const [name, hash] of entries) {
    text += `${name}:${hash}\n`;
    if (text.length < 65_536) continue;
    output.print(text);
    text = '';
  }
  output.print(text);
  return skipped.status;
}

async function check({ path, given }: Command): Promise<number> {
  const report = await new PasswordFile(path, brokerOptions(given)).check();
  const { findings } = report;
  const isFaulty = findings.some(({ severity }) => severity === 'error');
  const reported = findings.filter(({ severity }) => !given.has('--quiet') || severity === 'error');
  const lines = reported.map(finding => output.findingLine(path, finding)).join('');
  output.print(given.has('--json') ? output.json(report) : lines);
  return isFaulty ? STATUS.FAILED : STATUS.DONE;
}

/** The password file. It must exist, or with -c be new; with --force it may do either. */
function open(command: Command): PasswordFile {
  const { path, given } = command;
  assertPlace(path, given.has('-c'), given.has('--force'));
  // Node's thread pool, which hashes, has four threads unless this is set before its first use.
  process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, availableParallelism()));
  const broker = given.get('--reload');
  return new PasswordFile(path, {
    hash: hashOptions(command),
    ...brokerOptions(given),
    missing: given.has('-c') ? 'empty' : 'error',
    reload: broker === undefined ? undefined : reloadTarget(broker),
  });
}

function assertPlace(path: string, isNew: boolean, force: boolean): void {
  try {
    statSync(path);
  } catch (error) {
    if (isNew && (error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw new CliError(`Unable to open password file ${path}. ${input.describe(error)}.`);
  }
  if (!isNew || force) return;
  throw new CliError(`Unable to open file ${realpathSync(path)} for writing. File exists.`);
}

function hashOptions({ given }: Command): FileHashOptions {
  const isFor21 = given.get('--broker') === '2.1';
  return {
    algorithm: given.get('-H') === 'sha512' ? 'sha512' : 'pbkdf2-sha512',
    iterations: Number(given.get('-I') ?? (isFor21 ? 1000 : 101)),
    saltBytes: isFor21 ? 64 : 12,
  };
}

/** What the program knows of the broker. Mosquitto 2.1 looks for the same variable, with any value. */
function brokerOptions(given: Command['given']): PasswordFileOptions {
  return {
    broker: given.get('--broker') === '2.0' ? '2.0' : '2.1',
    brokerFollowsLinks: process.env.MOSQUITTO_UNSAFE_ALLOW_SYMLINKS !== undefined,
  };
}

/**
 * Makes the broker read the file, if it would load it; also where nothing was changed now, because an earlier run may
 * have changed the file and then failed to reload.
 */
async function reload(
  command: Command,
  file: PasswordFile,
  isChanged: boolean,
  confirm?: () => Promise<void> | undefined,
): Promise<number> {
  if (command.given.has('-c')) output.warnOfOwner(command.path, command.given.has('--quiet'));
  if (!command.given.has('--reload')) return STATUS.DONE;
  let problem = 'The broker has not read the file.';
  try {
    await file.reloaded({ force: !isChanged, signal: input.interruption() });
    problem = 'The login is not confirmed.';
    await confirm?.();
    return STATUS.DONE;
  } catch (error) {
    const change = isChanged ? 'The password file holds the change. ' : '';
    output.complain(`${output.errorLine(error)}${change}${problem}\n`);
    return STATUS.CHANGED_BUT;
  }
}

/** What confirms a login at the broker that --confirm names. Reads the certificates: without them nothing is edited. */
async function confirmation({ given }: Command) {
  const [, address, name, port] = HOST_AND_PORT.exec(given.get('--confirm') ?? '') ?? [];
  const host = address ?? name;
  if (host === undefined) return undefined;
  const cafile = given.get('--cafile');
  const tls = cafile !== undefined && { ca: await certificates(cafile) };
  return (login: Pick<LoginOptions, 'username' | 'password'>) =>
    confirmLogin({
      ...login,
      host,
      port: Number(port ?? (tls ? 8883 : 1883)),
      tls,
      signal: input.interruption(),
    });
}

/** TLS takes a text without a certificate for no certificates, and then trusts no broker. */
async function certificates(path: string): Promise<string> {
  const pem = String(await input.readInput(path));
  try {
    new X509Certificate(pem);
    return pem;
  } catch {
    throw new CliError(`${path} holds no certificate in PEM. Nothing was changed.`);
  }
}

function reloadTarget(broker: string): ReloadTarget {
  if (/^[0-9]+$/.test(broker)) return { pid: Number(broker) };
  return broker.includes('/') || broker.endsWith('.pid') ? { pidFile: broker } : { process: broker };
}

/** One function for each mode: it calls the library, reports in the words of mosquitto_passwd, and returns the status. */
import { realpathSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import {
  assertUsername,
  type Credentials,
  confirmLogin,
  type FileHashOptions,
  hashPassword,
  PasswordFile,
  type PasswordFileOptions,
  type ReloadTarget,
  reloadBroker,
} from '../index.js';
import { type Command, HOST_AND_PORT, type Mode } from './arguments.js';
import { exportClients } from './dynamic-security.js';
import {
  assertReadable,
  describe,
  interruption,
  type Password,
  passwordOf,
  readHashes,
  readInput,
  readPasswords,
} from './input.js';
import * as output from './output.js';
import { CliError, complain, findingLine, inform, print, Skipped, STATUS, shown } from './output.js';

export const COMMANDS: Record<Mode, (command: Command) => Promise<number>> = {
  set,
  delete: remove,
  upgrade,
  import: importUsers,
  'import-hashes': importHashes,
  provision,
  verify,
  list,
  export: exportHashes,
  dynsec: command => exportClients(command, open(command)),
  check,
};

/** Gives one user a password. */
async function set(command: Command): Promise<number> {
  const { path, usernames, given } = command;
  const [username = ''] = usernames;
  assertNewName(username);
  if (given.has('-c') && path === '-') {
    print(`${username}:${await hashPassword(await passwordOf(command), hashOptions(command))}\n`);
    return STATUS.DONE;
  }
  assertPlace(command);
  const password = await passwordOf(command);
  const signal = interruption();
  const file = open(command);
  const outcome = given.has('--force')
    ? await replaceAll(file, username, await hashPassword(password, hashOptions(command)))
    : await file.setUser(username, password, { signal });
  if (given.has('--generate')) printSecret(command, `${password}\n`);
  else if (!given.has('--quiet'))
    inform(`${outcome === 'added' ? 'Adding' : 'Updating'} password for user ${username}\n`);
  return reload(command, file, outcome !== 'unchanged', { username, password });
}

/** Leaves this user alone in the file, and the lines of no user. */
function replaceAll(file: PasswordFile, username: string, hash: string): Promise<'added' | 'updated'> {
  return file.update(
    draft => {
      const outcome = draft.has(username) ? 'updated' : 'added';
      // A line without a name is no user either, but brokers refuse the file over it.
      for (const name of ['', ...draft.keys()]) draft.delete(name);
      draft.set(username, hash);
      return outcome;
    },
    { signal: interruption() },
  );
}

/** Deletes users. */
async function remove(command: Command): Promise<number> {
  const { usernames } = command;
  assertPlace(command);
  // Names that are refused otherwise can still be in the file.
  for (const username of usernames) {
    assertReadable('user name', username);
    if (username.includes(':')) throw new CliError("Error: Username must not contain the ':' character.");
  }
  const file = open(command);
  const removed = new Set(await file.removeUsers(usernames, { signal: interruption() }));
  const missing = new Set(usernames.filter(username => !removed.has(username)));
  for (const username of missing) complain(`Warning: User ${username} not found in password file.\n`);
  return (await reload(command, file, removed.size > 0)) || (missing.size > 0 ? STATUS.FAILED : STATUS.DONE);
}

/** Hashes the plain-text passwords in the file. */
async function upgrade(command: Command): Promise<number> {
  assertPlace(command);
  hashOnAllCores();
  const file = open(command);
  const skipped = new Skipped(command.path);
  const hashed = await file.upgrade({
    signal: interruption(),
    onProgress: output.progressLine(command.given.has('--quiet')),
    onSkipped: skipped.report,
  });
  return (await reload(command, file, hashed.length > 0)) || skipped.status;
}

/** Sets the users of a list. */
async function importUsers(command: Command): Promise<number> {
  const isQuiet = command.given.has('--quiet');
  assertPlace(command);
  hashOnAllCores();
  const entries = await readPasswords(command.given.get('--import') ?? '');
  const file = open(command);
  const { added, updated, unchanged } = await file.setUsers(entries, {
    signal: interruption(),
    onProgress: output.progressLine(isQuiet),
  });
  if (!isQuiet)
    inform(`Imported ${entries.length} users: ${added} added, ${updated} updated, ${unchanged} unchanged.\n`);
  return reload(command, file, added + updated > 0);
}

/** Sets the hashes of the users of a list. */
async function importHashes(command: Command): Promise<number> {
  const { given } = command;
  assertPlace(command);
  const file = open(command);
  const { added, updated, unchanged, removed } = await file.setHashes(
    readHashes(given.get('--import-hashes') ?? ''),
    { removeOthers: given.has('--remove-others'), signal: interruption() },
  );
  if (!given.has('--quiet')) {
    inform(
      `Imported hashes: ${added} added, ${updated} updated, ${unchanged} unchanged, ${removed} removed.\n`,
    );
  }
  return reload(command, file, added + updated + removed > 0);
}

/** Adds users with generated names and passwords. */
async function provision(command: Command): Promise<number> {
  const { given } = command;
  assertPlace(command);
  const count = Number(given.get('--count') ?? 1);
  const username = { prefix: given.get('--prefix') };
  const signal = interruption();
  const file = open(command);
  // All pending edits join the next commit.
  const calls = Array.from({ length: count }, () => file.provision({ username, signal }));
  const outcomes = await Promise.allSettled(calls);
  const made = outcomes.flatMap(outcome => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const failure = outcomes.find(outcome => outcome.status === 'rejected');
  if (failure !== undefined && made.length === 0) throw failure.reason;
  const lines = ({ username, password }: Credentials) => `${username}:${password}\n`;
  printSecret(command, given.has('--json') ? `${JSON.stringify(made)}\n` : made.map(lines).join(''));
  const status = await reload(command, file, true, made[0]);
  if (failure === undefined) return status;
  complain(`${output.errorLine(failure.reason)}Only ${made.length} of ${count} users were added.\n`);
  return STATUS.CHANGED_BUT;
}

/** Prints a password that was just set, and that nobody else knows. */
function printSecret({ given }: Command, text: string): void {
  try {
    if (!given.has('--quiet')) output.warnOfReaders();
    print(text);
  } catch {
    throw new CliError('Error: The password was set, but could not be printed. Set another one.', {
      status: STATUS.CHANGED_BUT,
    });
  }
}

/** Whether a broker lets this user in. */
async function verify(command: Command): Promise<number> {
  const { path, usernames, given } = command;
  const [username = ''] = usernames;
  assertReadable('user name', username);
  const file = open(command);
  const isRight = await file.verify(username, await passwordOf(command));
  if (given.has('--quiet')) return isRight ? STATUS.DONE : STATUS.FAILED;
  // The answer is about the lines of this user; the broker may refuse the file over others.
  const { loads } = await file.check();
  if (!loads) complain(`Warning: The broker does not load ${path}. --check says why.\n`);
  if (isRight) print(`User ${shown(username)} and this password match.\n`);
  else complain(`User ${shown(username)} and this password do not match.\n`);
  return isRight ? STATUS.DONE : STATUS.FAILED;
}

/** Prints the user names. */
async function list(command: Command): Promise<number> {
  const names = await open(command).users();
  const isJson = command.given.has('--json');
  print(isJson ? `${JSON.stringify(names)}\n` : names.map(name => `${shown(name)}\n`).join(''));
  return STATUS.DONE;
}

/** Prints the users that can log in, with their hashes. */
async function exportHashes(command: Command): Promise<number> {
  const skipped = new Skipped(command.path);
  const entries = open(command).entries({ signal: interruption(), onSkipped: skipped.report });
  let text = '';
  for await (const [name, hash] of entries) {
    text += `${name}:${hash}\n`;
    if (text.length < 65_536) continue;
    print(text);
    text = '';
  }
  print(text);
  return skipped.status;
}

/** Prints what a broker will make of the file. */
async function check({ path, given }: Command): Promise<number> {
  const report = await new PasswordFile(path, { broker: release(given) }).check();
  const { findings } = report;
  const isFaulty = findings.some(({ severity }) => severity === 'error');
  const reported = findings.filter(({ severity }) => !given.has('--quiet') || severity === 'error');
  const lines = reported.map(finding => findingLine(path, finding)).join('');
  print(given.has('--json') ? `${JSON.stringify(report)}\n` : lines);
  return isFaulty ? STATUS.FAILED : STATUS.DONE;
}

/** Node's thread pool, which hashes, has four threads unless this is set when it starts. */
function hashOnAllCores(): void {
  process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, availableParallelism()));
}

function open(command: Command): PasswordFile {
  const { path, given } = command;
  const broker = given.get('--reload');
  return new PasswordFile(path, {
    hash: hashOptions(command),
    broker: release(given),
    missing: given.has('-c') ? 'empty' : 'error',
    reload: broker === undefined ? undefined : reloadTarget(broker),
  });
}

function hashOptions({ given }: Command): FileHashOptions {
  const isFor21 = given.get('--broker') === '2.1';
  return {
    algorithm: given.get('-H') === 'sha512' ? 'sha512' : 'pbkdf2-sha512',
    iterations: Number(given.get('-I') ?? (isFor21 ? 1000 : 101)),
    saltBytes: isFor21 ? 64 : 12,
  };
}

function release(given: Command['given']): PasswordFileOptions['broker'] {
  return given.get('--broker') === '2.0' ? '2.0' : '2.1';
}

/** What mosquitto_passwd refuses in a user name, in its order and words (2.1.2, `is_username_valid`). */
const THEIR_RULES: ReadonlyArray<[isBroken: (name: string) => boolean, rule: string]> = [
  [name => Buffer.byteLength(name) > 65_535, 'be less than 65536 characters long'],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  [name => /[\u0000-\u001f\u007f]/.test(name), 'not contain control characters'],
  [name => name.includes(':'), "not contain the ':' character"],
];

function assertNewName(username: string): void {
  assertReadable('user name', username);
  const broken = THEIR_RULES.find(([isBroken]) => isBroken(username));
  if (broken !== undefined) throw new CliError(`Error: Username must ${broken[1]}.`);
  assertUsername(username);
}

/** Before it asks for a password: -c is for a new file, without it the file must exist. */
function assertPlace({ path, given }: Command): void {
  const isThere = exists(path);
  if (given.has('-c') && isThere && !given.has('--force')) {
    throw new CliError(`Error: Unable to open file ${realpathSync(path)} for writing. File exists.`);
  }
  if (!given.has('-c') && !isThere) {
    throw new CliError(`Error: Unable to open password file ${path}. No such file or directory.`);
  }
}

function exists(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new CliError(`Error reading password file: ${describe(error)}`);
  }
}

/**
 * Makes the broker read the file, if it would load it; also where nothing was changed now, because an earlier run may
 * have changed the file and then failed to reload.
 */
async function reload(
  command: Command,
  file: PasswordFile,
  isChanged: boolean,
  login?: { username: string; password: Password },
): Promise<number> {
  const { path, given } = command;
  const broker = given.get('--reload');
  if (broker === undefined) return STATUS.DONE;
  const signal = interruption();
  let isRead = false;
  try {
    const { loads, findings } = await file.check({ signal });
    if (!loads) {
      const errors = findings.filter(({ severity }) => severity === 'error');
      for (const finding of errors) complain(findingLine(path, finding));
      complain('Error: The broker would not load this file, and was not told of the change.\n');
      return STATUS.CHANGED_BUT;
    }
    if (isChanged) await file.reloaded({ signal });
    else await reloadBroker(reloadTarget(broker, statSync(path).uid), { signal });
    isRead = true;
    if (given.has('--confirm') && login !== undefined) await confirm(command, login);
    return STATUS.DONE;
  } catch (error) {
    complain(output.errorLine(error));
    complain(
      `The password file is as it should be, but the ${isRead ? 'login is not confirmed' : 'broker was not told of it'}.\n`,
    );
    return STATUS.CHANGED_BUT;
  }
}

/** Waits until the broker lets the user in. */
async function confirm({ given }: Command, login: { username: string; password: Password }): Promise<void> {
  const [, address, name, port] = HOST_AND_PORT.exec(given.get('--confirm') ?? '') ?? [];
  const cafile = given.get('--cafile');
  await confirmLogin({
    ...login,
    host: address ?? name ?? '',
    port: Number(port ?? (cafile === undefined ? 1883 : 8883)),
    tls: cafile === undefined ? false : { ca: await readInput(cafile) },
    signal: interruption(),
  });
}

/** @param uid who runs the broker, if it is named by its process; without it, who may read the file */
function reloadTarget(broker: string, uid?: number): ReloadTarget {
  if (/^[0-9]+$/.test(broker)) return { pid: Number(broker) };
  return broker.includes('/') || broker.endsWith('.pid') ? { pidFile: broker } : { process: broker, uid };
}

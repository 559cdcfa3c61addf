/** What changes the file: calls of the library, and what mosquitto_passwd says about them. */
import { randomBytes } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { assertUsername, type Credentials, hashPassword, PasswordFile, reloadBroker } from '../index.js';
import type { Command } from './arguments.js';
import { CliError, STATUS } from './error.js';
import { readEntries } from './import.js';
import { assertReadable, describe } from './input.js';
import { complain, findingLine, inform, messageOf, print, progressLine } from './output.js';
import { type Password, passwordOf } from './password.js';

/** Gives one user a password. */
export async function set(command: Command): Promise<number> {
  const [username = ''] = command.usernames;
  assertNewName(username);
  if (command.create && command.path === '-') return printLine(command, username);
  assertPlace(command);
  const password = await passwordOf(command);
  const signal = interruption();
  const file = open(command);
  const outcome = command.force
    ? await replaceAll(file, username, await hash(command, password), signal)
    : await file.setUser(username, password, { signal });
  if (command.source === '--generate') printSecret(`${password}\n`);
  else if (!command.quiet)
    inform(`${outcome === 'added' ? 'Adding' : 'Updating'} password for user ${username}\n`);
  return reload(command, file, signal);
}

/** `-c -`: the line, and nothing written. */
async function printLine(command: Command, username: string): Promise<number> {
  print(`${username}:${await hash(command, await passwordOf(command))}\n`);
  return STATUS.DONE;
}

function hash({ hash: { saltBytes = 12, ...options } }: Command, password: Password): Promise<string> {
  return hashPassword(password, { ...options, salt: randomBytes(saltBytes) });
}

/** Leaves this user alone in the file, and what is no user. */
function replaceAll(
  file: PasswordFile,
  username: string,
  hash: string,
  signal: AbortSignal,
): Promise<'added' | 'updated'> {
  return file.update(
    draft => {
      const outcome = draft.has(username) ? 'updated' : 'added';
      // A line without a name is no user either, but brokers refuse the file over it.
      for (const name of ['', ...draft.keys()]) draft.delete(name);
      draft.set(username, hash);
      return outcome;
    },
    { signal },
  );
}

/** Deletes users. */
export async function remove(command: Command): Promise<number> {
  const { usernames } = command;
  // Whatever else may not be in a name can still stand in the file.
  for (const username of usernames) {
    assertReadable('user name', username);
    if (username.includes(':')) throw new CliError("Error: Username must not contain the ':' character.");
  }
  assertPlace(command);
  const signal = interruption();
  const file = open(command);
  const removed = new Set(await file.removeUsers(usernames, { signal }));
  const missing = new Set(usernames.filter(username => !removed.has(username)));
  for (const username of missing) complain(`Warning: User ${username} not found in password file.\n`);
  return (await reload(command, file, signal)) || (missing.size > 0 ? STATUS.FAILED : STATUS.DONE);
}

/** Hashes what stands in the file in plain text. */
export async function upgrade(command: Command): Promise<number> {
  assertPlace(command);
  hashOnAllCores();
  const signal = interruption();
  const file = open(command);
  let isWhole = true;
  await file.upgrade({
    signal,
    onProgress: progressLine(command.quiet),
    onSkipped: finding => {
      if (finding.severity === 'error') isWhole = false;
      complain(`${findingLine(command.path, finding)}\n`);
    },
  });
  return (await reload(command, file, signal)) || (isWhole ? STATUS.DONE : STATUS.FAILED);
}

/** Sets the users of a list. */
export async function importUsers(command: Command): Promise<number> {
  assertPlace(command);
  hashOnAllCores();
  const entries = await readEntries(command.importFrom);
  const signal = interruption();
  const file = open(command);
  const { added, updated, unchanged } = await file.setUsers(entries, {
    signal,
    onProgress: progressLine(command.quiet),
  });
  if (!command.quiet)
    inform(`Imported ${entries.length} users: ${added} added, ${updated} updated, ${unchanged} unchanged.\n`);
  return reload(command, file, signal);
}

/** Adds users with names and passwords of chance. */
export async function provision(command: Command): Promise<number> {
  assertPlace(command);
  const { count, prefix, json } = command;
  const signal = interruption();
  const file = open(command);
  // All that wait join the next commit.
  const calls = Array.from({ length: count }, () => file.provision({ username: { prefix }, signal }));
  const outcomes = await Promise.allSettled(calls);
  const made = outcomes.flatMap(outcome => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const failure = outcomes.find(outcome => outcome.status === 'rejected');
  if (made.length > 0) printSecret(json ? `${JSON.stringify(made)}\n` : made.map(credentialsLine).join(''));
  if (failure !== undefined && made.length === 0) throw failure.reason;
  const status = await reload(command, file, signal);
  if (failure === undefined) return status;
  complain(`${messageOf(failure.reason)}\nOnly ${made.length} of ${count} users were added.\n`);
  return STATUS.CHANGED_BUT;
}

function credentialsLine({ username, password }: Credentials): string {
  return `${username}:${password}\n`;
}

/** A password that was just set, and that nobody else knows. */
function printSecret(text: string): void {
  try {
    print(text);
  } catch {
    throw new CliError('Error: The password was set, but could not be printed. Set another one.', {
      status: STATUS.CHANGED_BUT,
    });
  }
}

/** Node's thread pool, which hashes, has four threads however many cores there are; it reads this when it starts. */
function hashOnAllCores(): void {
  process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, availableParallelism()));
}

function open({ path, create, hash, broker }: Command): PasswordFile {
  return new PasswordFile(path, { hash, broker, missing: create ? 'empty' : 'error' });
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

/** Before anybody is asked for a password: -c is for a new file, without it there has to be one. */
function assertPlace({ create, force, path }: Command): void {
  const isThere = exists(path);
  if (create && isThere && !force) {
    throw new CliError(`Error: Unable to open file ${realpathSync(path)} for writing. File exists.`);
  }
  if (!create && !isThere) {
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
 * Lets ctrl-C withdraw an edit that still waits or hashes, and tidy up. What is being written by then settles by its
 * commit. A second one ends the program at once.
 */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const [name, number] of [
    ['SIGHUP', 1],
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.once(name, () => controller.abort(new CliError('', { status: 128 + number })));
  }
  return controller.signal;
}

/**
 * Tells the broker, as long as it would load the file; also where nothing was changed now, because a run before this
 * one may have changed the file and then failed to tell the broker.
 */
async function reload(command: Command, file: PasswordFile, signal: AbortSignal): Promise<number> {
  if (command.reload === undefined) return STATUS.DONE;
  try {
    const { loads, findings } = await file.check({ signal });
    if (loads) {
      await reloadBroker(command.reload, { signal });
      return STATUS.DONE;
    }
    for (const each of findings)
      if (each.severity === 'error') complain(`${findingLine(command.path, each)}\n`);
    complain('Error: The broker would not load this file, and was not told of the change.\n');
  } catch (error) {
    complain(
      `${messageOf(error)}\nThe password file is as it should be, but the broker was not told of it.\n`,
    );
  }
  return STATUS.CHANGED_BUT;
}

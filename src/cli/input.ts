/** What comes in: files, standard input, a terminal, signals. */
import { readFileSync } from 'node:fs';
import { isatty } from 'node:tty';
import {
  assertPassword,
  assertUsername,
  generatePassword,
  type PasswordEntry,
  PasswordFileError,
  parseHash,
} from '../index.js';
import type { Command } from './arguments.js';
import { CliError, complain, print, STATUS } from './output.js';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const LF = 10;
const CR = 13;
const HASH_SIGN = 35;
const COLON = 58;
const BYTE_ORDER_MARK = Buffer.from('\ufeff');

let interrupted: AbortSignal | undefined;

/**
 * Aborts at SIGHUP, SIGINT and SIGTERM, which end prompts and edits that wait or hash. An edit that is being written
 * settles by its commit. A second signal of the same kind ends the program at once.
 */
export function interruption(): AbortSignal {
  if (interrupted !== undefined) return interrupted;
  const controller = new AbortController();
  for (const [name, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
    process.once(name, () => controller.abort(new CliError('', { status: 128 + number })));
  }
  interrupted = controller.signal;
  return interrupted;
}

/** The bytes of a file or, for `-`, of standard input. */
export async function readInput(path: string): Promise<Buffer> {
  try {
    if (path !== '-') return readFileSync(path);
  } catch (error) {
    throw new CliError(`Error: Unable to open file ${path}. ${describe(error)}.`);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The lines of some bytes, without their LF or CR LF. */
function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length; ) {
    const lineFeed = bytes.indexOf(LF, start);
    const next = lineFeed < 0 ? bytes.length : lineFeed + 1;
    let end = lineFeed < 0 ? next : lineFeed;
    if (end > start && bytes[end - 1] === CR) end--;
    yield bytes.subarray(start, end);
    start = next;
  }
}

/** The lines of standard input, as they come. A terminal does not echo them until the caller returns. */
async function answers(onTerminal: boolean): Promise<AsyncGenerator<Buffer>> {
  const { createInterface } = await import('node:readline');
  const { Writable } = await import('node:stream');
  const output = new Writable({ write: (_chunk, _encoding, done) => done() });
  const signal = interruption();
  // Elsewhere than on a terminal, each byte is a character, so that any bytes can be a password.
  if (!onTerminal) process.stdin.setEncoding('latin1');
  const editor = createInterface({ input: process.stdin, output, terminal: onTerminal, historySize: 0 });
  // A terminal is in raw mode: ctrl-C is a key, and a signal must not end the program before `close`.
  editor.once('SIGINT', () => process.emit('SIGINT'));
  signal.addEventListener('abort', () => editor.close());
  // Keeps what is typed ahead.
  const lines = editor[Symbol.asyncIterator]();
  return (async function* () {
    try {
      for await (const line of lines) {
        if (onTerminal) assertReadable('password', line);
        yield Buffer.from(line, onTerminal ? 'utf8' : 'latin1');
      }
      signal.throwIfAborted();
    } finally {
      editor.close();
    }
  })();
}

/** Refuses what arguments or a keyboard gave in another encoding than UTF-8: Node has replaced it. */
export function assertReadable(what: string, text: string): void {
  if (!text.includes('\ufffd')) return;
  throw new CliError(`Error: The ${what} is not valid UTF-8. Use a shell or terminal that speaks UTF-8.`);
}

/** The words of `strerror` for errors of files. */
export function describe(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  return DESCRIPTIONS[code ?? ''] ?? code ?? String(error);
}

const DESCRIPTIONS: { [code: string]: string } = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  EISDIR: 'Is a directory',
  ENOTDIR: 'Not a directory',
  ELOOP: 'Too many levels of symbolic links',
};

/** A password; bytes where it need not be UTF-8. */
export type Password = string | Uint8Array;

const IN_THE_OPEN =
  'Warning: With -b the password stands in the process list and in the history of the shell. ' +
  'Safer are --password-stdin, --password-file, --generate and the prompt.\n';

/** The password of a command; for --verify any, else one that a client can log in with. */
export async function passwordOf(command: Command): Promise<Password> {
  const password = await readPassword(command);
  if (command.mode !== 'verify') assertPassword(password);
  return password;
}

async function readPassword({ mode, path, password, given }: Command): Promise<Password> {
  const file = given.get('--password-file');
  if (password !== undefined) {
    if (!given.has('--quiet') && isatty(STDERR)) complain(IN_THE_OPEN);
    assertReadable('password', password);
    return password;
  }
  if (file !== undefined) return onlyLine(await readInput(file), file);
  if (given.has('--generate')) return generatePassword();
  if (!given.has('--password-stdin')) return promptForPassword(mode === 'set', path === '-');
  if (!isatty(STDIN)) return onlyLine(await readInput('-'), 'Standard input');
  throw new CliError('Error: --password-stdin is for a pipe or file. Leave it out to be asked.');
}

/** Takes off the line end that editors and `echo` write. */
function onlyLine(bytes: Buffer, where: string): Buffer {
  const [line = Buffer.alloc(0), ...others] = linesOf(bytes);
  if (others.length === 0) return line;
  throw new CliError(`Error: ${where} holds more than one line. A password is one line.`);
}

/**
 * Asks for a password, for a new one twice: hidden on a terminal, line by line where there is none. The words and
 * statuses are those of mosquitto_passwd (2.1.2, apps/mosquitto_passwd/get_password.c).
 */
async function promptForPassword(isNew: boolean, isOutputTaken: boolean): Promise<Buffer> {
  const onTerminal = isatty(STDIN);
  const say = isOutputTaken || (onTerminal && !isatty(STDOUT)) ? complain : print;
  const lines = await answers(onTerminal);
  const ask = async (prompt: string): Promise<Buffer> => {
    say(prompt);
    const { value } = await lines.next().finally(() => onTerminal && say('\n'));
    if (!value?.length) throw new CliError('Error: Empty password.');
    if (!onTerminal) say('\n');
    return value;
  };
  try {
    const password = await ask('Password: ');
    if (!isNew || password.equals(await ask('Reenter password: '))) return password;
    throw new CliError('Error: Passwords do not match.', { status: STATUS.NO_ANSWER });
  } finally {
    await lines.return(undefined);
  }
}

/** What -b takes for a password; in a list of passwords it is a mistake. */
const LIKE_A_HASH = /^\$(?:[67]|argon2id?)\$/;

/** The `name:password` lines of a list, each name once. The first line that does not work is an error. */
export async function readPasswords(from: string): Promise<PasswordEntry[]> {
  const bytes = await readInput(from);
  const entries = new Map<string, Buffer>();
  const isMarked = bytes.subarray(0, 3).equals(BYTE_ORDER_MARK);
  const lines = linesOf(isMarked ? bytes.subarray(3) : bytes);
  let number = 0;
  for (const line of lines) {
    number++;
    atLine(from, number, () => {
      const entry = splitLine(line);
      if (entry === undefined) return;
      const [name, password] = entry;
      if (entries.has(name))
        throw new CliError('An earlier line has the same user name. Keep one of the two.');
      assertPassword(password);
      if (LIKE_A_HASH.test(password.toString('latin1'))) {
        throw new CliError('A hash follows the user name. The list takes passwords.');
      }
      entries.set(name, password);
    });
  }
  return [...entries];
}

/** The `name:hash` lines of a list; an empty list is an error, because a failed query gives one. */
export async function* readHashes(from: string): AsyncGenerator<[name: string, hash: string]> {
  let isEmpty = true;
  let number = 0;
  for (const line of linesOf(await readInput(from))) {
    number++;
    const entry = atLine(from, number, () => {
      const parts = splitLine(line);
      if (parts !== undefined) parseHash(parts[1].toString('latin1'));
      return parts;
    });
    if (entry === undefined) continue;
    isEmpty = false;
    yield [entry[0], entry[1].toString('latin1')];
  }
  if (isEmpty) throw new CliError('Error: The list holds no users. Nothing was changed.');
}

/** The user name, and all that follows the first `:`; `undefined`: an empty line or a comment. */
function splitLine(line: Buffer): [name: string, rest: Buffer] | undefined {
  if (line.includes(CR)) throw new CliError('A carriage return is in the line. End lines with LF or CR LF.');
  if (line[0] === HASH_SIGN || /^\s*$/.test(line.toString('latin1'))) return undefined;
  const colon = line.indexOf(COLON);
  if (colon < 0) throw new CliError("There is no ':' between a user name and what follows.");
  const name = line.toString('utf8', 0, colon);
  if (!line.subarray(0, colon).equals(Buffer.from(name))) throw new CliError('The user name is not UTF-8.');
  assertUsername(name);
  return [name, line.subarray(colon + 1)];
}

function atLine<T>(from: string, number: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof CliError || error instanceof PasswordFileError)) throw error;
    const where = from === '-' ? 'Standard input' : from;
    throw new CliError(`Error: ${where}:${number}: ${error.message} Nothing was changed.`);
  }
}

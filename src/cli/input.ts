/** All input of the program: files, standard input, a terminal, signals. */
import { createReadStream } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { getSystemErrorMap } from 'node:util';
import { assertPassword, assertUsername, generatePassword, PasswordFileError, parseHash } from '../index.js';
import type { Command } from './arguments.js';
import { CliError, complain, inform, STATUS, STDERR, STDOUT } from './output.js';

const STDIN = 0;
const BYTE_ORDER_MARK = Buffer.from('\ufeff');

let interrupted: AbortSignal | undefined;

/**
 * Aborts at SIGHUP, SIGINT and SIGTERM, which then end prompts and edits that wait or hash. An edit that is being
 * written settles by its commit. A second signal of the same kind ends the program at once. Neither has an effect while
 * a slow reader of standard output blocks the program.
 *
 * Before the first call, signals end the program at once. So it is not called before all input has been read, except at
 * prompts of a terminal, nor in modes that change nothing.
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

/** How many milliseconds a signal that was sent when a pipe ended or a terminal has gone may take to arrive. */
const SIGNAL_DELAY = 20;

/** The bytes of a file or, for `-`, of standard input. */
async function* chunksOf(path: string): AsyncGenerator<Buffer> {
  const isStandard = path === '-';
  try {
    yield* isStandard ? process.stdin : createReadStream(path);
    // Ctrl-C ends the writer of a pipe too, and what it has written until then is no complete list. Its end can be seen
    // here before the signal arrives, which then ends this program.
    await pause(SIGNAL_DELAY);
  } catch (error) {
    const problem = isStandard ? 'read standard input' : `open file ${path}`;
    throw new CliError(`Unable to ${problem}. ${describe(error)}.`);
  }
}

function nameOf(path: string): string {
  return path === '-' ? 'Standard input' : path;
}

/** All bytes of a file or, for `-`, of standard input. */
export async function readInput(path: string): Promise<Buffer> {
  return buffer(chunksOf(path));
}

/** A password of 65,535 bytes, which is the longest, and the CR of a line end. */
const MAX_LINE = 65_536;

/** The lines of an input, each as soon as it is there. One that is longer than any password is refused. */
async function* passwordLines(path: string): AsyncGenerator<string> {
  let rest = Buffer.alloc(0);
  for await (const chunk of chunksOf(path)) {
    const bytes = Buffer.concat([rest, chunk]);
    const end = bytes.lastIndexOf('\n') + 1;
    yield* linesOf(bytes.subarray(0, end));
    rest = bytes.subarray(end);
    if (rest.length > MAX_LINE) assertPassword(rest);
  }
  yield* linesOf(rest);
}

/** The lines of some bytes, without their LF or CR LF. Each byte is a character, so that any bytes can be a password. */
function* linesOf(bytes: Buffer): Generator<string> {
  for (let start = 0; start < bytes.length; ) {
    const lineFeed = bytes.indexOf('\n', start);
    const end = lineFeed < 0 ? bytes.length : lineFeed;
    yield bytes.toString('latin1', start, end).replace(/\r$/, '');
    start = end + 1;
  }
}

/** The system's text for an error, as `strerror` has it. */
export function describe(error: unknown): string {
  const { errno = 0, code } = error as NodeJS.ErrnoException;
  const [, text = code ?? String(error)] = getSystemErrorMap().get(errno) ?? [];
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const BATCH_WARNING =
  'Warning: With -b the password is in the process list and in the history of the shell. ' +
  'Safer are --password-stdin, --password-file, --generate and the prompt.\n';

/** Reads the password of a command from the source that its options name; bytes where it need not be UTF-8. */
export async function readPassword({ mode, path, password, given }: Command): Promise<string | Uint8Array> {
  const file = given.get('--password-file');
  if (password !== undefined) {
    if (!given.has('--quiet') && isatty(STDERR)) complain(BATCH_WARNING);
    return password;
  }
  if (file !== undefined && file !== '-') return onlyLine(file);
  if (given.has('--generate')) return generatePassword();
  if (file === undefined && !given.has('--password-stdin'))
    return promptForPassword(mode === 'set', path === '-');
  if (!isatty(STDIN)) return onlyLine('-');
  const option = file === undefined ? '--password-stdin' : '--password-file -';
  throw new CliError(`${option} is for a pipe or file. Leave it out to be asked.`);
}

/** Without the line end that editors and `echo` write. */
async function onlyLine(path: string): Promise<Buffer> {
  let password: string | undefined;
  for await (const line of passwordLines(path)) {
    if (password !== undefined) {
      throw new CliError(`${nameOf(path)} holds more than one line. A password is one line.`);
    }
    password = line;
  }
  const bytes = Buffer.from(password ?? '', 'latin1');
  // The input is empty if its writer has failed. --verify must not take that for a wrong password.
  assertPassword(bytes);
  return bytes;
}

/**
 * Asks for a password, for a new one twice: hidden on a terminal, line by line where there is none. The words and
 * statuses are those of mosquitto_passwd (2.1.2, apps/mosquitto_passwd/get_password.c).
 */
async function promptForPassword(isNew: boolean, isOutputTaken: boolean): Promise<Buffer> {
  const onTerminal = isatty(STDIN);
  const signal = onTerminal ? interruption() : undefined;
  const editor = signal && openEditor(signal);
  // The iterator keeps lines that are typed before they are asked for.
  const lines = editor?.[Symbol.asyncIterator]() ?? passwordLines('-');
  const say =
    isOutputTaken || (onTerminal && !isatty(STDOUT)) ? complain : (text: string) => inform(text, false);

  const ask = async (prompt: string): Promise<string> => {
    say(prompt);
    const { value } = await lines.next().finally(() => onTerminal && say('\n'));
    signal?.throwIfAborted();
    if (!value) throw new CliError('Empty password.');
    if (!onTerminal) say('\n');
    else if (value.includes('\ufffd')) {
      throw new CliError('The password is not valid UTF-8. Use a terminal that speaks UTF-8.');
    }
    return value;
  };
  try {
    const password = await ask('Password: ');
    if (isNew && password !== (await ask('Reenter password: '))) {
      throw new CliError('Passwords do not match.', { status: STATUS.NO_ANSWER });
    }
    return Buffer.from(password, onTerminal ? 'utf8' : 'latin1');
  } catch (error) {
    if (!onTerminal) throw error;
    await pause(SIGNAL_DELAY);
    signal?.throwIfAborted();
    const isClear = error instanceof CliError || error instanceof PasswordFileError;
    throw isClear ? error : new CliError(`Unable to read standard input. ${describe(error)}.`);
  } finally {
    editor?.close();
    await lines.return?.();
  }
}

/** Reads lines from the terminal. Nothing is echoed: until `close` the terminal leaves that to the editor. */
function openEditor(signal: AbortSignal): Interface {
  // With TERM=dumb the editor would take a backspace for a part of the password.
  delete process.env.TERM;
  const output = new Writable({ write: (_chunk, _encoding, done) => done() });
  const editor = createInterface({ input: process.stdin, output, terminal: true, historySize: 0 });
  // The terminal is in raw mode: ctrl-C is a key, and the program must not end before `close` restores the terminal.
  const quit = () => process.emit('SIGINT');
  editor.once('SIGINT', quit);
  // So is ctrl-Z. Without a listener, the editor would stop the program and have the terminal echo what is typed.
  editor.on('SIGTSTP', () => undefined);
  // Ctrl-backslash is a key that the editor would take for a character of the password.
  process.stdin.on('keypress', key => key === '\u001c' && quit());
  // The shell that continues a stopped program may have the terminal echo again. Node knows only what it has set itself.
  const hide = () => process.stdin.setRawMode(false).setRawMode(true);
  process.on('SIGCONT', hide);
  editor.once('close', () => process.off('SIGCONT', hide));
  // The terminal may have gone, so that `close` cannot restore it.
  editor.on('error', () => undefined);
  signal.addEventListener('abort', () => editor.close());
  return editor;
}

/** What looks like a hash. -b accepts it as a password; in a list of passwords it is a mistake. */
const LIKE_A_HASH = /^\$(?:[67]|argon2id?)\$/;

/** Reads the `name:password` lines of a list, each name once. */
export async function readPasswords(from: string): Promise<Iterable<[name: string, password: Buffer]>> {
  const names = new Set<string>();
  return entriesOf(from, await readInput(from), (name, text) => {
    if (names.has(name)) throw new CliError('An earlier line has the same user name. Keep one of the two.');
    names.add(name);
    const password = Buffer.from(text, 'latin1');
    assertPassword(password);
    if (!LIKE_A_HASH.test(text)) return password;
    throw new CliError('A hash follows the user name. The list takes passwords.');
  });
}

/** Reads the `name:hash` lines of a list. */
export async function readHashes(from: string): Promise<Iterable<[name: string, hash: string]>> {
  return entriesOf(from, await readInput(from), (_name, hash) => {
    parseHash(hash);
    return hash;
  });
}

/**
 * The entries of a list. The first line that cannot be read is an error. So is an empty list: a query that failed may
 * have made it.
 */
function* entriesOf<T>(
  from: string,
  bytes: Buffer,
  convert: (name: string, text: string) => T,
): Generator<[name: string, value: T]> {
  const isMarked = bytes.subarray(0, 3).equals(BYTE_ORDER_MARK);
  let isEmpty = true;
  let number = 0;
  for (const line of linesOf(isMarked ? bytes.subarray(3) : bytes)) {
    number++;
    if (/^(#[^\r]*|\s*)$/.test(line)) continue;
    let entry: [name: string, value: T];
    try {
      const [name, text] = splitLine(line);
      entry = [name, convert(name, text)];
    } catch (error) {
      if (!(error instanceof CliError || error instanceof PasswordFileError)) throw error;
      throw new CliError(`${nameOf(from)}:${number}: ${error.message} Nothing was changed.`);
    }
    isEmpty = false;
    yield entry;
  }
  if (isEmpty) throw new CliError('The list holds no users. Nothing was changed.');
}

/** The user name, and all that follows the first `:`. */
function splitLine(line: string): [name: string, text: string] {
  if (line.includes('\r'))
    throw new CliError('A carriage return is in the line. End lines with LF or CR LF.');
  const colon = line.indexOf(':');
  if (colon < 0) throw new CliError("There is no ':' between a user name and what follows.");
  const bytes = Buffer.from(line.slice(0, colon), 'latin1');
  const name = bytes.toString();
  if (!bytes.equals(Buffer.from(name))) throw new CliError('The user name is not UTF-8.');
  assertUsername(name);
  return [name, line.slice(colon + 1)];
}

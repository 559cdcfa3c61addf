/** Standard output, standard error and the exit status. */
import { fstatSync, statSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { type Finding, PasswordFileError } from '../index.js';

export const STDOUT = 1;
export const STDERR = 2;

/** The exit statuses; `--help` says what they mean. */
export const STATUS = {
  DONE: 0,
  FAILED: 1,
  /** Two different passwords were typed; to --verify and --check, whose 1 is an answer: failed. */
  NO_ANSWER: 2,
  /** The file was changed, or needed no change, but something after that failed. */
  CHANGED_BUT: 3,
} as const;

/** Ends the program with a message on standard error. */
export class CliError extends Error {
  /**
   * @param options `status`: without it, 1, or 2 where 1 would be an answer. `showsUsage`: the arguments could not be
   *   understood; the usage goes to standard output, as mosquitto_passwd has it.
   */
  constructor(
    message: string,
    readonly options: { status?: number; showsUsage?: boolean } = {},
  ) {
    super(message);
  }
}

/** Prints to standard output; returns the exit status of a command that is done with that. */
export function print(text: string): number {
  write(STDOUT, text);
  return STATUS.DONE;
}

/** Prints to standard output what the user can do without. */
export function inform(text: string, isQuiet: boolean): void {
  if (!isQuiet) tryWrite(STDOUT, text);
}

/** Prints to standard error. */
export function complain(text: string): void {
  tryWrite(STDERR, printable(text));
}

/** An error is ignored, as by mosquitto_passwd: the work is done, or there is no other place to report it. */
function tryWrite(descriptor: number, text: string): void {
  try {
    write(descriptor, text);
  } catch {}
}

/** Prints the passwords that were just set for these users. They are kept nowhere else. */
export function printSecret(text: string, usernames: readonly string[], isQuiet: boolean): void {
  const stats = fstatSync(STDOUT);
  if (!isQuiet && stats.isFile() && (stats.mode & 0o044) !== 0) {
    const mode = `0${(stats.mode & 0o777).toString(8)}`;
    complain(
      `Warning: Passwords are printed into a file of mode ${mode}, which other users may read. ` +
        'Use umask 077 before, or chmod 600 now.\n',
    );
  }
  try {
    print(text);
  } catch {
    const problem = `Passwords were set, but could not be printed. Set others for ${usernames.join(', ')}.`;
    throw new CliError(problem, { status: STATUS.CHANGED_BUT });
  }
}

/** Warns of a new file that root made in a directory of root. A broker, which runs as its own user, does not start with it. */
export function warnOfOwner(path: string, isQuiet: boolean): void {
  if (isQuiet || !isatty(STDERR)) return;
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.uid !== 0 || process.geteuid?.() !== 0 || (stats.mode & 0o077) !== 0) return;
  const remedy = `Give it to the user that the broker runs as, for example: chown mosquitto ${path}`;
  complain(`Warning: Only root can read ${path}. ${remedy}\n`);
}

type Reported = Pick<Finding, 'line' | 'severity' | 'message'>;

/** A finding on one line, as compilers print theirs. */
export function findingLine(path: string, { line, severity, message }: Reported): string {
  return `${path}:${line > 0 ? `${line}:` : ''} ${severity}: ${message}\n`;
}

/** Reports what a command leaves out of a file, at once: there may be millions of such lines. */
export class Skipped {
  /** The exit status, as far as these lines decide it. */
  status: number = STATUS.DONE;

  constructor(private readonly path: string) {}

  readonly report = (finding: Reported): void => {
    this.status = STATUS.FAILED;
    complain(findingLine(this.path, finding));
  };
}

/** The line that reports an error; `''`: it has been reported. */
export function errorLine(error: unknown): string {
  const isExpected = error instanceof CliError || error instanceof PasswordFileError;
  const text = isExpected ? error.message : error instanceof Error ? error.stack : String(error);
  return text === '' ? '' : `Error: ${text}\n`;
}

/** A name as standard output shows it, without what follows a colon, which may be a password. */
export function shown(name: string): string {
  const text = name.replace(/:.*/s, ':…');
  return isatty(STDOUT) ? printable(text) : text;
}

/** A line of JSON without control characters: `JSON.stringify` escapes only those below U+0020. */
export function json(value: unknown): string {
  const escaped = (control: string) => `\\u00${control.charCodeAt(0).toString(16)}`;
  return `${JSON.stringify(value).replace(/[\u007f-\u009f]/g, escaped)}\n`;
}

/** A text without control characters other than line feeds, because a terminal may obey them. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '?');
}

/** Shows the progress of hashing many users on a terminal. */
export function progressLine(isQuiet: boolean): ((done: number, total: number) => void) | undefined {
  if (isQuiet || !isatty(STDERR)) return undefined;
  return (done, total) => {
    if (total < 1_000) return;
    if (done === total) tryWrite(STDERR, '\r\u001b[K');
    else if (done % Math.ceil(total / 100) === 0) tryWrite(STDERR, `\rHashed ${done} of ${total} passwords`);
  };
}

/** Writes all of a text, by calls that block where the reader is slow, as `printf` does. */
function write(descriptor: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Another process has made the pipe or terminal non-blocking.
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      // The reader has closed the pipe, as in `--list | head -1`.
      else if (code === 'EPIPE') throw new CliError('');
      else throw new CliError(`Cannot write the output: ${code}.`);
    }
  }
}

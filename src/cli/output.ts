/** What goes to standard output and standard error. */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { type Finding, PasswordFileError } from '../index.js';
import { CliError, STATUS } from './error.js';

const STDOUT = 1;
const STDERR = 2;

/** Prints to standard output. */
export function print(text: string): void {
  write(STDOUT, text);
}

/** Prints to standard output what need not be read: the work is done. */
export function inform(text: string): void {
  try {
    write(STDOUT, text);
  } catch {
    // mosquitto_passwd does not mind either.
  }
}

/** Prints to standard error. */
export function complain(text: string): void {
  try {
    write(STDERR, text);
  } catch {
    // There is nobody to be told.
  }
}

/** A finding as compilers print theirs. */
export function findingLine(path: string, { line, severity, message }: Finding): string {
  return `${path}:${line > 0 ? `${line}:` : ''} ${severity}: ${inTermsOfOptions(message)}`;
}

/** Control characters in a name must not reach a terminal. */
export function shown(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
  return isatty(STDOUT) ? name.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?') : name;
}

/** Prints to standard error where that is a terminal. */
export function warnOnTerminal(text: string): void {
  if (isatty(STDERR)) complain(text);
}

const MANY = 1_000;
const REDRAW_MS = 100;

/** Shows on a terminal how far the hashing of many users has come. */
export function progressLine(quiet: boolean): ((done: number, total: number) => void) | undefined {
  if (quiet || !isatty(STDERR)) return undefined;
  let drawn = Number.NEGATIVE_INFINITY;
  return (done, total) => {
    if (total < MANY) return;
    const now = performance.now();
    if (done < total && now - drawn < REDRAW_MS) return;
    drawn = now;
    complain(done < total ? `\rHashed ${done} of ${total} passwords` : '\r\u001b[K');
  };
}

/** What an error says to somebody who types commands. */
export function messageOf(error: unknown): string {
  if (error instanceof CliError) return error.message;
  if (error instanceof PasswordFileError) return `Error: ${inTermsOfOptions(error.message)}`;
  return `Error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}

/** The library's messages name what its callers can do. */
function inTermsOfOptions(message: string): string {
  const inCommands = message.replace(COMMAND, (_, words: string) =>
    words.replaceAll("'", '').replaceAll(',', ''),
  );
  return IN_TERMS_OF_OPTIONS.reduce((text, [call, option]) => text.replace(call, option), inCommands);
}

const COMMAND = /\{ command: \[([^\]]*)\] \}/g;

const IN_TERMS_OF_OPTIONS: ReadonlyArray<[RegExp, string]> = [
  [/\bwith upgrade\(\)/, 'with -U'],
  [/\bwith create\(\)/, 'with -c'],
  [/\{ process: '([^']+)' \}/, '--reload $1'],
  [/, or set allowOwnerChange[^.]*/, ''],
  [/, or allow more time with lock\.timeout/, ''],
];

/** All of it, by calls that block where the reader is slow, as `printf` does. */
function write(descriptor: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Somebody else has made the pipe or terminal non-blocking.
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      // The reader has seen enough: `--list | head -1`.
      else if (code === 'EPIPE') throw new CliError('', { status: STATUS.FAILED });
      else throw new CliError(`Error: Cannot write the output: ${code}.`);
    }
  }
}

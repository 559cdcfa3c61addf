/** Where the password comes from: the command line, standard input, a file, a prompt, or chance. */
import { isatty } from 'node:tty';
import { assertPassword, generatePassword } from '../index.js';
import type { Command } from './arguments.js';
import { CliError, STATUS } from './error.js';
import { assertReadable, linesOf, readInput, standardInputLines, typedLines } from './input.js';
import { complain, print, warnOnTerminal } from './output.js';

const STDIN = 0;
const STDOUT = 1;

/** Bytes where they need not be UTF-8. */
export type Password = string | Uint8Array;

const IN_THE_OPEN =
  'Warning: With -b the password stands in the process list and in the history of the shell. ' +
  'Safer are --password-stdin, --password-file, --generate and the prompt.\n';

/** The password that a command is about, fit to be one. */
export async function passwordOf(command: Command): Promise<Password> {
  const password = await readPassword(command);
  // To --verify the answer to such a password is no.
  if (command.mode !== 'verify') assertPassword(password);
  return password;
}

async function readPassword(command: Command): Promise<Password> {
  const { source, password = '', passwordFile, mode, path, quiet } = command;
  switch (source) {
    case '-b':
      if (!quiet) warnOnTerminal(IN_THE_OPEN);
      assertReadable('password', password);
      return password;
    case '--password-stdin':
      if (isatty(STDIN))
        throw new CliError('Error: --password-stdin is for a pipe or file. Leave it out to be asked.');
      return onlyLine(await readInput('-'), 'Standard input');
    case '--password-file':
      return onlyLine(await readInput(passwordFile), passwordFile);
    case '--generate':
      return generatePassword();
    case 'prompt':
      return promptForPassword({ isNew: mode === 'set', outputIsTaken: path === '-' });
  }
}

/** Editors and `echo` end it with a line feed. */
function onlyLine(bytes: Buffer, where: string): Buffer {
  const [line = Buffer.alloc(0), ...further] = linesOf(bytes);
  if (further.length === 0) return line;
  throw new CliError(`Error: ${where} holds more than one line. A password is one line.`);
}

interface Prompting {
  /** A new password is asked for twice. */
  isNew: boolean;
  /** Standard output is for something else. */
  outputIsTaken: boolean;
}

/**
 * Asks for a password: hidden on a terminal, line by line where there is none. The words and statuses are those of
 * mosquitto_passwd (2.1.2, apps/mosquitto_passwd/get_password.c).
 */
async function promptForPassword({ isNew, outputIsTaken }: Prompting): Promise<Buffer> {
  const onTerminal = isatty(STDIN);
  const say = outputIsTaken || (onTerminal && !isatty(STDOUT)) ? complain : print;
  const lines = onTerminal ? await typedLines() : standardInputLines();
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

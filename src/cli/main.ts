#!/usr/bin/env node
import { PasswordFileError } from '../index.js';
/** The program `mosquitto-passwd-ts`: what mosquitto_passwd does, with the same arguments, and more. */
import { type Command, isQuestion, parseArguments } from './arguments.js';
import { importUsers, provision, remove, set, upgrade } from './edit.js';
import { CliError, STATUS } from './error.js';
import { help, usage, version } from './help.js';
import { check, list, verify } from './look.js';
import { complain, messageOf, print } from './output.js';

const RUN: Record<Command['mode'], (command: Command) => number | Promise<number>> = {
  set,
  delete: remove,
  upgrade,
  import: importUsers,
  provision,
  verify,
  list,
  check,
  help: () => show(help()),
  version: () => show(version()),
};

function show(text: string): number {
  print(text);
  return STATUS.DONE;
}

/** Says what went wrong, and returns the exit status. */
function report(error: unknown, argv: readonly string[]): number {
  const message = messageOf(error);
  if (error instanceof CliError && error.showsUsage) {
    try {
      print(usage());
    } catch {
      // The message below is what matters.
    }
  }
  if (message !== '') complain(`${message}\n`);
  if (error instanceof CliError && error.status !== undefined) return error.status;
  if (error instanceof PasswordFileError && error.committed) return STATUS.CHANGED_BUT;
  return isQuestion(argv) ? STATUS.NO_ANSWER : STATUS.FAILED;
}

async function main(argv: readonly string[]): Promise<number> {
  try {
    const command = parseArguments(argv);
    return await RUN[command.mode](command);
  } catch (error) {
    return report(error, argv);
  }
}

void main(process.argv.slice(2)).then(status => {
  process.exitCode = status;
});

#!/usr/bin/env node
/** The program `mosquitto-passwd-ts`: what mosquitto_passwd does, with the same arguments, and more. */
import { PasswordFileError } from '../index.js';
import { isQuestion, parseArguments } from './arguments.js';
import { COMMANDS } from './commands.js';
import { help, usage, version } from './help.js';
import { CliError, complain, errorLine, inform, print, STATUS } from './output.js';

async function main(argv: readonly string[]): Promise<number> {
  try {
    const command = parseArguments(argv);
    if (command.mode !== 'help' && command.mode !== 'version') return await COMMANDS[command.mode](command);
    print(command.mode === 'help' ? help() : version());
    return STATUS.DONE;
  } catch (error) {
    return report(error, argv);
  }
}

/** Prints what went wrong, and returns the exit status. */
function report(error: unknown, argv: readonly string[]): number {
  if (error instanceof CliError && error.options.showsUsage) inform(usage());
  complain(errorLine(error));
  if (error instanceof CliError && error.options.status !== undefined) return error.options.status;
  if (error instanceof PasswordFileError && error.committed) return STATUS.CHANGED_BUT;
  return isQuestion(argv) ? STATUS.NO_ANSWER : STATUS.FAILED;
}

void main(process.argv.slice(2)).then(status => {
  process.exitCode = status;
});

#!/usr/bin/env node
/** The program `mosquitto-passwd-ts`: what mosquitto_passwd does, with the same arguments, and more. */
import { PasswordFileError } from '../index.js';
import { type Given, parseArguments } from './arguments.js';
import { COMMANDS } from './commands.js';
import { usage } from './help.js';
import { interruption } from './input.js';
import { CliError, complain, errorLine, inform, STATUS } from './output.js';

async function main(argv: readonly string[]): Promise<number> {
  const given: Given = new Map();
  try {
    const command = parseArguments(argv, given);
    // The status if the program ends before this has settled, because nothing keeps the event loop running.
    process.exitCode = failure(given);
    return await COMMANDS[command.mode](command);
  } catch (error) {
    const { status, showsUsage }: CliError['options'] = error instanceof CliError ? error.options : {};
    if (showsUsage) inform(usage(), false);
    complain(errorLine(error));
    if (status !== undefined) return status;
    if (error instanceof PasswordFileError && error.committed) return STATUS.CHANGED_BUT;
    return failure(given);
  }
}

/** The exit status of a failure; to --verify and --check, 1 is an answer. */
function failure(given: Given): number {
  return given.has('--verify') || given.has('--check') ? STATUS.NO_ANSWER : STATUS.FAILED;
}

// A process that ends by itself removes its listeners of signals first. A signal would then still end it, with a status
// that says that nothing was changed.
process.once('beforeExit', () => {
  // Node 20 aborts if it is to restore a terminal that has gone. The listener of SIGHUP has been removed by its call.
  if (process.exitCode === 129) process.kill(process.pid, 'SIGHUP');
  process.exit();
});

void main(process.argv.slice(2)).then(status => {
  process.exitCode = status;
  // After an interruption the library would still wait for the broker to reload. The edits are over.
  if (status === STATUS.CHANGED_BUT && interruption().aborted) setImmediate(() => process.exit());
});

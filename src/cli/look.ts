/** What only looks at the file. */

import { PasswordFile } from '../index.js';
import type { Command } from './arguments.js';
import { STATUS } from './error.js';
import { assertReadable } from './input.js';
import { complain, findingLine, print, shown } from './output.js';
import { passwordOf } from './password.js';

/** Whether a broker lets this user in. */
export async function verify(command: Command): Promise<number> {
  const { path, broker, quiet, usernames } = command;
  const [username = ''] = usernames;
  assertReadable('user name', username);
  const file = new PasswordFile(path, { broker, missing: 'error' });
  const isRight = await file.verify(username, await passwordOf(command));
  if (!quiet && isRight) print(`User ${shown(username)} and this password match.\n`);
  if (!quiet && !isRight) complain(`User ${shown(username)} and this password do not match.\n`);
  return isRight ? STATUS.DONE : STATUS.FAILED;
}

/** Who is in the file. */
export async function list({ path, json }: Command): Promise<number> {
  const names = await new PasswordFile(path, { missing: 'error' }).users();
  print(json ? `${JSON.stringify(names)}\n` : names.map(name => `${shown(name)}\n`).join(''));
  return STATUS.DONE;
}

/** What a broker will make of the file. */
export async function check({ path, broker, json, quiet }: Command): Promise<number> {
  const report = await new PasswordFile(path, { broker }).check();
  const isFaulty = report.findings.some(({ severity }) => severity === 'error');
  const told = report.findings.filter(({ severity }) => !quiet || severity === 'error');
  print(
    json ? `${JSON.stringify(report)}\n` : told.map(finding => `${findingLine(path, finding)}\n`).join(''),
  );
  return isFaulty ? STATUS.FAILED : STATUS.DONE;
}

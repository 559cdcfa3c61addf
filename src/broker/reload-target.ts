import { invalidOption, isId, type OptionCheck, pathOf, whole } from '../util/read-options.js';
import {
  type BrokerProcess,
  brokerCalled,
  brokerWithPid,
  brokerWithPidFile,
  type Eligible,
  MAX_PID,
} from './process.js';

/**
 * The broker to reload, named in exactly one of four ways:
 *
 * - `pid`: its process id in the pid namespace of this process. The process must be called `mosquitto`.
 * - `pidFile`: the file that holds its process id, `pid_file` in mosquitto.conf. It must be called `mosquitto`, too.
 * - `process`: the name of its process, `'mosquitto'`. Exactly one process of an eligible user must have it. `uid` is
 *   the user that the broker runs as; by default, for a `PasswordFile`, any user who may read the file, and for
 *   `reloadBroker` root and the user of this process.
 * - `command`: a program and its arguments, run without a shell, that makes it reload. It must end with status 0.
 *
 * @example const target: ReloadTarget = { command: ['docker', 'kill', '--signal=HUP', 'mosquitto'] };
 */
export type ReloadTarget =
  | ({ pid: number } & Partial<Record<'pidFile' | 'process' | 'uid' | 'command', undefined>>)
  | ({ pidFile: string | URL } & Partial<Record<'pid' | 'process' | 'uid' | 'command', undefined>>)
  | ({ process: string; uid?: number | undefined } & Partial<
      Record<'pid' | 'pidFile' | 'command', undefined>
    >)
  | ({ command: readonly string[] } & Partial<Record<'pid' | 'pidFile' | 'process' | 'uid', undefined>>);

/** The kernel keeps that much of a process's name (TASK_COMM_LEN in linux/sched.h, less the NUL). */
const MAX_NAME_BYTES = 15;

/** What the options of a target must be, for `readOptions`. */
export const TARGET_CHECKS: { [K in keyof ReloadTarget]-?: OptionCheck } = {
  pid: /* @__PURE__ */ whole(1, MAX_PID),
  pidFile: value => (pathOf(value) ? undefined : 'a path or a file: URL'),
  process: value =>
    typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= MAX_NAME_BYTES
      ? undefined
      : `a string of 1 to ${MAX_NAME_BYTES} bytes, all that Linux keeps of a name`,
  uid: isId,
  command: value => (isCommand(value) ? undefined : 'an array of strings: a program and its arguments'),
};

/** A target that has been checked and copied: a command, or how to find the broker. */
export type Target = readonly string[] | ((eligible: Eligible) => BrokerProcess);

/** Throws `ERR_INVALID_ARGUMENT` unless the options name the broker in exactly one way. */
export function targetOf({ pid, pidFile, process: name, uid, command }: ReloadTarget): Target {
  if ([pid, pidFile, name, command].filter(way => way !== undefined).length !== 1) {
    throw invalidOption('The broker', 'named by exactly one of pid, pidFile, process and command');
  }
  if (uid !== undefined && name === undefined)
    throw invalidOption('uid', 'given with process, or not at all');
  if (command !== undefined) return [...command];
  if (pid !== undefined) return () => brokerWithPid(pid);
  if (name === undefined) {
    const path = pathOf(pidFile) as string;
    return () => brokerWithPidFile(path);
  }
  if (uid === undefined) return eligible => brokerCalled(name, eligible);
  return () => brokerCalled(name, { whom: `user ${uid}`, includes: owner => owner.uid === uid });
}

function isCommand(command: unknown): boolean {
  const isArgument = (part: unknown) => typeof part === 'string' && !part.includes('\0');
  return Array.isArray(command) && command.every(isArgument) && Boolean(command[0]);
}

import { fileURLToPath } from 'node:url';
import { PasswordFileError } from '../errors.js';
import { type OptionCheck, whole } from '../util/read-options.js';
import {
  type BrokerProcess,
  brokerCalled,
  brokerWithPid,
  brokerWithPidFile,
  type Eligible,
  isPid,
} from './process.js';

/** The broker to reload, named in exactly one of four ways. */
export type ReloadTarget =
  | {
      /** Its process id, as this process's own pid namespace counts. It must be called `mosquitto`. */
      pid: number;
      pidFile?: undefined;
      process?: undefined;
      uid?: undefined;
      command?: undefined;
    }
  | {
      /** The file that holds its process id: `pid_file` in mosquitto.conf. It must be called `mosquitto`. */
      pidFile: string | URL;
      pid?: undefined;
      process?: undefined;
      uid?: undefined;
      command?: undefined;
    }
  | {
      /** The name of its process, `'mosquitto'`. Exactly one process of an eligible user must have it; see `uid`. */
      process: string;
      /**
       * The user that the broker runs as: processes of others are left out. Default, of a `PasswordFile`: any user who
       * may read the file; of `reloadBroker`: root and the user of this process.
       */
      uid?: number | undefined;
      pid?: undefined;
      pidFile?: undefined;
      command?: undefined;
    }
  | {
      /** A program and its arguments, run without a shell, that makes it reload. It must end with status 0. */
      command: readonly string[];
      pid?: undefined;
      pidFile?: undefined;
      process?: undefined;
      uid?: undefined;
    };

/** The kernel keeps that much of a process's name (TASK_COMM_LEN in linux/sched.h, less the NUL). */
const MAX_NAME_BYTES = 15;

/** What the options of a target must be, for `readOptions`. */
export const TARGET_CHECKS: { [K in keyof ReloadTarget]-?: OptionCheck } = {
  pid: value => (isPid(value) ? undefined : 'a positive integer'),
  pidFile: value => (pathOf(value) ? undefined : 'a path or a file: URL'),
  process: value =>
    isProcessName(value)
      ? undefined
      : `a string of 1 to ${MAX_NAME_BYTES} bytes, all that Linux keeps of a name`,
  uid: /* @__PURE__ */ whole(0, 0xffff_fffe),
  command: value => (isCommand(value) ? undefined : 'an array of strings: a program and its arguments'),
};

/** A target that has been checked and copied. */
export type Target = { command: readonly string[]; find?: undefined } | FindableTarget;

export interface FindableTarget {
  find(eligible: Eligible): BrokerProcess;
  command?: undefined;
}

/** Throws `ERR_INVALID_ARGUMENT` unless the options name the broker in exactly one way. */
export function targetOf({ pid, pidFile, process: name, uid, command }: ReloadTarget): Target {
  if ([pid, pidFile, name, command].filter(way => way !== undefined).length !== 1) {
    throw argument('Name the broker to reload by exactly one of pid, pidFile, process and command.');
  }
  if (uid !== undefined && name === undefined) throw argument('The option uid needs the option process.');
  if (command !== undefined) return { command: [...command] };
  if (pid !== undefined) return theProcess(pid);
  if (name === undefined) {
    const path = pathOf(pidFile) as string;
    return { find: () => brokerWithPidFile(path) };
  }
  if (uid === undefined) return { find: eligible => brokerCalled(name, eligible) };
  const owner: Eligible = { whom: `user ${uid}`, includes: other => other.uid === uid };
  return { find: () => brokerCalled(name, owner) };
}

/** The process that has this pid when it is looked up for the first time, and no later one. */
function theProcess(pid: number): FindableTarget {
  let start: string | undefined;
  return {
    find() {
      const broker = brokerWithPid(pid);
      start ??= broker.start;
      if (broker.start === start) return broker;
      throw new PasswordFileError(
        'ERR_RELOAD_FAILED',
        `pid ${pid} is another process than before: the broker has ended. Use { pidFile } for one that is started again.`,
      );
    },
  };
}

function isProcessName(name: unknown): boolean {
  return typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= MAX_NAME_BYTES;
}

function isCommand(command: unknown): boolean {
  const isArgument = (part: unknown) => typeof part === 'string' && !part.includes('\0');
  return Array.isArray(command) && command.every(isArgument) && Boolean(command[0]);
}

function pathOf(pidFile: unknown): string | undefined {
  try {
    const path = pidFile instanceof URL ? fileURLToPath(pidFile) : pidFile;
    return typeof path === 'string' && !path.includes('\0') ? path : undefined;
  } catch {
    // A URL with another scheme than file:.
    return undefined;
  }
}

function argument(message: string): PasswordFileError {
  return new PasswordFileError('ERR_INVALID_ARGUMENT', message);
}

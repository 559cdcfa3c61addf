import type { ChildProcess, spawn as Spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { PasswordFileError, type PasswordFileErrorDetails, systemCode } from '../errors.js';
import { pause } from '../util/abort.js';
import {
  type BrokerProcess,
  brokerCalled,
  brokerWithPid,
  brokerWithPidFile,
  hangUp,
  isPid,
} from './process.js';

/** The broker to tell, in exactly one of four ways. */
export type ReloadTarget =
  | {
      /** Its process id, as this process's own pid namespace counts. It must be called `mosquitto`. */
      pid: number;
      pidFile?: undefined;
      process?: undefined;
      command?: undefined;
    }
  | {
      /** The file that holds its process id: `pid_file` in mosquitto.conf. It must be called `mosquitto`. */
      pidFile: string | URL;
      pid?: undefined;
      process?: undefined;
      command?: undefined;
    }
  | {
      /** The name of its process, `'mosquitto'`. Exactly one process must have it. */
      process: string;
      pid?: undefined;
      pidFile?: undefined;
      command?: undefined;
    }
  | {
      /** A program and its arguments, run without a shell, that tells it. It must end with status 0. */
      command: readonly string[];
      pid?: undefined;
      pidFile?: undefined;
      process?: undefined;
    };

/** How long {@link reloadBroker} waits. */
export interface ReloadBrokerOptions {
  /**
   * Milliseconds to wait for a command to end, or for a broker that is starting to listen for SIGHUP.
   * Default 10,000.
   */
  timeout?: number | undefined;
  /** Ends the waiting, and a command that runs: rejects with `signal.reason`. */
  signal?: AbortSignal | undefined;
}

const DEFAULT_TIMEOUT = 10_000;
/** What timers can count. */
const MAX_TIMEOUT = 2 ** 31 - 1;
/** The kernel keeps that much of a process's name (TASK_COMM_LEN in linux/sched.h, less the NUL). */
const MAX_NAME_BYTES = 15;
/** Milliseconds between two looks at a broker that is starting. */
const STARTING_PAUSE = 20;
const MAX_QUOTED = 1_000;

/**
 * Makes a running Mosquitto read its password file again, by SIGHUP or by a command of yours. It signals only a
 * process that is called `mosquitto` (or the name you give), is neither this process nor one that started it, and
 * listens for SIGHUP. A broker that is just starting does not, and SIGHUP would end it; it is waited for. Resolves
 * when the signal is sent or the command has ended; `confirmLogin` tells when a user can log in.
 *
 * Signals take Linux and its /proc, which tells what a pid stands for. Elsewhere only `command` works.
 *
 * @throws PasswordFileError `ERR_RELOAD_FAILED`, which says what stands there instead and what to do;
 *   `ERR_INVALID_ARGUMENT`
 * @example
 * ```ts
 * import { reloadBroker } from 'mosquitto-passwd-ts';
 *
 * try {
 *   await reloadBroker({ process: 'mosquitto' });
 *   // or { pidFile: '/run/mosquitto.pid' } or { pid: 4711 } or { command: ['systemctl', 'reload', 'mosquitto'] }
 * } catch (error) {
 *   console.log((error as Error).message); // None of the 42 processes here is called mosquitto. …
 * }
 * ```
 */
export async function reloadBroker(target: ReloadTarget, options: ReloadBrokerOptions = {}): Promise<void> {
  const { timeout = DEFAULT_TIMEOUT, signal } = options;
  assertReloadTarget(target);
  if (!(typeof timeout === 'number' && timeout >= 0 && timeout <= MAX_TIMEOUT)) {
    throw argument(`The timeout must be a number of milliseconds from 0 to ${MAX_TIMEOUT}.`);
  }
  signal?.throwIfAborted();
  if (target.command !== undefined) return runCommand(target.command, timeout, signal);

  // Mosquitto writes its pid file and reads its password file some time before it installs a handler for SIGHUP
  // (src/mosquitto.c, seen under strace in 2.0.11, 2.0.21 and 2.1.2).
  const deadline = performance.now() + timeout;
  let broker = findBroker(target);
  while (!broker.catchesHangup) {
    if (performance.now() >= deadline) throw neverListened(broker, timeout);
    await pause(STARTING_PAUSE, signal);
    broker = findBroker(target);
  }
  hangUp(broker);
}

/** Throws `ERR_INVALID_ARGUMENT` unless it says in exactly one way which broker to tell. */
export function assertReloadTarget(target: Partial<ReloadTarget>): asserts target is ReloadTarget {
  const { pid, pidFile, process, command } = target ?? {};
  if ([pid, pidFile, process, command].filter(way => way !== undefined).length !== 1) {
    throw argument('Say which broker to reload by exactly one of pid, pidFile, process and command.');
  }
  if (pid !== undefined && !isPid(pid)) throw argument('The pid must be a positive integer.');
  if (pidFile !== undefined) pathOf(pidFile);
  if (process !== undefined && !isProcessName(process)) {
    throw argument(
      `The name of the process must be a string of 1 to ${MAX_NAME_BYTES} bytes, which is what Linux keeps of a name.`,
    );
  }
  if (command !== undefined && !isCommand(command)) {
    throw argument('The command must be an array of strings: a program and its arguments.');
  }
}

function isProcessName(name: unknown): boolean {
  return typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= MAX_NAME_BYTES;
}

function isCommand(command: unknown): boolean {
  const isArgument = (part: unknown) => typeof part === 'string' && !part.includes('\0');
  return Array.isArray(command) && command.every(isArgument) && Boolean(command[0]);
}

function pathOf(pidFile: string | URL): string {
  try {
    const path = pidFile instanceof URL ? fileURLToPath(pidFile) : pidFile;
    if (typeof path === 'string' && path !== '' && !path.includes('\0')) return path;
  } catch {
    // A URL with another scheme than file:.
  }
  throw argument('The pidFile must be a path or a file: URL.');
}

function findBroker(target: Exclude<ReloadTarget, { command: readonly string[] }>): BrokerProcess {
  if (target.pid !== undefined) return brokerWithPid(target.pid);
  if (target.pidFile !== undefined) return brokerWithPidFile(pathOf(target.pidFile));
  return brokerCalled(target.process);
}

function neverListened({ label, name }: BrokerProcess, timeout: number): PasswordFileError {
  return failed(
    `${label} is ${name}, but does not listen for SIGHUP, which would end it. If it is a broker that takes longer ` +
      `than ${timeout} ms to start, raise the timeout; if not, name the broker's own process.`,
  );
}

/** Resolves when the program has ended with status 0. In no case does it run on. */
async function runCommand(
  [program = '', ...args]: readonly string[],
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  // Loaded only now, to keep it out of the time that importing this library takes.
  const { spawn } = await import('node:child_process');
  signal?.throwIfAborted();
  const child = start(spawn, program, args);
  let timer: NodeJS.Timeout | undefined;
  let abort = () => {};
  try {
    await Promise.race([
      ended(child, program),
      new Promise<never>((_, reject) => {
        abort = () => reject(signal?.reason);
        signal?.addEventListener('abort', abort);
        const late = () => reject(failed(`${program} did not end within ${timeout} ms, so it was ended.`));
        timer = setTimeout(late, timeout);
      }),
    ]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
    child.kill('SIGKILL');
    child.unref();
    child.stderr?.destroy();
  }
}

function start(spawn: typeof Spawn, program: string, args: string[]): ChildProcess {
  try {
    return spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], windowsHide: true });
  } catch (cause) {
    throw notStarted(program, cause);
  }
}

function ended(child: ChildProcess, program: string): Promise<void> {
  let stderr = '';
  // There is no pipe where file descriptors ran out.
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-MAX_QUOTED);
  });
  return new Promise((resolve, reject) => {
    child.on('error', cause => reject(notStarted(program, cause)));
    // What it has started in the background may keep its standard error open, which puts off 'close'.
    child.on('exit', status => status === 0 && resolve());
    child.on('close', (status, killedBy) => {
      const end = killedBy === null ? `ended with status ${status}` : `was ended by ${killedBy}`;
      const said = stderr.replace(/[\s\p{Cc}]+/gu, ' ').trim();
      reject(failed(`${program} ${end}${said && `: ${said}`}`));
    });
  });
}

function notStarted(program: string, cause: unknown): PasswordFileError {
  const code = systemCode(cause);
  return failed(`${program} could not be started (${code}). Is it installed here, and on the PATH?`, {
    cause,
  });
}

function argument(message: string): PasswordFileError {
  return new PasswordFileError('ERR_INVALID_ARGUMENT', message);
}

function failed(message: string, details?: PasswordFileErrorDetails): PasswordFileError {
  return new PasswordFileError('ERR_RELOAD_FAILED', message, details);
}

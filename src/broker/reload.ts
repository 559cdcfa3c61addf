import { pause } from '../util/abort.js';
import { isSignal, MAX_TIMER, readOptions, whole } from '../util/read-options.js';
import { runCommand } from './command.js';
import { hangUp } from './hang-up.js';
import { type BrokerProcess, type Eligible, reloadFailed } from './process.js';
import { type ReloadTarget, TARGET_CHECKS, type Target, targetOf } from './reload-target.js';

/**
 * How long {@link reloadBroker} waits.
 *
 * @example await reloadBroker({ command: ['true'] }, { timeout: 60_000 });
 */
export interface ReloadBrokerOptions {
  /**
   * Milliseconds to wait for a command to end, or for each of these: that a broker which is starting listens for SIGHUP,
   * that a reload which is under way is over, and that the broker is idle after the signal. Default 10,000.
   */
  timeout?: number | undefined;
  /** Cancels: ends a command that runs, and rejects with `signal.reason`. */
  signal?: AbortSignal | undefined;
}

export const DEFAULT_TIMEOUT = 10_000;
/** Milliseconds between two looks at a broker that is starting. */
const STARTING_PAUSE = 20;

/**
 * Makes a running Mosquitto read its password file again, by SIGHUP or by a command of yours. It does not check the
 * file; the option `reload` of a `PasswordFile` does. It signals only a process that is called `mosquitto` (or the name
 * you give), is neither this process nor one that started it, and listens for SIGHUP. A broker that is just starting
 * does not, and SIGHUP would end it; it is waited for.
 *
 * Resolves when the broker has read the file, which the kernel shows: it has taken the signal, and waits for clients
 * again. A broker that is busy all the time is waited for until the timeout. Where the kernel does not show that, and
 * after a command, it resolves when the signal has been sent or the command has ended; the broker reads the file some
 * time later. `confirmLogin` shows when a user can log in.
 *
 * Signals need Linux with /proc, which shows what process has a pid. Elsewhere only `command` works.
 *
 * @throws PasswordFileError `ERR_RELOAD_FAILED`: there is no such broker, this process may not signal it, it ended or
 *   stopped before it had read the file, or the command failed or took too long; the message says what to do.
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
  const found = targetOf(readOptions(target, TARGET_CHECKS, 'target'));
  const checks = { timeout: whole(0, MAX_TIMER), signal: isSignal };
  await sendReload(found, ROOT_OR_CALLER, readOptions(options, checks));
}

const ROOT_OR_CALLER: Eligible = {
  whom: 'root or to the user of this process',
  includes: ({ uid }) => [0, process.getuid?.(), process.geteuid?.()].includes(uid),
};

/** {@link reloadBroker} with checked arguments. Resolves with the CPU time of the reload, where the kernel shows it. */
export async function sendReload(
  target: Target,
  eligible: Eligible,
  { timeout = DEFAULT_TIMEOUT, signal }: ReloadBrokerOptions,
): Promise<number | undefined> {
  signal?.throwIfAborted();
  if (typeof target !== 'function') {
    await runCommand(target, timeout, signal);
    return undefined;
  }
  const findReader = () => {
    const broker = target(eligible);
    eligible.assertLoads?.(broker.owner);
    return broker;
  };
  const find = () => listening(findReader, timeout, signal);
  const { broker, outcome } = await hangUp(find, timeout, signal);
  if (outcome !== 'ended') return cpuTimeOf(outcome);
  const fail = (cause?: unknown): never => {
    signal?.throwIfAborted();
    const remedy = 'and its log may say why. Start it again; it reads the file then.';
    throw reloadFailed(`${broker.label} ended before it had read the file, ${remedy}`, { cause });
  };
  // A broker that has taken its place may have read the file before it was changed.
  const next = await hangUp(() => find().catch(fail), timeout, signal);
  return next.outcome === 'ended' ? fail() : cpuTimeOf(next.outcome);
}

function cpuTimeOf(outcome: number | 'unknown'): number | undefined {
  return outcome === 'unknown' ? undefined : outcome;
}

/**
 * The broker, as soon as it listens for SIGHUP. Mosquitto writes its pid file and reads its password file some time
 * before that (src/mosquitto.c, seen under strace in 2.0.11, 2.0.21 and 2.1.2).
 */
async function listening(
  find: () => BrokerProcess,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<BrokerProcess> {
  const deadline = performance.now() + timeout;
  for (;;) {
    const broker = find();
    if (broker.catchesHangup) return broker;
    if (performance.now() >= deadline) {
      throw reloadFailed(
        `${broker.label} is ${broker.name}, but has not listened for SIGHUP within ${timeout} ms, and would be ended by ` +
          "it. If it is a broker that is still starting, repeat this later; if not, name the broker's own process.",
      );
    }
    await pause(STARTING_PAUSE, signal);
  }
}

import type { ChildProcess } from 'node:child_process';
import { PasswordFileError } from '../errors.js';
import { pause } from '../util/abort.js';
import { reloadFailed } from './process.js';

/** How much a message quotes of what the program wrote. */
const MAX_QUOTED = 1_000;
/**
 * Milliseconds after the end of the program in which the rest of its standard error is read. What it has started in the
 * background may keep that open for longer.
 */
const REST = 100;
const BY_HAND = 'Run it by hand to see';

/** Resolves when the program has ended with status 0. If it runs for too long or the signal aborts, it is killed. */
export async function runCommand(
  [program = '', ...args]: readonly string[],
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  // Loaded only now, to keep it out of the time that importing this library takes.
  const { spawn } = await import('node:child_process');
  signal?.throwIfAborted();
  let child: ChildProcess | undefined;
  try {
    child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], windowsHide: true });
    let stderr = '';
    // There is no pipe if this process has run out of file descriptors.
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-MAX_QUOTED);
    });
    const exit = new Promise<[status: number | null, killedBy: string | null]>((resolve, reject) => {
      child?.on('exit', (...end) => resolve(end)).on('error', reject);
    });
    const ended = await pause(timeout, signal, exit);
    if (ended === undefined)
      throw reloadFailed(
        `${program} did not end within ${timeout} ms, so it was killed. What it had started may still run. ${BY_HAND} what it waits for.`,
      );
    const [status, killedBy] = ended;
    if (status === 0) return;
    await pause(REST, undefined);
    const end = killedBy === null ? `ended with status ${status}` : `was ended by ${killedBy}`;
    const said = stderr.replace(/[\s\p{Cc}]+/gu, ' ').trim();
    throw reloadFailed(`${program} ${end}${said && ` (${JSON.stringify(said)})`}. ${BY_HAND} why.`);
  } catch (cause) {
    signal?.throwIfAborted();
    throw cause instanceof PasswordFileError ? cause : notStarted(program, cause as NodeJS.ErrnoException);
  } finally {
    // Without a pid it was not started, and Deno throws at the next two calls.
    if (child?.pid !== undefined) {
      child.kill('SIGKILL');
      child.unref();
    }
    child?.stderr?.destroy();
  }
}

/** The error of the system holds the arguments, which may be secrets. The cause made here does not. */
function notStarted(program: string, { code, errno }: NodeJS.ErrnoException): PasswordFileError {
  const cause = Object.assign(new Error(`spawn ${program} ${code}`), { code, errno, syscall: 'spawn' });
  const remedy = code === 'ENOENT' ? ' Is it installed here, and on the PATH?' : '';
  return reloadFailed(`${program} could not be started (${code}).${remedy}`, { cause });
}

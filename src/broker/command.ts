import { PasswordFileError } from '../errors.js';
import { orAborted } from '../util/abort.js';
import { reloadFailed } from './process.js';

/** How much a message quotes of what the program wrote. */
const MAX_QUOTED = 1_000;
/**
 * Milliseconds after the end of the program in which the rest of its standard error is read. What it has started in the
 * background may keep that open for longer.
 */
const REST = 100;

/** Resolves when the program has ended with status 0. If it runs for too long or the signal aborts, it is killed. */
export async function runCommand(
  [program = '', ...args]: readonly string[],
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  // Loaded only now, to keep it out of the time that importing this library takes.
  const { spawn } = await import('node:child_process');
  signal?.throwIfAborted();
  let stop = (): void => undefined;
  const ended = new Promise<void>((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], windowsHide: true });
    const fail = (problem: string) => reject(reloadFailed(`${program} ${problem}`));
    let timer = setTimeout(() => fail(`did not end within ${timeout} ms, so it was ended.`), timeout);
    stop = () => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      child.unref();
      child.stderr?.destroy();
    };
    let stderr = '';
    // There is no pipe if this process has run out of file descriptors.
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-MAX_QUOTED);
    });
    child.on('error', reject);
    const failed = (status: number | null, killedBy: NodeJS.Signals | null) => {
      const said = stderr.replace(/[\s\p{Cc}]+/gu, ' ').trim();
      const end = killedBy === null ? `ended with status ${status}` : `was ended by ${killedBy}`;
      fail(`${end}${said && `: ${said}`}`);
    };
    child.on('exit', (status, killedBy) => {
      if (status === 0) return resolve();
      clearTimeout(timer);
      timer = setTimeout(failed, REST, status, killedBy);
    });
    child.on('close', failed);
  }).catch(cause => {
    throw cause instanceof PasswordFileError ? cause : notStarted(program, cause);
  });
  try {
    await orAborted(ended, signal);
  } finally {
    stop();
  }
}

/** The error of the system holds the arguments, which may be secrets. The cause made here does not. */
function notStarted(program: string, { code, errno }: NodeJS.ErrnoException): PasswordFileError {
  const cause = Object.assign(new Error(`spawn ${program} ${code}`), { code, errno, syscall: 'spawn' });
  return reloadFailed(`${program} could not be started (${code}). Is it installed here, and on the PATH?`, {
    cause,
  });
}

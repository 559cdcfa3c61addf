/** Calls of the program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { inject } from 'vitest';
import { undoing } from './leftovers.js';

/** The path of the program, built from the sources as they are. */
export const PROGRAM = inject('program');

/** How a call ended. */
export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CallOptions {
  cwd?: string | undefined;
  /** Options of Node. */
  node?: readonly string[] | undefined;
  input?: string | Uint8Array | undefined;
  /** Whether standard input stays open. */
  keepsInput?: boolean | undefined;
  /** Called with the process once it is started. */
  onStart?: ((child: ChildProcess) => void) | undefined;
}

/** Runs the program to its end. */
export async function call(argv: readonly string[], options: CallOptions = {}): Promise<Ended> {
  const child = spawn(process.execPath, [...(options.node ?? []), PROGRAM, ...argv], {
    cwd: options.cwd,
    stdio: 'pipe',
  });
  using _killed = undoing(() => child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  // The program need not read its input: then writing it fails.
  child.stdin.on('error', () => {});
  if (options.keepsInput) child.stdin.write(options.input ?? '');
  else child.stdin.end(options.input);
  options.onStart?.(child);
  const [status, signal] = await once(child, 'close');
  return { status, signal, ...output };
}

/** The program, built from the sources as they are, and calls of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';
import { afterAll, beforeAll } from 'vitest';
import { program } from '../../tsup.config.js';
import { temporaryFolder, undoing } from './leftovers.js';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

/** Builds the program before the tests of a file; `path` is set by then. */
export function useProgram(): { readonly path: string } {
  const built = { path: '' };
  const folder = temporaryFolder('cli');
  beforeAll(async () => {
    built.path = await buildProgram(folder.path);
  });
  afterAll(() => folder[Symbol.dispose]());
  return built;
}

async function buildProgram(folder: string): Promise<string> {
  // It tells the version of the package that it lies in.
  await copyFile(join(PROJECT, 'package.json'), join(folder, 'package.json'));
  const entry = { cli: join(PROJECT, 'src/cli/main.ts') };
  const outDir = join(folder, 'dist');
  await build({
    ...program,
    config: false,
    entry,
    outDir,
    tsconfig: join(PROJECT, 'tsconfig.json'),
    silent: true,
  });
  return join(outDir, 'cli.cjs');
}

/** How a call ended. */
export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface CallOptions {
  cwd?: string | undefined;
  input?: string | Uint8Array | undefined;
  /** Gets the process when it has just started. */
  onStart?: ((child: ChildProcess) => void) | undefined;
}

/** Runs a script with Node to its end. */
export async function call(path: string, argv: readonly string[], options: CallOptions = {}): Promise<Ended> {
  const child = spawn(process.execPath, [path, ...argv], { cwd: options.cwd, stdio: 'pipe' });
  using _killed = undoing(() => child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  // It need not read all of it, or any.
  child.stdin.on('error', () => {});
  child.stdin.end(options.input);
  options.onStart?.(child);
  const [status, signal] = await once(child, 'close');
  return { status, signal, ...output };
}

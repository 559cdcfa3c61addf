/** The runtimes that test/support/install-runtimes.sh installs beside the Node that runs the tests. */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Need } from './require.js';

const { XDG_CACHE_HOME } = process.env;
export const CACHE = join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'mosquitto-passwd-ts');

export interface Runtime {
  title: string;
  need: Need;
  /** The command that runs a script; `undefined`: it is not installed. */
  launch: readonly [program: string, ...flags: string[]] | undefined;
}

export const RUNTIMES: readonly Runtime[] = [
  ...[20, 22, 24, 26].map(major => runtime(`Node ${major}`, `node-${major}`, 'node')),
  runtime('Bun', 'bun', 'bun'),
  runtime('Deno', 'deno', 'deno', ['run', '--quiet', '--no-prompt', '--allow-all']),
];

export const DENO: Runtime = runtime('Deno', 'deno', 'deno', ['run', '--quiet', '--no-prompt']);

function runtime(title: string, name: string, program: string, flags: string[] = []): Runtime {
  const path =
    title === `Node ${parseInt(process.versions.node, 10)}`
      ? process.execPath
      : join(CACHE, name, 'bin', program);
  const launch = statSync(path, { throwIfNoEntry: false }) && ([path, ...flags] as const);
  const what = `${title} (by test/support/install-runtimes.sh ${name})`;
  return { title, launch, need: { what, isProgram: true, met: () => launch !== undefined } };
}

/** The version that a program prints for --version. */
export function versionOf({ launch }: Runtime): string {
  const { stdout } = spawnSync(launch?.[0] ?? '', ['--version'], { encoding: 'utf8' });
  return /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? 'unknown';
}

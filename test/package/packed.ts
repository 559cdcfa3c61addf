/** Packs the package, and installs it into an empty directory beside the consumers of consumer/. */
import { execFile } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { cp, mkdtemp, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const run = promisify(execFile);
export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

export interface Packed {
  /** The directory with the tarball and the installed package. */
  directory: string;
  tarball: string;
  /** The directory of the package in node_modules. */
  installed: string;
}

export async function packAndInstall(): Promise<Packed> {
  if (newest('src', 'package.json', 'tsup.config.ts') > newest('dist')) await npm('run', 'build');
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'package-')));
  await npm('pack', '--ignore-scripts', '--pack-destination', directory);
  const tarball = join(directory, readdirSync(directory).find(name => name.endsWith('.tgz')) as string);
  // Without dependencies it needs no registry.
  await npm('install', '--prefix', directory, '--offline', tarball);
  await cp(join(PROJECT, 'test/package/consumer'), directory, { recursive: true });
  return { directory, tarball, installed: join(directory, 'node_modules/mosquitto-passwd-ts') };
}

/** Runs npm in the project. */
export function npm(command: string, ...args: string[]): Promise<{ stdout: string }> {
  const flags = [
    ...['--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'],
    ...['--fetch-retries=2', '--fetch-retry-mintimeout=500', '--fetch-retry-maxtimeout=2000'],
  ];
  // On Windows npm is a batch file, which cannot be started without a shell.
  const [program, ...script] =
    process.platform === 'win32'
      ? [process.execPath, join(dirname(process.execPath), 'node_modules/npm/bin/npm-cli.js')]
      : ['npm'];
  return run(program as string, [...script, command, ...flags, ...args], { cwd: PROJECT });
}

/** The mtime of the newest of these files, or of the files in these directories; 0: there is none. */
function newest(...names: string[]): number {
  const times = names.flatMap(name => {
    const path = join(PROJECT, name);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (!stats?.isDirectory()) return stats?.mtimeMs ?? 0;
    return readdirSync(path).map(child => newest(join(name, child)));
  });
  return Math.max(0, ...times);
}

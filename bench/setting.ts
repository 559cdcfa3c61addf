/** The setting of the benchmarks: the built package, files of any size, and the machine. */
import { execFile } from 'node:child_process';
import { pbkdf2Sync } from 'node:crypto';
import * as fs from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The built package, as it is published. */
export const library: typeof import('../src/index.js') = await import(
  new URL('../dist/index.js', import.meta.url).href
);

export const run = promisify(execFile);

/** The directory of all files, on the disk of TMPDIR. */
export const directory = fs.mkdtempSync(join(tmpdir(), 'passwd-bench-'));
process.on('exit', () => fs.rmSync(directory, { recursive: true, force: true }));

export const PASSWORD = 'correct horse';
const SALT = Buffer.alloc(12, 7);
const HASH = `$7$101$${SALT.toString('base64')}$${pbkdf2Sync(PASSWORD, SALT, 101, 64, 'sha512').toString('base64')}`;

export function nameOf(user: number): string {
  return `device_${user.toString(36).padStart(8, '0')}`;
}

/** Writes a file of so many users, each with the hash of one password (129 bytes a line), or with a plain-text password. */
export function makeFile(name: string, users: number, what: 'hashed' | 'plain' = 'hashed'): string {
  const path = join(directory, name);
  const fd = fs.openSync(path, 'w', 0o600);
  const block = 10_000;
  for (let first = 0; first < users; first += block) {
    const lines = Array.from({ length: Math.min(block, users - first) }, (_, i) => {
      const user = nameOf(first + i);
      return `${user}:${what === 'hashed' ? HASH : `secret of ${user}`}\n`;
    });
    fs.writeSync(fd, lines.join(''));
  }
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  return path;
}

/**
 * Throws unless the file now lets the user in by this password. Another process looks up the hash, so that this one has
 * no second copy of a large file to collect during the next run.
 */
export async function expectUser(path: string, username: string, password: string): Promise<void> {
  const { stdout } = await run('grep', ['-a', '-m', '1', `^${username}:`, path]).catch(() => ({
    stdout: '',
  }));
  const hash = stdout.trimEnd().slice(username.length + 1);
  if (hash === '' || !(await library.verifyPassword(password, hash))) {
    throw new Error(`${path}: ${username} is missing, or has another password`);
  }
}

export function expectEqual(found: unknown, wanted: unknown, what: string): void {
  if (found !== wanted) throw new Error(`${what}: ${found} instead of ${wanted}`);
}

/** Spawns `mosquitto_passwd`, as services do. */
export async function spawnTool(...args: string[]): Promise<void> {
  await run('mosquitto_passwd', args);
}

export async function toolVersion(): Promise<string | undefined> {
  // mosquitto_passwd prints no version. The broker of the same package does, and exits with status 3.
  const help = await run('mosquitto', ['-h']).catch((error: { stdout?: string }) => error);
  return /version (\S+)/.exec(help.stdout ?? '')?.[1];
}

/** Processor, memory, disk and versions, which the figures depend on. */
export async function machine(): Promise<string[]> {
  const df = await run('df', ['--output=source,fstype', directory]);
  const [device = '?', type = '?'] = df.stdout.trim().split('\n').at(-1)?.split(/\s+/) ?? [];
  const cores = cpus();
  return [
    `${cores.length} × ${cores[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${type} on ${device}`,
    `Node ${process.versions.node}, OpenSSL ${process.versions.openssl}, mosquitto_passwd ${(await toolVersion()) ?? 'missing'}`,
  ];
}

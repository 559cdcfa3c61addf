/** A PostgreSQL server for one test: a cluster in a temporary directory, on a socket there, run by an ordinary user. */
import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { which } from './broker.js';
import { temporaryDirectory, undoing } from './leftovers.js';
import type { Need } from './require.js';

const DEBIAN = '/usr/lib/postgresql';
/** The user `nobody`, because the server refuses to run as root. */
const USER = process.geteuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

export const postgres: Need = {
  what: 'PostgreSQL (Debian: postgresql)',
  isProgram: true,
  met: () => directoryOfPrograms() !== undefined,
};

/** The directory of the programs. Debian has one for each major version, which is not on the PATH. */
function directoryOfPrograms(): string | undefined {
  const path = which('initdb');
  if (path !== undefined) return dirname(path);
  try {
    const newest = Math.max(...readdirSync(DEBIAN).map(Number).filter(Number.isFinite));
    return Number.isFinite(newest) ? join(DEBIAN, String(newest), 'bin') : undefined;
  } catch {
    return undefined;
  }
}

export class Postgres implements AsyncDisposable {
  /** The environment by which libpq and pg find the server. */
  readonly env: { PGHOST: string; PGUSER: string; PGDATABASE: string };
  readonly #directory: ReturnType<typeof temporaryDirectory>;
  #running: { child: ChildProcessByStdio<null, null, Readable>; undone: Disposable } | undefined;

  private constructor(directory: ReturnType<typeof temporaryDirectory>) {
    this.#directory = directory;
    this.env = { PGHOST: directory.path, PGUSER: 'postgres', PGDATABASE: 'postgres' };
  }

  /** Creates a cluster and starts its server. */
  static async start(): Promise<Postgres> {
    const directory = temporaryDirectory('postgres');
    if (USER.uid !== undefined) chownSync(directory.path, USER.uid, USER.gid);
    const created = new Postgres(directory);
    const args = [
      '-D',
      created.#data,
      '-U',
      'postgres',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '--locale=C',
      '--no-sync',
    ];
    await promisify(execFile)(created.#program('initdb'), args, { ...USER, cwd: directory.path });
    await created.restart();
    return created;
  }

  get #data(): string {
    return join(this.#directory.path, 'data');
  }

  #program(name: string): string {
    return join(directoryOfPrograms() ?? '', name);
  }

  /** Starts the server again after `kill`. Resolves when it accepts connections. */
  async restart(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const log = await this.#tryToStart();
      if (log === undefined) return;
      // After SIGKILL, its children end a moment later.
      if (attempt === 50 || !/shared memory|lock file/.test(log)) {
        throw new Error(`PostgreSQL does not start:\n${log}`);
      }
      await pause(200);
    }
  }

  /** @returns the log of a server that ended instead of starting */
  async #tryToStart(): Promise<string | undefined> {
    const options = ['listen_addresses=', 'fsync=off', 'log_min_messages=warning', 'max_connections=60'];
    const args = ['-D', this.#data, '-k', this.#directory.path, ...options.flatMap(each => ['-c', each])];
    const child = spawn(this.#program('postgres'), args, {
      ...USER,
      cwd: this.#directory.path,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const undone = undoing(() => child.kill('SIGQUIT'));
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
    const exited = once(child, 'exit');
    while (child.exitCode === null && child.signalCode === null) {
      if (log.includes('ready to accept connections')) {
        this.#running = { child, undone };
        return undefined;
      }
      await Promise.race([once(child.stderr, 'data'), exited]);
    }
    undone[Symbol.dispose]();
    return log;
  }

  /** SIGQUIT ends all processes at once. SIGKILL ends the server, and its children a moment later. */
  async kill(signal: 'SIGQUIT' | 'SIGKILL' = 'SIGQUIT'): Promise<void> {
    if (this.#running === undefined) return;
    const { child, undone } = this.#running;
    this.#running = undefined;
    child.kill(signal);
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    undone[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#directory[Symbol.dispose]();
  }
}

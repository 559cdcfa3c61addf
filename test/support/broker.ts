/** Real Mosquitto programs: finding them, running a broker, logging in to it. */
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readdirSync, rmSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { generate, type IConnectPacket, parser } from 'mqtt-packet';

export type Release = '2.0' | '2.1';

/** A program of one Mosquitto release. */
export interface Program {
  /** As the release's broker prints it: `2.0.11`. */
  version: string;
  release: Release;
  path: string;
}

export type Broker = Program;
export type PasswdTool = Program;

let brokers: Broker[] | undefined;
let passwdTools: PasswdTool[] | undefined;

/** The `mosquitto` on the PATH and those that test/support/unpack-releases.sh unpacked, each version once. */
export function findBrokers(): Broker[] {
  brokers ??= findPrograms('mosquitto', path => path);
  return brokers;
}

/** The `mosquitto_passwd` programs. They do not print their version, so the broker that was installed with each does. */
export function findPasswdTools(): PasswdTool[] {
  passwdTools ??= findPrograms('mosquitto_passwd', path =>
    ['mosquitto', '../sbin/mosquitto'].map(sibling => join(dirname(path), sibling)).find(isExecutable),
  );
  return passwdTools;
}

/** The path of a program on the PATH or in the directories of system programs. */
export function which(name: string): string | undefined {
  const { PATH = '' } = process.env;
  const directories = [...PATH.split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return directories.map(directory => join(directory, name)).find(isExecutable);
}

function findPrograms(name: string, brokerOf: (path: string) => string | undefined): Program[] {
  const unpacked = releaseDirectories().map(directory => join(directory, 'bin', name));
  const found = new Map<string, Program>();
  for (const path of [which(name) ?? [], unpacked.filter(isExecutable)].flat()) {
    const broker = brokerOf(path);
    const version = broker && versionOf(broker);
    if (!version || found.has(version)) continue;
    found.set(version, { version, release: version.startsWith('2.0.') ? '2.0' : '2.1', path });
  }
  return [...found.values()];
}

function versionOf(broker: string): string | undefined {
  return /^mosquitto version (2\.\S+)/m.exec(spawnSync(broker, ['-h'], { encoding: 'utf8' }).stdout)?.[1];
}

function releaseDirectories(): string[] {
  const { MOSQUITTO_RELEASES, XDG_CACHE_HOME } = process.env;
  const caches = ['/var/cache', XDG_CACHE_HOME || join(homedir(), '.cache')];
  const parents = MOSQUITTO_RELEASES
    ? [MOSQUITTO_RELEASES]
    : caches.map(cache => join(cache, 'mosquitto-passwd-ts/releases'));
  return parents.flatMap(parent => subdirectories(parent).map(name => join(parent, name)));
}

function subdirectories(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export interface BrokerOptions {
  /** Absent: `config` decides who can log in. */
  passwordFile?: string | undefined;
  /** The user it becomes when root starts it; it stays root by default, so that it can read the file. */
  user?: string | undefined;
  /** Further lines of configuration. */
  config?: string | undefined;
  /** Further environment variables. */
  env?: Record<string, string> | undefined;
}

export interface BrokerExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** The broker exited instead of starting. */
export class BrokerDidNotStart extends Error {
  override readonly name = 'BrokerDidNotStart';

  constructor(
    readonly exit: BrokerExit,
    readonly log: string,
  ) {
    super(`mosquitto did not start (${exit.signal ?? `status ${exit.code}`}):\n${log}`);
  }
}

/** Starts a broker on 127.0.0.1 that lets in the users of a password file. Resolves when it listens. */
export async function startBroker(broker: Broker, options: BrokerOptions): Promise<RunningBroker> {
  const directory = await mkdtemp(join(tmpdir(), 'mosquitto-'));
  const config = join(directory, 'mosquitto.conf');
  try {
    // The broker reads its configuration again on reload, then perhaps as another user.
    await chmod(directory, 0o755);
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      await writeFile(config, configuration(port, options));
      await chmod(config, 0o644);
      const env = { ...process.env, ...options.env };
      const child = spawn(broker.path, ['-c', config], { stdio: ['ignore', 'ignore', 'pipe'], env });
      const running = new RunningBroker(child, port, directory);
      // Mosquitto 2.0 forgets a SIGTERM that comes between this line and its main loop.
      const started = await running.logged(`mosquitto version ${broker.version} running`);
      if (started && (await running.answers())) return running;
      if (attempt < 5 && running.log().includes('Address already in use')) continue;
      throw new BrokerDidNotStart(await running.exited, running.log());
    }
  } catch (error) {
    await rm(directory, { recursive: true });
    throw error;
  }
}

function configuration(port: number, { passwordFile, user, config = '' }: BrokerOptions): string {
  return `listener ${port} 127.0.0.1
allow_anonymous false
${passwordFile === undefined ? '' : `password_file ${passwordFile}`}
persistence false
log_dest stderr
log_type all
user ${user ?? 'root'}
${config}
`;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

type BrokerProcess = ChildProcessByStdio<null, null, Readable>;

/** Running brokers and their directories. They are removed with the process, because a test may fail to stop them. */
const processes = new Map<BrokerProcess, string>();

function killAll(): void {
  for (const [child, directory] of processes) {
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
}

process.once('exit', killAll);
// Vitest ends a worker by this signal while a test still waits.
process.once('SIGTERM', () => {
  killAll();
  process.kill(process.pid, 'SIGTERM');
});

export class RunningBroker implements AsyncDisposable {
  readonly port: number;
  readonly exited: Promise<BrokerExit>;
  readonly #child: BrokerProcess;
  readonly #directory: string;
  #log = '';

  constructor(child: BrokerProcess, port: number, directory: string) {
    this.port = port;
    this.#child = child;
    this.#directory = directory;
    processes.set(child, directory);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
    });
    this.exited = once(child, 'close').then(([code, signal]) => {
      processes.delete(child);
      return { code, signal };
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** The log so far. */
  log(): string {
    return this.#log;
  }

  /** Waits until the log contains a text this many times; false: the broker exited before that. */
  async logged(text: string, times = 1): Promise<boolean> {
    let running = true;
    const exited = this.exited.then(() => {
      running = false;
    });
    while (this.#count(text) < times) {
      if (!running) return false;
      await Promise.race([once(this.#child.stderr, 'data'), exited]);
    }
    return true;
  }

  /** How many reloads of configuration and password file the broker has begun. */
  get reloads(): number {
    return this.#count('Reloading config.');
  }

  /** Waits until this many reloads have ended; false: the broker exited. */
  async reloaded(times: number): Promise<boolean> {
    // The broker logs that line, then reads its files, and answers clients only after that.
    return (await this.logged('Reloading config.', times)) && this.answers();
  }

  /** Waits until the broker answers a client; false: it exited. */
  async answers(): Promise<boolean> {
    const answer = await login(this.port).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNREFUSED' && error.code !== 'ECONNRESET') throw error;
      return null;
    });
    if (answer === null) await this.exited;
    return answer !== null;
  }

  /** Sends SIGHUP and waits until the broker has read its password file again; false: it exited. */
  async reload(): Promise<boolean> {
    // The broker loses a signal that arrives during a reload.
    if (!(await this.answers())) return false;
    const times = this.reloads + 1;
    this.#child.kill('SIGHUP');
    return this.reloaded(times);
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    this.#child.kill('SIGCONT');
    const stuck = setTimeout(() => this.#child.kill('SIGKILL'), 5_000);
    await this.exited;
    clearTimeout(stuck);
    await rm(this.#directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #count(text: string): number {
    return this.#log.split(text).length - 1;
  }
}

/**
 * What a broker on 127.0.0.1 answers to MQTT 3.1.1 CONNECT: 0 lets the user in, 4 and 5 do not, null is a
 * connection dropped without an answer.
 */
export async function login(
  port: number,
  username?: string | Uint8Array,
  password?: string | Uint8Array,
): Promise<number | null> {
  // The types of mqtt-packet allow only a string as username, the code accepts bytes too.
  const packet = {
    cmd: 'connect',
    clientId: '',
    clean: true,
    username: bytes(username),
    password: bytes(password),
  };
  const hello = generate(packet as unknown as IConnectPacket);
  return new Promise((resolve, reject) => {
    let answer: number | null = null;
    let failure: Error | undefined;
    const socket = connect(port, '127.0.0.1');
    const packets = parser().on('packet', received => {
      if (received.cmd !== 'connack') return;
      answer = received.returnCode ?? null;
      if (answer === 0) socket.write(generate({ cmd: 'disconnect' }));
      socket.end();
    });
    socket
      .on('connect', () => socket.write(hello))
      .on('data', data => packets.parse(data))
      .on('error', error => {
        // A connection that is lost after it was made is an answer too.
        if (socket.bytesWritten === 0) failure = error;
      })
      .on('close', () => (failure ? reject(failure) : resolve(answer)))
      .setTimeout(10_000, () => {
        failure = new Error(`the broker on port ${port} does not answer`);
        socket.destroy();
      });
  });
}

function bytes(value: string | Uint8Array | undefined): Buffer | undefined {
  if (value === undefined) return undefined;
  const encoded = Buffer.from(value);
  if (encoded.length > 65_535) throw new RangeError(`MQTT cannot carry ${encoded.length} bytes`);
  return encoded;
}

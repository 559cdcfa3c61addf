/** Runs examples/fleet: a database, and an agent beside each broker that is installed. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import type { Listener } from '../../examples/fleet/register.js';
import { type Broker, findBrokers, type RunningBroker, startBroker } from './broker.js';
import { temporaryDirectory, undoing } from './leftovers.js';
import { Postgres } from './postgres.js';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

export class Fleet implements AsyncDisposable {
  readonly sites: Site[];
  readonly #directory = temporaryDirectory('fleet');

  private constructor(
    readonly postgres: Postgres,
    readonly database: pg.Pool,
  ) {
    this.sites = findBrokers().map(program => new Site(program, this.#directory.path, postgres));
  }

  /** Resolves when all brokers listen and all agents have copied the table, which is empty. */
  static async start(): Promise<Fleet> {
    const postgres = await Postgres.start();
    const { PGHOST: host, PGUSER: user, PGDATABASE: database } = postgres.env;
    const pool = new pg.Pool({ host, user, database, max: 20, connectionTimeoutMillis: 5_000 });
    // Errors of idle connections are ignored, because the next query fails with them.
    pool.on('error', () => undefined);
    const fleet = new Fleet(postgres, pool);
    try {
      await pool.query(readFileSync(join(PROJECT, 'examples/fleet/schema.sql'), 'utf8'));
      for (const site of fleet.sites) {
        await site.startAgent();
        await site.startBroker();
      }
      return fleet;
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  }

  get listeners(): Listener[] {
    return this.sites.map(({ listener }) => listener);
  }

  /** The lines that each password file should have. */
  async lines(): Promise<string[]> {
    const { rows } = await this.database.query('SELECT username, hash FROM device');
    return rows.map(({ username, hash }) => `${username}:${hash}`).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const site of this.sites) await site[Symbol.asyncDispose]();
    await this.database.end();
    await this.postgres[Symbol.asyncDispose]();
    this.#directory[Symbol.dispose]();
  }
}

/** A broker, its password file and its agent. */
export class Site implements AsyncDisposable {
  readonly path: string;
  readonly #pidFile: string;
  broker: RunningBroker | undefined;
  agent: Agent | undefined;
  #port = 0;

  constructor(
    readonly program: Broker,
    directory: string,
    readonly postgres: Postgres,
  ) {
    this.path = join(directory, `passwd-${program.version}`);
    this.#pidFile = join(directory, `${program.version}.pid`);
  }

  async startBroker(): Promise<void> {
    const config = `pid_file ${this.#pidFile}\nlog_type none\nlog_type information`;
    this.broker = await startBroker(this.program, { passwordFile: this.path, config });
    this.#port = this.broker.port;
  }

  /** Kills the broker with SIGKILL, so that it can do nothing more. */
  async killBroker(): Promise<void> {
    const { broker } = this;
    if (broker === undefined) return;
    process.kill(broker.pid, 'SIGKILL');
    await broker.stop();
    this.broker = undefined;
  }

  /** Resolves when the agent has copied the table. */
  async startAgent(): Promise<void> {
    this.launchAgent();
    await this.agent?.copied(1);
  }

  launchAgent(): void {
    this.agent = new Agent({
      ...this.postgres.env,
      // A test finds the agent's connection by this name.
      PGAPPNAME: `agent of ${this.program.version}`,
      MQTT_PASSWD_FILE: this.path,
      MQTT_BROKER_PID_FILE: this.#pidFile,
    });
  }

  async killAgent(): Promise<void> {
    await this.agent?.[Symbol.asyncDispose]();
    this.agent = undefined;
  }

  /** The port of the last broker that was started. */
  get listener(): Listener {
    return { host: '127.0.0.1', port: this.#port };
  }

  lines(): string[] {
    return readFileSync(this.path, 'utf8').split('\n').slice(0, -1).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killAgent();
    await this.broker?.stop();
  }
}

/** examples/fleet/agent.ts in a process of its own. */
export class Agent implements AsyncDisposable {
  output = '';
  errors = '';
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  readonly #exited: Promise<unknown>;

  constructor(env: Record<string, string>) {
    const args = ['--import', 'tsx', 'examples/fleet/agent.ts'];
    const { PATH = '' } = process.env;
    this.#process = spawn(process.execPath, args, {
      cwd: PROJECT,
      env: { PATH, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const gone = undoing(() => this.#process.kill('SIGKILL'));
    this.#exited = once(this.#process, 'close').then(() => gone[Symbol.dispose]());
    this.#process.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    this.#process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
    });
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  /** Waits until the agent has copied the whole table this many times. */
  async copied(times: number): Promise<void> {
    while (this.copies < times) await this.#said(this.#process.stdout);
  }

  /** How many times the agent has copied the whole table. */
  get copies(): number {
    return this.output.split('copied all').length - 1;
  }

  /** Waits until the agent has reported an error with this text. */
  async complained(text: string): Promise<void> {
    while (!this.errors.includes(text)) await this.#said(this.#process.stderr);
  }

  async #said(stream: Readable): Promise<void> {
    const ended = this.#exited.then(() => {
      throw new Error(`the agent has ended: ${this.errors}`);
    });
    await Promise.race([once(stream, 'data'), ended]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }
}

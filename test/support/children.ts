/** Child processes that run the library from its source: bundled once for each test file, because many are started. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';
import { temporaryDirectory, undoing } from './leftovers.js';

const SOURCES = fileURLToPath(new URL('../faults/children/', import.meta.url));

let bundles: Promise<string> | undefined;

async function bundleAll(): Promise<string> {
  const { path } = temporaryDirectory('children');
  const entries = readdirSync(SOURCES).map(name => [name.replace(/\.ts$/, ''), join(SOURCES, name)]);
  await build({
    entry: Object.fromEntries(entries),
    outDir: path,
    outExtension: () => ({ js: '.mjs' }),
    format: 'esm',
    target: 'node20',
    config: false,
    silent: true,
    clean: false,
  });
  // Tests run them as other users too.
  await chmod(path, 0o755);
  return path;
}

export interface ChildOptions {
  /** A command that starts the process, for example `['strace', '-f']`. */
  under?: readonly string[];
  env?: Record<string, string>;
}

/** Starts test/faults/children/<name>.ts, with one argument of any JSON. Resolves when it reports that it is ready. */
export async function startChild(
  name: string,
  argument: unknown,
  options: ChildOptions = {},
): Promise<Child> {
  bundles ??= bundleAll();
  const program = join(await bundles, `${name}.mjs`);
  const [command = '', ...args] = [
    ...(options.under ?? []),
    process.execPath,
    program,
    JSON.stringify(argument),
  ];
  const child = new Child(
    spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env } }),
  );
  child.greeting = await child.next();
  return child;
}

/** Starts several at once. */
export async function startChildren(starts: Iterable<Promise<Child>>): Promise<Child[] & AsyncDisposable> {
  const outcomes = await Promise.allSettled(starts);
  const children = outcomes.flatMap(each => (each.status === 'fulfilled' ? each.value : []));
  const end = async () => {
    await Promise.all(children.map(child => child[Symbol.asyncDispose]()));
  };
  for (const each of outcomes) {
    if (each.status === 'fulfilled') continue;
    await end();
    throw each.reason;
  }
  return Object.assign(children, { [Symbol.asyncDispose]: end });
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A process that receives orders and reports results, each as a line of JSON. */
export class Child implements AsyncDisposable {
  /** Resolves when the process has exited and all its output has been read. */
  readonly exited: Promise<Exit>;
  /** What it reported when it was ready. */
  greeting: unknown;
  stderr = '';
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #inbox: unknown[] = [];
  #wake: (() => void) | undefined;
  #exit: Exit | undefined;

  constructor(child: ChildProcessByStdio<Writable, Readable, Readable>) {
    this.#process = child;
    const gone = undoing(() => this.kill('SIGKILL'));
    createInterface({ input: child.stdout }).on('line', line => {
      this.#inbox.push(JSON.parse(line));
      this.#wake?.();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    // An order to a process that has died is ignored.
    child.stdin.on('error', () => undefined);
    this.exited = once(child, 'close').then(([code, signal]) => {
      gone[Symbol.dispose]();
      this.#exit = { code, signal };
      this.#wake?.();
      return this.#exit;
    });
  }

  /** The pid of the program. `unshare` runs the program as a child of its own. */
  get pid(): number {
    const started = this.#process.pid as number;
    return command(started) === 'unshare' ? (childrenOf(started)[0] ?? started) : started;
  }

  send(order: unknown): void {
    this.#process.stdin.write(`${JSON.stringify(order)}\n`);
  }

  /** Ends the orders. */
  end(): void {
    this.#process.stdin.end();
  }

  /** The next report. Rejects if the process exits instead. */
  async next<T>(): Promise<T> {
    while (this.#inbox.length === 0) {
      if (this.#exit !== undefined) {
        const { code, signal } = this.#exit;
        throw new Error(`the child has ended (${signal ?? `status ${code}`}): ${this.stderr}`);
      }
      await new Promise<void>(resolve => {
        this.#wake = resolve;
      });
    }
    return this.#inbox.shift() as T;
  }

  /** Calls a function with each report from now on. */
  listen(hear: (message: unknown) => void): void {
    this.#wake = () => {
      for (const message of this.#inbox.splice(0)) hear(message);
    };
    this.#wake();
  }

  /** Sends an order and waits for the next report. */
  ask<T>(order: unknown): Promise<T> {
    this.send(order);
    return this.next();
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#exit !== undefined || this.#process.exitCode !== null || this.#process.signalCode !== null)
      return;
    try {
      process.kill(this.pid, signal);
    } catch {
      // The process has exited in the meantime.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGKILL');
    await this.exited;
  }
}

function command(pid: number): string {
  return readProc(`${pid}/comm`).trim();
}

function childrenOf(pid: number): number[] {
  return readProc(`${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number);
}

function readProc(name: string): string {
  try {
    return readFileSync(`/proc/${name}`, 'latin1');
  } catch {
    return '';
  }
}

/** Attaches strace to a running process, to record its system calls, make them fail, or kill it at one of them. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory, undoing } from './leftovers.js';
import { type Need, program } from './require.js';

/** Needs strace, and permission to trace other processes. */
export const tracing: Need[] = [
  program('strace'),
  {
    what: 'to be allowed to trace processes',
    isProgram: false,
    met: () =>
      spawnSync('sh', [
        '-c',
        'sleep 9 & timeout 0.2 strace -o /dev/null -e trace=none -p $!; test $? -eq 124; s=$?; kill $!; exit $s',
      ]).status === 0,
  },
];

/** A system call. */
export interface Call {
  thread: number;
  name: string;
  /** The whole line of strace's log. */
  text: string;
  injected: boolean;
}

export interface TraceOptions {
  /** `write:error=ENOSPC:when=2`: the second write in each thread fails. */
  inject?: readonly string[];
}

/** Attaches to a process. Resolves when it is traced. */
export async function trace(pid: number, { inject = [] }: TraceOptions = {}): Promise<Trace> {
  const directory = temporaryDirectory('strace');
  const log = join(directory.path, 'log');
  const strace = spawn(
    'strace',
    [
      ['-f', '-y', '-s', '0', '-o', log, '-e', 'trace=%file,%desc'],
      inject.flatMap(each => ['-e', `inject=${each}`]),
      ['-p', String(pid)],
    ].flat(),
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const gone = undoing(() => strace.kill('SIGKILL'));
  const exited = once(strace, 'close');
  let complaints = '';
  strace.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const running = { value: true };
  void exited.then(() => {
    running.value = false;
  });
  while (!complaints.includes(' attached')) {
    if (!running.value) throw new Error(`strace failed: ${complaints}`);
    await Promise.race([once(strace.stderr, 'data'), exited]);
  }
  return new Trace(async () => {
    strace.kill('SIGTERM');
    await exited;
    gone[Symbol.dispose]();
    const calls = parse(readFileSync(log, 'latin1'));
    directory[Symbol.dispose]();
    return calls;
  });
}

export class Trace implements AsyncDisposable {
  #calls: Promise<Call[]> | undefined;

  constructor(readonly stop: () => Promise<Call[]>) {}

  /** Detaches from the process and returns its calls in order. */
  end(): Promise<Call[]> {
    this.#calls ??= this.stop();
    return this.#calls;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** A call, and the number by which `inject` selects it. */
export interface Point {
  call: Call;
  /** The number of the call among those of its name in its thread, counted from 1. */
  ordinal: number;
}

/** Whether a call is on something in a directory, by its path or through a descriptor. */
export function isOn(directory: string, { text }: Call): boolean {
  return text.includes(directory) || text.includes('"/proc/self/fd/');
}

/** The calls with their numbers; of calls with the same name and number, the first. */
export function numbered(calls: readonly Call[]): Point[] {
  const counts = new Map<string, number>();
  const points = new Map<string, Point>();
  for (const call of calls) {
    const thread = `${call.thread} ${call.name}`;
    const ordinal = (counts.get(thread) ?? 0) + 1;
    counts.set(thread, ordinal);
    const point = `${call.name} ${ordinal}`;
    if (!points.has(point)) points.set(point, { call, ordinal });
  }
  return [...points.values()];
}

function parse(log: string): Call[] {
  const calls: Call[] = [];
  const unfinished = new Map<number, Call>();
  for (const line of log.split('\n')) {
    const [, thread, text = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const [, resumed, name] = /^(<\.\.\. )?(\w+)[ (]/.exec(text) ?? [];
    if (thread === undefined || name === undefined) continue;
    const injected = text.endsWith('(INJECTED)');
    const begun = unfinished.get(Number(thread));
    if (resumed !== undefined && begun !== undefined) {
      begun.text += text;
      begun.injected = injected;
      unfinished.delete(Number(thread));
      continue;
    }
    const call = { thread: Number(thread), name, text, injected };
    if (text.endsWith('<unfinished ...>')) unfinished.set(call.thread, call);
    calls.push(call);
  }
  return calls;
}

import { closeSync, openSync, readSync } from 'node:fs';

/** What the kernel shows of a process to everybody who sees it (man 5 proc_pid_status, proc_pid_schedstat). */
export interface ProcessState {
  /** SIGHUP has been sent to it and not been delivered yet. */
  isPending: boolean;
  /** It blocks SIGHUP at the moment. */
  isBlocked: boolean;
  isAsleep: boolean;
  /** How often it has gone to sleep so far. */
  sleeps: number;
}

/**
 * A process as its files in /proc show it. They are opened once: a descriptor stays with its process, where a pid may
 * become another's.
 */
export class ProcessView {
  readonly #status: number;
  readonly #schedstat: number;

  private constructor(status: number, schedstat: number) {
    this.#status = status;
    this.#schedstat = schedstat;
  }

  /** `undefined`: the kernel does not show enough of it. */
  static open(pid: number): ProcessView | undefined {
    const files: number[] = [];
    try {
      const open = (name: string): number => {
        const file = openSync(`/proc/${pid}/${name}`, 'r');
        files.push(file);
        return file;
      };
      const view = new ProcessView(open('status'), open('schedstat'));
      if (view.state() !== undefined && view.cpuTime() > 0) return view;
    } catch {
      // It has ended, or is hidden, or the kernel was built without these files.
    }
    for (const file of files) closeSync(file);
    return undefined;
  }

  /** `undefined`: it has ended. */
  state(): ProcessState | undefined {
    const status = read(this.#status);
    const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1];
    const state = field('State');
    const pending = field('ShdPnd');
    const sleeps = field('voluntary_ctxt_switches');
    if (pending === undefined || sleeps === undefined || state === 'Z' || state === 'X') return undefined;
    return {
      isPending: hasHangup(pending),
      isBlocked: hasHangup(field('SigBlk') ?? ''),
      isAsleep: state === 'S',
      sleeps: Number(sleeps),
    };
  }

  /** Milliseconds of CPU time that it has used. Of one that is asleep the kernel knows it exactly. */
  cpuTime(): number {
    return Number(read(this.#schedstat).split(' ')[0]) / 1e6;
  }

  /** How often it has been given a CPU so far. */
  timesScheduled(): number {
    return Number(read(this.#schedstat).split(' ')[2]);
  }

  close(): void {
    closeSync(this.#status);
    closeSync(this.#schedstat);
  }
}

/** SIGHUP is signal 1, the lowest bit of a set of signals. */
export function hasHangup(signals: string): boolean {
  return Number.parseInt(signals.slice(-1), 16) % 2 === 1;
}

const buffer = /* @__PURE__ */ Buffer.alloc(4096);

/** `''`: its process has ended. */
function read(file: number): string {
  try {
    return buffer.toString('latin1', 0, readSync(file, buffer, 0, buffer.length, 0));
  } catch {
    return '';
  }
}

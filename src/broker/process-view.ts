import { closeSync, openSync, readSync } from 'node:fs';
import { attempt } from '../util/attempt.js';

/** What the kernel shows of a process to any user who can see it (man 5 proc_pid_status, proc_pid_schedstat). */
export interface ProcessState {
  /** SIGHUP has been sent to it and not been delivered yet. */
  isPending: boolean;
  /** It blocks SIGHUP at the moment. */
  isBlocked: boolean;
  /** It waits for events or, where the kernel does not show what it waits for, for anything. */
  isAsleep: boolean;
  /** By a signal or a debugger. */
  isStopped: boolean;
  /** How often it has gone to sleep so far. */
  sleeps: number;
}

/**
 * A process as its files in /proc show it. They are opened once: a descriptor stays with its process, while a pid may
 * become that of another one.
 */
export class ProcessView {
  /** `status`, `schedstat` and `wchan`. */
  readonly #files: number[] = [];
  readonly #buffer = Buffer.alloc(65_536);
  /** Whether this user may see what it waits for: root with CAP_SYS_PTRACE may, and the user who started it. */
  #showsWait = false;

  constructor(pid: number) {
    try {
      for (const name of ['status', 'schedstat', 'wchan'])
        this.#files.push(openSync(`/proc/${pid}/${name}`, 'r'));
    } catch {
      // It has ended, or is hidden, or the kernel was built without these files.
    }
  }

  /** `undefined`: it has ended, or the kernel does not show it. */
  state(): ProcessState | undefined {
    const status = this.#read(0);
    const state = statusField(status, 'State') ?? 'X';
    const pending = statusField(status, 'ShdPnd');
    const sleeps = statusField(status, 'voluntary_ctxt_switches');
    if (pending === undefined || sleeps === undefined || /^[ZX]/.test(state)) return undefined;
    return {
      isPending: hasHangup(pending),
      isBlocked: hasHangup(statusField(status, 'SigBlk') ?? ''),
      isAsleep: state.startsWith('S') && this.#waitsForEvents(),
      isStopped: /^T/i.test(state),
      sleeps: Number(sleeps),
    };
  }

  /** Milliseconds of CPU time so far (exact while it sleeps; 0: not shown), and how often it has been given a CPU. */
  schedule(): [cpuTime: number, timeslices: number | undefined] {
    const [nanoseconds = 0, , timeslices] = this.#read(1).split(' ').map(Number);
    return [nanoseconds / 1e6, timeslices];
  }

  /**
   * Whether it sleeps in the kernel's functions for poll(2), select(2) or epoll_wait(2). A broker that reloads may sleep
   * elsewhere: a file system in user space is slow to answer, or the pipe of its log is full. `0`: not shown, or awake.
   */
  #waitsForEvents(): boolean {
    const place = this.#read(2);
    const isShown = place !== '' && place !== '0';
    this.#showsWait ||= isShown;
    return isShown ? /poll|select/.test(place) : !this.#showsWait;
  }

  close(): void {
    for (const file of this.#files) closeSync(file);
  }

  /** `''`: its process has ended. */
  #read(which: 0 | 1 | 2): string {
    const length = attempt(() =>
      readSync(this.#files[which] as number, this.#buffer, 0, this.#buffer.length, 0),
    );
    return this.#buffer.toString('latin1', 0, length ?? 0);
  }
}

/** One look at a process. */
export function stateOf(pid: number): ProcessState | undefined {
  const view = new ProcessView(pid);
  const state = view.state();
  view.close();
  return state;
}

/** A field of /proc/PID/status; `''` where it is empty, as the groups of a process can be. */
export function statusField(status: string, name: string): string | undefined {
  return new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1];
}

/** SIGHUP is signal 1, the lowest bit of a set of signals. */
export function hasHangup(signals: string): boolean {
  return Number.parseInt(signals.slice(-1), 16) % 2 === 1;
}

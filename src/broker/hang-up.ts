/** Sends SIGHUP to a broker and finds out from the kernel when it has reloaded. */
import { systemCode } from '../errors.js';
import { pause } from '../util/abort.js';
import { timers } from '../util/event-loop.js';
import { type BrokerProcess, reloadFailed } from './process.js';
import { type ProcessState, ProcessView, stateOf } from './process-view.js';

/**
 * Milliseconds. The pause between two looks at the broker is an eighth of the time since the signal. It is not shorter than
 * the first, and not longer than the second or a hundredth of that time, whichever is greater.
 */
const SHORTEST_PAUSE = 1;
const LONGEST_PAUSE = 25;
/** How often a broker that is awake is looked at again before the signal, after pauses of 1, 2, 4 … ms. */
const LOOKS = 7;
/** Milliseconds: too short for a broker that was asleep to wake, handle what woke it and look for signals. */
const WAKING_TIME = 0.02;

/**
 * The milliseconds of CPU time that a broker took to reload; `'unknown'`: the kernel does not say when it is over, or it
 * is not over within the timeout; `'ended'`: the broker ended before that.
 */
type Outcome = number | 'unknown' | 'ended';

/** A reload that is not over. */
interface UnderWay {
  /** Resolves when it is over. Never rejects. */
  over: Promise<Outcome>;
  /** A signal came during it, and may be lost. So there is a further one after it, before it counts as over. */
  isRepeated: boolean;
}

/**
 * The reloads that this thread has begun and that are not over, by the pid of the broker. All copies of this module share
 * them: a program that imports and requires the package loads it twice.
 */
function reloadsUnderWay(): Map<number, UnderWay> {
  const shared = globalThis as { [key: symbol]: Map<number, UnderWay> };
  const key = Symbol.for('mosquitto-passwd-ts.reloads');
  shared[key] ??= new Map();
  return shared[key];
}

/**
 * Sends SIGHUP to the broker that `find` finds. Resolves when it has reloaded, or has been busy all the time until the
 * timeout, or at once where the kernel does not say what it does.
 *
 * A signal that comes during a reload is lost, so this waits until the one that is under way is over, but no longer than
 * the timeout. One signal is enough for all who waited. Another process or thread may have begun a reload too: this waits
 * a little for a broker that is awake to fall asleep, and if it does not, sends a further signal after the reload. A reload
 * that begins after the broker was asleep reads the changed file, whoever has caused it.
 */
export async function hangUp(
  find: () => Promise<BrokerProcess>,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<{ broker: BrokerProcess; outcome: Outcome }> {
  const underWay = reloadsUnderWay();
  let left = timeout;
  let first: UnderWay | undefined;
  for (let look = 0; ; look++) {
    const broker = await find();
    const other = underWay.get(broker.pid);
    // One that is under way at first may have begun before the file was changed. Any later one has begun after that.
    if (look === 0) first = other;
    // The timeout 0 allows neither a wait nor a further signal.
    const isBusy = timeout > 0 && other === undefined && isAwake(broker);
    if (left > 0 && (other !== undefined || (isBusy && look < LOOKS))) {
      const start = performance.now();
      const outcome = await pause(other ? left : Math.min(2 ** look, left), signal, other?.over);
      if (other !== first && typeof outcome === 'number') return { broker, outcome };
      left -= performance.now() - start;
      continue;
    }
    const reload = other === undefined ? begin(broker, isBusy) : repeat(broker, other);
    const outcome = await pause(timeout, signal, reload);
    if (outcome !== undefined) return { broker, outcome };
    assertTaken(broker, timeout);
    // The broker was awake all the time, so no further signal was sent yet. A reload that the first one met is over by now.
    if (isBusy && underWay.get(broker.pid)?.isRepeated && (await find()).pid === broker.pid)
      sendHangup(broker);
    return { broker, outcome: 'unknown' };
  }
}

/** Whether a broker is seen awake. Then it may be reloading because of another process or thread. */
function isAwake({ pid }: BrokerProcess): boolean {
  const state = stateOf(pid);
  return state?.isAsleep === false && !state.isStopped;
}

/**
 * Makes the broker reload, and watches it until that is over, also when nobody waits for it any more.
 *
 * @param isRepeated whether the signal may be lost
 */
function begin(broker: BrokerProcess, isRepeated: boolean): Promise<Outcome> {
  const underWay = reloadsUnderWay();
  const watch = async (): Promise<Outcome> => {
    const view = new ProcessView(broker.pid);
    try {
      let total = 0;
      for (;;) {
        const outcome = await signalAndWatch(broker, view);
        if (typeof outcome !== 'number') return outcome;
        total += outcome;
        if (!reload.isRepeated) return total;
        reload.isRepeated = false;
      }
    } finally {
      view.close();
      underWay.delete(broker.pid);
    }
  };
  const outcome = watch();
  const reload: UnderWay = { over: outcome.catch(() => 'unknown'), isRepeated };
  underWay.set(broker.pid, reload);
  return outcome;
}

/** Sends a signal although a reload may be under way: the broker may be busy with something else all the time. */
function repeat(broker: BrokerProcess, other: UnderWay): Promise<Outcome> {
  other.isRepeated = true;
  sendHangup(broker);
  return other.over;
}

/** Sends the signal, then looks at the broker until the reload is over. Does not keep the process alive. */
async function signalAndWatch(broker: BrokerProcess, view: ProcessView): Promise<Outcome> {
  const [cpuTime, timeslices] = view.schedule();
  const before = view.state();
  const lookedAt = performance.now();
  const wasAsleep = before?.isAsleep === true && view.schedule()[1] === timeslices;
  const at = performance.now();
  if (!sendHangup(broker)) return 'ended';
  if (before === undefined || !(cpuTime > 0)) return 'unknown';
  const reload = new Reload(before, wasAsleep && at - lookedAt < WAKING_TIME);
  for (;;) {
    const now = view.state();
    if (now === undefined) return 'ended';
    if (reload.isOver(now)) return view.schedule()[0] - cpuTime;
    const elapsed = performance.now() - at;
    const longest = Math.max(LONGEST_PAUSE, elapsed / 100);
    const wait = Math.min(Math.max(elapsed / 8, SHORTEST_PAUSE), longest);
    await new Promise(resolve => timers.setTimeout(resolve, wait).unref());
  }
}

/** Throws where the broker has not even taken the signal within the timeout. */
function assertTaken({ pid, label, name }: BrokerProcess, timeout: number): void {
  const now = stateOf(pid);
  if (!now?.isPending && !now?.isStopped) return;
  throw reloadFailed(
    `${label} is ${name}, but has not reloaded within ${timeout} ms. Is it stopped? It reloads when it goes on.`,
  );
}

/**
 * When a reload is over. The handler of SIGHUP sets a flag. The main loop of Mosquitto (2.0.11 to 2.1.2: src/loop.c,
 * src/mux_epoll.c) waits for events for at most 100 ms, handles them, reloads where the flag is set, and waits again. A
 * signal that was delivered between the look at the flag and the next wait has its effect only after that wait.
 */
export class Reload {
  /** Whether the broker waits for events with SIGHUP blocked, as 2.0 does. Then any other sleep is not that wait. */
  #blocksInWait: boolean;
  /** The broker has reloaded when it has gone to sleep so many times, counted from its start. */
  #sleeps: number | undefined;

  /** @param wasAsleep the broker was asleep from `before` until the signal */
  constructor(before: ProcessState, wasAsleep: boolean) {
    this.#blocksInWait = before.isAsleep && before.isBlocked;
    // The signal ends this wait at once.
    if (wasAsleep && !before.isBlocked) this.#sleeps = before.sleeps + 1;
  }

  isOver(now: ProcessState): boolean {
    const blocks = now.isAsleep && now.isBlocked;
    this.#blocksInWait ||= blocks;
    if (now.isPending) {
      // The signal is delivered when this wait ends.
      if (blocks) this.#sleeps = now.sleeps + 1;
      return false;
    }
    this.#sleeps ??= now.sleeps + (now.isAsleep ? 1 : 2);
    return now.isAsleep && now.sleeps >= this.#sleeps && now.isBlocked === this.#blocksInWait;
  }
}

/** Sends SIGHUP. `false`: the broker has ended. */
function sendHangup({ pid, label, name, owner }: BrokerProcess): boolean {
  try {
    return process.kill(pid, 'SIGHUP');
  } catch (cause) {
    if (systemCode(cause) === 'ESRCH') return false;
    throw reloadFailed(
      `${label} is ${name}, but this process (uid ${process.geteuid?.()}) may not signal it. Run as the broker's user ` +
        `(uid ${owner.uid}) or as root (with CAP_KILL), or use a command that may.`,
      { cause },
    );
  }
}

/** How long work may block the event loop, in milliseconds. */
const LONGEST_TURN = 5;

/** The time that long work has run without yielding to the event loop. */
export class Turn {
  #start = performance.now();

  /** Whether it is time to yield. */
  isOver(): boolean {
    return performance.now() - this.#start > LONGEST_TURN;
  }

  async yield(): Promise<void> {
    await yieldToEventLoop();
    this.#start = performance.now();
  }
}

/** Runs long work of many steps. Whenever it has run for {@link LONGEST_TURN}, yields, and notices an abort. */
export async function runYielding<T>(work: Generator<unknown, T>, signal?: AbortSignal): Promise<T> {
  const turn = new Turn();
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (!turn.isOver()) continue;
    await turn.yield();
    signal?.throwIfAborted();
  }
}

/** Calls a function in the event loop's next turn. Kept here, because fake timers of a test replace the global one. */
export const inNextTurn: typeof setImmediate = setImmediate;
/** Starts and stops timers. Kept here for the same reason. */
export const timers = { setTimeout, clearTimeout };

/** Resolves in the event loop's next turn. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise(resolve => inNextTurn(resolve));
}

/** Waiting, and giving it up. */

/** What waits with a signal, and the one listener that tells it. */
interface Waiters {
  acts: Set<() => void>;
  listener: () => void;
}

const waiters = new WeakMap<AbortSignal, Waiters>();

/**
 * Calls `act` when the signal aborts, unless the returned function is called before. However many wait with one signal,
 * it has one listener: Node warns of more than ten.
 */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  const { acts, listener } = waiters.get(signal) ?? listenTo(signal);
  acts.add(act);
  return () => {
    acts.delete(act);
    if (acts.size > 0 || waiters.get(signal)?.acts !== acts) return;
    signal.removeEventListener('abort', listener);
    waiters.delete(signal);
  };
}

function listenTo(signal: AbortSignal): Waiters {
  const acts = new Set<() => void>();
  const listener = (): void => {
    for (const act of [...acts]) act();
  };
  signal.addEventListener('abort', listener);
  waiters.set(signal, { acts, listener });
  return { acts, listener };
}

/** Stops waiting, not what is waited for. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal === undefined ? promise : raced(promise, signal);
}

async function raced<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let stopListening = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    signal.throwIfAborted();
    stopListening = onAbort(signal, () => reject(signal.reason));
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    stopListening();
  }
}

/** Waits so many milliseconds. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<void>(resolve => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await orAborted(passed, signal);
  } finally {
    clearTimeout(timer);
  }
}

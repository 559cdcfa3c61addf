/** Functions that wait until a timer runs out or a signal aborts. */
import { timers } from './event-loop.js';

/** The functions that each signal calls when it aborts. */
const actsOf = new WeakMap<AbortSignal, Set<() => void>>();

function callActs(this: AbortSignal): void {
  for (const act of [...(actsOf.get(this) ?? [])]) act();
}

/**
 * Calls `act` when the signal aborts, unless the returned function is called first. However many callers wait with one
 * signal, it has one listener: Node warns of more than ten.
 */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  const acts = actsOf.get(signal) ?? new Set();
  actsOf.set(signal, acts.add(act));
  if (acts.size === 1) signal.addEventListener('abort', callActs);
  return () => {
    if (acts.delete(act) && acts.size === 0) signal.removeEventListener('abort', callActs);
  };
}

/** Settles as the promise does, or rejects at once when the signal aborts. That does not end the work. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let stopListening = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    signal.throwIfAborted();
    stopListening = onAbort(signal, () => reject(signal.reason));
  });
  return Promise.race([promise, aborted]).finally(() => stopListening());
}

/** Resolves after `ms` milliseconds, or settles as `early` does if that is first. An abort rejects. */
export function pause<T = undefined>(
  ms: number,
  signal: AbortSignal | undefined,
  early?: Promise<T>,
): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<undefined>(resolve => {
    timer = timers.setTimeout(resolve, ms, undefined);
  });
  const over = early === undefined ? passed : Promise.race([passed, early]);
  return orAborted(over, signal).finally(() => timers.clearTimeout(timer));
}

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Runs the garbage collector, and lets finalization callbacks run. */
export async function collectGarbage(): Promise<void> {
  // An object that was read through a `WeakRef` stays alive until the end of the current turn of the event loop.
  await new Promise(resolve => setImmediate(resolve));
  collect();
  await new Promise(resolve => setImmediate(resolve));
}

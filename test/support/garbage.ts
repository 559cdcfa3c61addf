/** The garbage collector. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Collects what nobody holds any more, and gives callbacks a turn. */
export async function collectGarbage(): Promise<void> {
  // What the present turn of the event loop has looked at through a `WeakRef`, it holds.
  await new Promise(resolve => setImmediate(resolve));
  collect();
  await new Promise(resolve => setImmediate(resolve));
}

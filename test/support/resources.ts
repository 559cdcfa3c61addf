/** What keeps this process alive. */
import { yieldToEventLoop } from '../../src/util/event-loop.js';

/** In how many turns of the event loop Node closes what has been destroyed. */
const TURNS = 100;

/** The kinds of resources (`'Timeout'`, `'PipeWrap'`, …) that keep this process alive after a call and did not before. */
export async function leftBy(call: () => Promise<unknown>): Promise<string[]> {
  const before = process.getActiveResourcesInfo();
  await call();
  let left: string[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    left = process.getActiveResourcesInfo();
    for (const kind of before) if (left.includes(kind)) left.splice(left.indexOf(kind), 1);
    if (left.length === 0) break;
    await yieldToEventLoop();
  }
  return left;
}

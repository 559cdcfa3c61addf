import { stat } from 'node:fs/promises';
import { yieldToEventLoop } from '../../src/util/event-loop.js';

/** Waits until a change of the file would show in its times. What is read from then on is read once. */
export async function clockTick(path: string): Promise<void> {
  const { ctimeMs } = await stat(path);
  while (Date.now() - ctimeMs <= 20) await yieldToEventLoop();
}

/** How a child process talks to its test. */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** What the test gave it to begin with. */
export function argument<T>(): T {
  return JSON.parse(process.argv[2] as string) as T;
}

/** Tells the test something. When this returns, no death of this process can lose it. */
export function tell(message: unknown): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

/** What the test orders, one after the other; ends when it has no more. */
export async function* orders<T>(): AsyncGenerator<T> {
  for await (const line of createInterface({ input: process.stdin })) yield JSON.parse(line) as T;
}

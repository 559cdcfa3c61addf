/** Messages between a child process and its test. */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** The argument that the test started this process with. */
export function argument<T>(): T {
  return JSON.parse(process.argv[2] as string) as T;
}

/** Sends the test a message. When this returns, the message is not lost if the process dies. */
export function tell(message: unknown): void {
  writeSync(1, `${JSON.stringify(message)}\n`);
}

/** The orders of the test, one after the other, until it closes standard input. */
export async function* orders<T>(): AsyncGenerator<T> {
  for await (const line of createInterface({ input: process.stdin })) yield JSON.parse(line) as T;
}

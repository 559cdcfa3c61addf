/** Another user who owns a directory and tries to make a writer with more rights act on other files (attacker.c). */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory, undoing } from './leftovers.js';

/** The user that Mosquitto's official image runs as. */
export const ATTACKER = 1883;

let program: string | undefined;

function compiled(): string {
  if (program === undefined) {
    const { path } = temporaryDirectory('attacker');
    program = join(path, 'attacker');
    const source = fileURLToPath(new URL('attacker.c', import.meta.url));
    execFileSync('gcc', ['-O2', '-o', program, source], { stdio: 'pipe' });
    chmodSync(path, 0o755);
  }
  return program;
}

/** A running attack. */
export interface Attack {
  /** Ends it. Resolves with how many times two names were exchanged. */
  end(): Promise<number>;
}

/** Starts attacker.c as {@link ATTACKER} with these arguments. Resolves when it runs. */
export async function attack(...args: string[]): Promise<Attack> {
  const child = spawn(compiled(), args, { uid: ATTACKER, gid: ATTACKER, stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = undoing(() => child.kill('SIGKILL'));
  const lines: string[] = [];
  const output = createInterface({ input: child.stdout }).on('line', line => lines.push(line));
  const closed = once(output, 'close');
  await Promise.race([once(output, 'line'), closed]);
  if (lines.length === 0) throw new Error(`attacker ${args.join(' ')} has ended`);
  return {
    async end() {
      child.stdin.end();
      await closed;
      gone[Symbol.dispose]();
      return Number(lines[1]);
    },
  };
}

/** Runs commands on a pseudo-terminal, by util-linux `script`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { undoing } from './leftovers.js';
import { type Need, program } from './require.js';

/** Needs a `script` with the option to echo what is typed, as terminals do. */
export const pseudoTerminal: Need = program('script');

/** What is typed, or a function to call, once a text appears after the texts of the steps before. */
export type Step = [appears: string, typed: string | (() => void)];

/** Runs a shell command and makes the steps. Returns what the screen showed, and the exit status. */
export async function onTerminal(
  command: string,
  steps: readonly Step[] = [],
): Promise<{ screen: string; status: number }> {
  const args = ['--quiet', '--return', '--flush', '--echo', 'always', '--command', command, '/dev/null'];
  // `script` would take the shell of whoever runs the tests.
  const env = { ...process.env, SHELL: '/bin/sh' };
  const child = spawn('script', args, { stdio: ['pipe', 'pipe', 'inherit'], env });
  using _killed = undoing(() => child.kill('SIGKILL'));
  const left = [...steps];
  let screen = '';
  let seen = 0;
  child.stdin.on('error', () => {});
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text;
    for (let step = left[0]; step !== undefined; step = left[0]) {
      const at = screen.indexOf(step[0], seen);
      if (at < 0) return;
      seen = at + step[0].length;
      if (typeof step[1] === 'string') child.stdin.write(step[1]);
      else step[1]();
      left.shift();
    }
  });
  const [status] = await once(child, 'close');
  if (left.length > 0) throw new Error(`${JSON.stringify(left[0]?.[0])} did not appear:\n${screen}`);
  return { screen: screen.replaceAll('\r\n', '\n'), status };
}

/** Quotes words for a shell command. */
export function quoted(...words: string[]): string {
  return words.map(word => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
}

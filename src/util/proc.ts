import { readFileSync } from 'node:fs';
import { attempt } from './attempt.js';

/** The content of a file in /proc; `undefined`: it does not exist, or is hidden from this user. */
export function readProc(name: string): string | undefined {
  return attempt(() => readFileSync(`/proc/${name}`, 'utf8'));
}

/** State and start time of a process, the latter in clock ticks since boot (proc_pid_stat(5), fields 3 and 22). */
export function processStat(pid: number | 'self'): { state: string; start: string } | undefined {
  const stat = readProc(`${pid}/stat`);
  // The process name before these fields may itself contain blanks and parentheses.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, start] = [fields?.[0], fields?.[19]];
  return state === undefined || start === undefined ? undefined : { state, start };
}

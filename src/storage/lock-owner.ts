/**
 * Who holds a password file: the name of a writer's stage says it, so that no file need be opened to know
 * (`<nonce>.<pid>.<start time>.<boot id>-<pid namespace>`).
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';

/** A writer, as far as its stage's name tells. `''` stands for what it could not find out about itself. */
export interface Holder {
  pid: number;
  /** Start time in clock ticks since boot (proc_pid_stat(5), field 22). */
  start: string;
  /** Boot id and pid namespace: pids of another are not ours to look up. */
  realm: string;
}

/** 64 random bits, fresh for every attempt. */
export function newNonce(): string {
  return randomBytes(8).toString('hex');
}

/** The pattern of {@link newNonce}. */
export const NONCE = '[0-9a-f]{16}';

const STAGE_NAME = new RegExp(
  `^${NONCE}\\.([1-9][0-9]{0,9})\\.([0-9]{0,20})\\.([0-9a-f-]{0,36}-[0-9]{0,20})$`,
);

/** The name of a stage of this process. */
export function stageName(nonce: string): string {
  const { pid, start, realm } = self();
  return `${nonce}.${pid}.${start}.${realm}`;
}

/** Who made a stage; `undefined`: not the name of a stage. */
export function parseStageName(name: string): Holder | undefined {
  const [, pid, start, realm] = STAGE_NAME.exec(name) ?? [];
  if (pid === undefined || start === undefined || realm === undefined) return undefined;
  return { pid: Number(pid), start, realm };
}

/** Whether a writer is gone for sure. `false`: it lives, or from here nobody can tell. */
export function isGone(holder: Holder): boolean {
  const { realm, seesProc } = self();
  if (realm === UNKNOWN_REALM || holder.realm !== realm) return false;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  const stat = seesProc ? readStat(String(holder.pid)) : undefined;
  if (stat === undefined) return false;
  return stat.state === 'Z' || stat.state === 'X' || (holder.start !== '' && holder.start !== stat.start);
}

const UNKNOWN_REALM = '-';

interface Self extends Holder {
  /** Whether /proc shows our own pid namespace, so that a pid there is a pid here. */
  seesProc: boolean;
}

let cached: Self | undefined;

function self(): Self {
  if (cached?.pid === process.pid) return cached;
  const boot = tryRead(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()) ?? '';
  const namespace = tryRead(() => readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')) ?? '';
  cached = {
    pid: process.pid,
    start: readStat('self')?.start ?? '',
    realm: boot !== '' && namespace !== '' ? `${boot}-${namespace}` : UNKNOWN_REALM,
    seesProc: tryRead(() => readlinkSync('/proc/self')) === String(process.pid),
  };
  return cached;
}

/** State and start time from /proc/PID/stat; the command before them may itself hold blanks and parentheses. */
function readStat(pid: string): { state: string; start: string } | undefined {
  const stat = tryRead(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, start] = [fields?.[0], fields?.[19]];
  return state === undefined || start === undefined ? undefined : { state, start };
}

function tryRead(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

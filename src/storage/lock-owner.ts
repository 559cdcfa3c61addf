/**
 * Who owns the lock of a password file, and whether that writer is still alive. The name of a temp file says whose it is
 * (`<nonce>.<pid>.<start time>.<boot id>-<pid namespace>`), so that no file need be opened.
 */
import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { systemCode } from '../errors.js';
import { attempt } from '../util/attempt.js';
import { processStat, readProc } from '../util/proc.js';

/** A writer, as the name of its temp file describes it. What it could not find out about itself is `''`. */
export interface LockOwner {
  pid: number;
  /** Start time in clock ticks since boot (proc_pid_stat(5), field 22). */
  start: string;
  /** Boot id and pid namespace. In another realm, a pid is that of another process. */
  realm: string;
}

const TEMP_FILE = /^[0-9a-f]{16}\.([1-9][0-9]{0,9})\.([0-9]{0,20})\.([0-9a-f-]{0,36}-[0-9]{0,20})$/;
const CANDIDATE_SUFFIX = /^\.[0-9a-f]{16}\.writer$/;

/** 64 random bits, new for each attempt. */
export function newNonce(): string {
  return randomBytes(8).toString('hex');
}

/** The name of a temp file of this process. */
export function tempFileName(nonce: string): string {
  const start = processStat('self')?.start ?? '';
  return `${nonce}.${process.pid}.${start}.${ownRealm()}`;
}

/** Who made a temp file; `undefined`: not the name of a temp file. */
export function parseTempFileName(name: string): LockOwner | undefined {
  const [, pid, start = '', realm = ''] = TEMP_FILE.exec(name) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), start, realm };
}

/** The directory that holds nothing but the lock owner's temp file. */
export function lockDirectory(file: string): string {
  return `${file}.writer`;
}

/** The directory of a writer that does not own the lock yet. */
export function candidateDirectory(file: string, nonce: string): string {
  return `${file}.${nonce}.writer`;
}

/** Whether a name beside the password file is that of a candidate directory. */
export function isCandidate(file: string, name: string): boolean {
  const prefix = basename(file);
  return name.startsWith(`${prefix}.`) && CANDIDATE_SUFFIX.test(name.slice(prefix.length));
}

/** Whether a writer is gone for sure. `false`: it is alive, or that cannot be known here. */
export function isGone({ pid, start, realm }: LockOwner): boolean {
  if (realm === UNKNOWN_REALM || realm !== ownRealm()) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return systemCode(error) === 'ESRCH';
  }
  // /proc may show another pid namespace.
  const isOurs = attempt(() => readlinkSync('/proc/self')) === String(process.pid);
  const stat = isOurs ? processStat(pid) : undefined;
  if (stat === undefined) return false;
  return stat.state === 'Z' || stat.state === 'X' || (start !== '' && start !== stat.start);
}

const UNKNOWN_REALM = '-';

/** Not cached, because what cannot be read now may be readable later: descriptors may have run out. */
function ownRealm(): string {
  const boot = readProc('sys/kernel/random/boot_id')?.trim();
  const namespace = attempt(() => readlinkSync('/proc/self/ns/pid').replace(/\D/g, ''));
  return boot && namespace ? `${boot}-${namespace}` : UNKNOWN_REALM;
}

/** How many temp files are remembered at most, of others and of ours. */
const MAX_SEEN = 10_000;
/** Since when the temp files of others have had no heartbeat. */
const seen = new Map<string, { modified: bigint; since: number }>();
const abandoned = new Set<string>();

/** Marks a temp file of this process as stale, before it is removed. If that fails, nothing else shows it to be stale. */
export function abandon(name: string): void {
  if (abandoned.size >= MAX_SEEN) abandoned.clear();
  abandoned.add(name);
}

/**
 * Whether a name is that of a temp file whose writer is gone for sure, or has had no heartbeat for `stale` ms of our own
 * monotonic clock, or for `orphanAge` ms by the clocks of this system and of the disk.
 */
export function isStale(
  name: string,
  modified: bigint | undefined,
  stale: number,
  orphanAge: number,
): boolean {
  const owner = parseTempFileName(name);
  if (owner === undefined) return false;
  if (abandoned.has(name) || isGone(owner)) return true;
  if (modified === undefined) return false;
  if (Date.now() - Number(modified / 1_000_000n) > orphanAge) return true;
  const now = performance.now();
  const before = seen.get(name);
  if (before?.modified === modified) return now - before.since >= stale;
  if (seen.size >= MAX_SEEN) seen.clear();
  seen.set(name, { modified, since: now });
  return false;
}

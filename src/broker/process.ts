import { closeSync, constants, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { PasswordFileError, type PasswordFileErrorDetails, systemCode } from '../errors.js';
import { attempt } from '../util/attempt.js';
import { readProc } from '../util/proc.js';
import { hasHangup, statusField } from './process-view.js';

/** Whose process it is: real ids, which a setuid program does not change. */
export interface ProcessOwner {
  uid: number;
  gid: number;
  groups: number[];
}

/** A process, as /proc/PID/status shows it (man 5 proc_pid_status). */
export interface BrokerProcess {
  pid: number;
  /** What messages call it: its pid, and where that was found. */
  label: string;
  /** Escaped for messages. */
  name: string;
  owner: ProcessOwner;
  parent: number;
  isDead: boolean;
  /** Whether it listens for SIGHUP, which ends a process that does not. */
  catchesHangup: boolean;
}

const MOSQUITTO = 'mosquitto';
/** The greatest id that a process can have (pid_t). */
export const MAX_PID = 0x7fff_ffff;
const OTHER_CONTAINER =
  'Each container counts pids on its own. For a broker in another container share its pid namespace (compose: ' +
  'pid: "service:mosquitto"; Kubernetes: shareProcessNamespace: true) and name its process, mosquitto, or use a ' +
  'command, for example docker kill --signal=HUP mosquitto.';

// All of this is synchronous: procfs reads memory, and from the look at a process to the signal nothing may wait, so
// that its pid cannot become another process's in between.

/** The broker with this pid. Throws `ERR_RELOAD_FAILED` where that is another process, or none. */
export function brokerWithPid(pid: number, label = `pid ${pid}`, path?: string): BrokerProcess {
  assertOwnProc();
  const found = readProcess(pid, label);
  const problem = found === undefined ? whyUnseen(pid) : whyNot(found);
  if (found === undefined || problem !== undefined) throw reloadFailed(`${label} ${problem}`, { path });
  return found;
}

/** The broker whose pid is in this file; throws as {@link brokerWithPid} does. */
export function brokerWithPidFile(path: string): BrokerProcess {
  const text = readStart(path).trim();
  const pid = /^\d+$/.test(text) ? Number(text) : 0;
  if (pid > 0 && pid <= MAX_PID) return brokerWithPid(pid, `pid ${pid} (in ${path})`, path);
  // The message does not quote the file: it may be the password file, given by mistake.
  throw reloadFailed(`The pid file ${path} holds no pid. Is it the pid_file of mosquitto.conf?`, { path });
}

/** Why a process must not be signalled; `undefined`: it is the broker. */
function whyNot({ pid, name, isDead }: BrokerProcess): string | undefined {
  if (ancestors().has(pid)) {
    const relation = pid === process.pid ? 'this very process' : 'an ancestor of this process';
    return `is ${name}, but not the broker: it is ${relation}. ${OTHER_CONTAINER}`;
  }
  if (name !== MOSQUITTO) return `is ${name}, not ${MOSQUITTO}. ${OTHER_CONTAINER}`;
  if (isDead) return `is a ${name} that has ended (a zombie). Start the broker; it reads the file then.`;
  return undefined;
}

function whyUnseen(pid: number): string {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) !== 'EPERM') return `is not running: the broker has ended. ${OTHER_CONTAINER}`;
  }
  return `is hidden by /proc (mounted with hidepid). Run as root, or use the command kill -HUP ${pid}.`;
}

/** Whose process counts as the broker if only its name is known: any user can start a process of any name. */
export interface Eligible {
  /** Completes "No process called mosquitto belongs to". */
  whom: string;
  includes(owner: ProcessOwner): boolean;
  /** Completes "If that user runs the broker,". Default: how to name that user. */
  remedy?(owner: ProcessOwner): string | undefined;
  /** Throws if the broker, however it was named, would not load the file as this user. */
  assertLoads?(owner: ProcessOwner): void;
}

/** The only process of this name of an eligible user. Throws `ERR_RELOAD_FAILED` if there is none, or another one. */
export function brokerCalled(name: string, eligible: Eligible): BrokerProcess {
  assertOwnProc();
  const all = readdirSync('/proc').filter(entry => /^\d+$/.test(entry));
  const related = ancestors();
  const running = all
    .filter(pid => readProc(`${pid}/comm`) === `${name}\n`)
    .flatMap(pid => readProcess(Number(pid)) ?? [])
    .filter(({ pid, isDead }) => !isDead && !related.has(pid));
  const found = running.filter(({ owner }) => eligible.includes(owner));
  if (found.length === 1) return found[0] as BrokerProcess;

  const shown = printable(name);
  if (found.length > 1) {
    const pids = found.map(({ pid }) => pid).join(', ');
    throw reloadFailed(
      `${found.length} processes are called ${shown} (${pids}), so it is not clear which one to reload. ` +
        'Name it by { pidFile } or { pid } (on the command line --reload PIDFILE or --reload PID).',
    );
  }
  const [stranger] = running;
  if (stranger !== undefined) {
    const { uid } = stranger.owner;
    const remedy = eligible.remedy?.(stranger.owner) ?? `use { process: '${shown}', uid: ${uid} }`;
    throw reloadFailed(
      `No process called ${shown} belongs to ${eligible.whom}, but pid ${stranger.pid} belongs to user ${uid}. If ` +
        `that user runs the broker, ${remedy}.`,
    );
  }
  throw reloadFailed(
    `None of the ${all.length} processes here is called ${shown}. Is the broker running? Zombies and ancestors of this ` +
      'process do not count, nor do processes that /proc hides (hidepid, ProtectProc of systemd): for these use a ' +
      `command. ${OTHER_CONTAINER}`,
  );
}

/** The pids in a /proc of another pid namespace are not those that kill(2) takes (man 7 pid_namespaces). */
function assertOwnProc(): void {
  const self = attempt(() => readlinkSync('/proc/self'));
  if (self === String(process.pid)) return;
  const problem =
    self === undefined
      ? 'There is no /proc here (as on Linux) to say what a pid stands for. Mount it'
      : "/proc shows another pid namespace than this process's own, whose pids mean nothing here. Mount one of its own";
  throw reloadFailed(
    `${problem}, or use a command, for example kill -HUP with the pid of the broker. Nothing was signalled.`,
  );
}

/** This process, its parent, and so on. */
function ancestors(): Set<number> {
  const pids = new Set<number>();
  for (let pid = process.pid; pid > 0 && !pids.has(pid); pid = readProcess(pid)?.parent ?? 0) pids.add(pid);
  return pids;
}

function readProcess(pid: number, label = `pid ${pid}`): BrokerProcess | undefined {
  const status = readProc(`${pid}/status`);
  if (status === undefined) return undefined;
  const field = (name: string) => statusField(status, name) ?? '';
  const ids = (name: string) => field(name).split(/\s+/).filter(Boolean).map(Number);
  const caught = field('SigCgt');
  return {
    pid,
    label,
    // The same as /proc/PID/comm. To read the `exe` link takes privileges that processes in containers lack.
    name: printable(field('Name')),
    parent: Number(field('PPid')),
    owner: { uid: ids('Uid')[0] ?? -1, gid: ids('Gid')[0] ?? -1, groups: ids('Groups') },
    isDead: /^[ZX]/i.test(field('State')),
    // A kernel without this field (gVisor) does not say so; the signal is taken to be caught.
    catchesHangup: caught === '' || hasHangup(caught),
  };
}

/** Escapes control characters, which a terminal may obey: any user can give a process any name. */
function printable(name: string): string {
  return name.replace(/[^ -~]/gu, character => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** The first bytes of a file, more than a pid has. Does not block if it is a FIFO. */
function readStart(path: string): string {
  const start = Buffer.alloc(40);
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return start.toString('utf8', 0, readSync(file, start));
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    const question = 'Is the broker running, and is this the pid_file of its mosquitto.conf?';
    throw reloadFailed(`The pid file ${path} cannot be read (${systemCode(cause)}). ${question}`, {
      cause,
      path,
    });
  }
}

export function reloadFailed(message: string, details?: PasswordFileErrorDetails): PasswordFileError {
  return new PasswordFileError('ERR_RELOAD_FAILED', message, details);
}

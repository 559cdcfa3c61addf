/** Checks a password file: what its bytes hold, and what only the file system shows. */
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { type CheckReport, checkLines } from '../check/check.js';
import { type Finding, type FindingCode, systemCode } from '../errors.js';
import type { Settings, WaitOptions } from '../options.js';
import type { Cache } from '../storage/cache.js';
import { resolveTarget } from '../storage/path.js';
import { readError } from '../storage/snapshot.js';
import { attempt } from '../util/attempt.js';
import { runYielding } from '../util/event-loop.js';
import { invalidOption, isId, isSignal, type OptionCheck, readOptions } from '../util/read-options.js';

/**
 * The user that the broker runs as.
 *
 * @example const official: BrokerUser = { uid: 1883, gid: 1883 }; // in the container eclipse-mosquitto
 */
export interface BrokerUser {
  uid: number;
  gid: number;
  /** Further groups of that user. */
  groups?: readonly number[] | undefined;
}

/**
 * The options of `PasswordFile.check`.
 *
 * @example await new PasswordFile('passwd').check({ brokerUser: { uid: 1883, gid: 1883 } });
 */
export interface CheckOptions extends WaitOptions {
  /** The user that the broker runs as, to see whether it may read the file. */
  brokerUser?: BrokerUser | undefined;
}

export async function checkFile(
  cache: Cache,
  settings: Settings,
  options?: CheckOptions | undefined,
): Promise<CheckReport> {
  const checks = { signal: isSignal, brokerUser: { uid: isId, gid: isId, groups: isGroups } };
  const { signal, brokerUser } = readOptions<CheckOptions>(options, checks);
  if (brokerUser !== undefined && (brokerUser.uid === undefined || brokerUser.gid === undefined))
    throw invalidOption('brokerUser', 'an object with uid and gid');
  signal?.throwIfAborted();
  const target = resolveTarget(settings.path);
  const findings = placeFindings(settings, target, brokerUser);
  const isFile = !findings.some(({ code }) => code === 'NOT_A_FILE');
  const snapshot = isFile ? await cache.snapshot(signal) : undefined;
  if (snapshot === undefined) {
    // Another program may have removed the file since.
    return { loads: false, users: [], findings: isFile ? [missing()] : findings };
  }
  const report = await runYielding(checkLines(snapshot.index.bytes, { broker: settings.broker }), signal);
  const loads = report.loads && !findings.some(({ severity }) => severity === 'error');
  return { loads, users: loads ? report.users : [], findings: [...findings, ...report.findings] };
}

const isGroups: OptionCheck = value =>
  Array.isArray(value) && value.every(each => isId(each) === undefined) ? undefined : 'an array of group ids';

function placeFindings(settings: Settings, target: string, user: BrokerUser | undefined): Finding[] {
  try {
    const stats = fs.statSync(target);
    if (!stats.isFile()) return [finding('error', 'NOT_A_FILE', NOT_A_FILE)];
    const links = fs.lstatSync(settings.path).isSymbolicLink() ? [symbolicLink(settings)] : [];
    // Windows has no such owners and modes.
    if (process.platform === 'win32') return links;
    return [...links, ...accessFindings(stats, target, user)];
  } catch (cause) {
    // Also if another program removes the file between these calls, to write it anew.
    if (systemCode(cause) !== 'ENOENT') throw readError(cause, settings.path);
    return [missing()];
  }
}

const NOT_A_FILE = 'This is not a regular file. Give the path of a file.';
const WORLD = 'All users have permissions for the file.';
const LATER = 'Mosquitto 2.1 warns of that, and future versions will refuse it.';

/** What Mosquitto 2.1 says of owner, group and mode: libcommon/file_common.c `mosquitto_fopen`. */
function* accessFindings(stats: fs.Stats, target: string, user: BrokerUser | undefined): Generator<Finding> {
  if ((stats.mode & 0o007) !== 0)
    yield finding('warning', 'WORLD_ACCESSIBLE', `${WORLD} ${LATER} Use mode 0600 or 0640.`);
  if (user === undefined) return;
  const barrier = barrierOnPath(user, target);
  if (barrier !== undefined) yield barrier;
  const foreign = (what: string, is: number, wanted: number) =>
    `The ${what} of the file is ${is}, the broker's is ${wanted}. ${LATER} Change it.`;
  const { uid, gid } = stats;
  if (uid !== user.uid) yield finding('warning', 'FOREIGN_OWNER', foreign('owner', uid, user.uid));
  if (gid !== user.gid) yield finding('warning', 'FOREIGN_GROUP', foreign('group', gid, user.gid));
}

function missing(): Finding {
  const message = 'There is no file, which a broker needs to start. Use create() (on the command line -c).';
  return finding('error', 'MISSING_FILE', message);
}

function symbolicLink({ broker, brokerFollowsLinks }: Settings): Finding {
  const isRefused = broker === '2.1' && !brokerFollowsLinks;
  return finding(
    isRefused ? 'error' : 'warning',
    'SYMBOLIC_LINK',
    'The path is a symbolic link, over which Mosquitto 2.1 does not start, and a running one exits on reload, unless ' +
      'MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is set in its environment (2.1.1 and later). Give the broker the file itself' +
      (isRefused
        ? '; or set that, and the option brokerFollowsLinks (for the program, the same variable).'
        : '.'),
  );
}

/** Whether a user could read the file; `false` also if that cannot be determined. */
export function canRead(user: BrokerUser, target: string): boolean {
  return attempt(() => barrierOnPath(user, target) === undefined) ?? false;
}

/** What keeps a user from reading a file: the file or one of its directories; `undefined`: nothing. */
function barrierOnPath(user: BrokerUser, target: string): Finding | undefined {
  for (let directory = dirname(target); ; directory = dirname(directory)) {
    if (!isAllowed(user, fs.statSync(directory), 1))
      return notReadable(user, `the mode of the directory ${directory}`);
    if (directory === dirname(directory)) return barrierOfFile(user, target);
  }
}

/** The same without the directories. A process may see the file at another path. */
export function barrierOfFile(user: BrokerUser, target: string): Finding | undefined {
  const stats = fs.statSync(target);
  if (isAllowed(user, stats, 4)) return undefined;
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
  return notReadable(user, `its owner and mode (${stats.uid}:${stats.gid}, ${mode})`);
}

function isAllowed({ uid, gid, groups = [] }: BrokerUser, stats: fs.Stats, bit: number): boolean {
  const shift = stats.uid === uid ? 6 : [gid, ...groups].includes(stats.gid) ? 3 : 0;
  return uid === 0 || ((stats.mode >> shift) & bit) !== 0;
}

function notReadable({ uid, gid }: BrokerUser, barrier: string): Finding {
  return finding(
    'error',
    'NOT_READABLE',
    `The broker's user (${uid}:${gid}) cannot read the file, because of ${barrier}. Mosquitto 2.0 would ` +
      'refuse everybody, 2.1 would exit. Give that user the file, or its group the permission to read it.',
  );
}

function finding(severity: Finding['severity'], code: FindingCode, message: string): Finding {
  return { line: 0, severity, code, message };
}

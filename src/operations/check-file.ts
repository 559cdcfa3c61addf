/** What only the file system knows of a password file, added to what its bytes tell. */
import * as fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type CheckReport, checkLines } from '../check/check.js';
import { type Finding, type FindingCode, systemCode } from '../errors.js';
import type { Settings, WaitOptions } from '../options.js';
import type { Cache } from '../storage/cache.js';
import { firstNames } from '../storage/disk.js';
import { isCandidate, isGone, lockDirectory, parseTempFileName } from '../storage/lock-owner.js';
import { resolveTarget } from '../storage/path.js';
import { inSlices } from '../util/event-loop.js';
import {
  invalidOption,
  isAnything,
  isSignal,
  type OptionCheck,
  readOptions,
  whole,
} from '../util/read-options.js';

/** So many names beside the file are read, and so many directories of writers are looked at. */
const MAX_NAMES = 1024;
const MAX_LEFTOVERS = 100;

/** The user that the broker runs as. */
export interface BrokerUser {
  uid: number;
  gid: number;
  /** Further groups of that user. */
  groups?: readonly number[] | undefined;
}

/** The options of `PasswordFile.check`. */
export interface CheckOptions extends WaitOptions {
  /** The user that the broker runs as, to see whether it may read the file. */
  brokerUser?: BrokerUser | undefined;
}

/** Checks a password file. */
export async function checkFile(
  cache: Cache,
  settings: Settings,
  options?: CheckOptions | undefined,
): Promise<CheckReport> {
  const checks = { signal: isSignal, brokerUser: isAnything };
  const { signal, ...given } = readOptions<CheckOptions>('', options, checks);
  const brokerUser = given.brokerUser && readBrokerUser(given.brokerUser);
  signal?.throwIfAborted();
  const target = resolveTarget(settings.path);
  const findings = [...placeFindings(settings, target, brokerUser), ...leftovers(target)];
  const isFile = !findings.some(({ code }) => code === 'NOT_A_FILE');
  const bytes = isFile ? (await cache.snapshot(signal))?.index.bytes : undefined;
  const report = await inSlices(checkLines(bytes ?? Buffer.alloc(0), { broker: settings.broker }), signal);
  const loads = bytes !== undefined && report.loads && !findings.some(({ severity }) => severity === 'error');
  return { loads, users: loads ? report.users : [], findings: [...findings, ...report.findings] };
}

function readBrokerUser(user: BrokerUser): BrokerUser {
  const id = whole(0, 2 ** 32 - 2);
  const groups: OptionCheck = value =>
    Array.isArray(value) && value.every(each => id(each) === undefined) ? undefined : 'an array of group ids';
  const { uid, gid, groups: more = [] } = readOptions('brokerUser', user, { uid: id, gid: id, groups });
  if (uid === undefined || gid === undefined) throw invalidOption('brokerUser', 'an object with uid and gid');
  return { uid, gid, groups: more };
}

function* placeFindings(
  settings: Settings,
  target: string,
  user: BrokerUser | undefined,
): Generator<Finding> {
  const stats = fs.statSync(target, { throwIfNoEntry: false });
  if (stats === undefined) {
    yield error(
      'MISSING_FILE',
      'There is no such file, and a broker does not start without it. Make it with create() (on the command line -c).',
    );
    return;
  }
  if (!stats.isFile()) {
    yield error('NOT_A_FILE', 'This is not a regular file. Give the path of a file.');
    return;
  }
  if (fs.lstatSync(settings.path).isSymbolicLink()) yield symbolicLink(settings);
  // Windows has no such owners and modes.
  if (process.platform !== 'win32') yield* accessFindings(stats, target, user);
}

/** What Mosquitto 2.1 says of owner, group and mode: libcommon/file_common.c `mosquitto_fopen`. */
function* accessFindings(stats: fs.Stats, target: string, user: BrokerUser | undefined): Generator<Finding> {
  if ((stats.mode & 0o007) !== 0) {
    yield warning(
      'WORLD_ACCESSIBLE',
      'Users other than owner and group have permissions for the file. Mosquitto 2.1 warns of that, and future versions ' +
        'will refuse it. Use mode 0600 or 0640.',
    );
  }
  if (user === undefined) return;
  const barrier = unreadableFor(user, target);
  if (barrier !== undefined) {
    yield error(
      'NOT_READABLE',
      `The broker's user (${user.uid}:${user.gid}) cannot read the file, because of ${barrier}. Mosquitto 2.0 would ` +
        'refuse everybody, 2.1 would exit. Give that user the file, or its group the permission to read it.',
    );
  }
  if (stats.uid !== user.uid) yield foreign('FOREIGN_OWNER', 'owner', 'user', stats.uid, user.uid);
  if (stats.gid !== user.gid) yield foreign('FOREIGN_GROUP', 'group', 'group', stats.gid, user.gid);
}

function foreign(code: FindingCode, what: string, kind: string, found: number, wanted: number): Finding {
  return warning(
    code,
    `The ${what} of the file is ${kind} ${found}, not that of the broker (${wanted}). Mosquitto 2.1 warns of that, and ` +
      `future versions will refuse it. Change the ${what}.`,
  );
}

function symbolicLink({ broker, brokerFollowsLinks }: Settings): Finding {
  if (broker === '2.1' && !brokerFollowsLinks) {
    return error(
      'SYMBOLIC_LINK',
      'The path is a symbolic link, which Mosquitto 2.1 does not follow: it does not start, and a running one exits on ' +
        'reload. Give the broker the file itself; or set MOSQUITTO_UNSAFE_ALLOW_SYMLINKS in its environment (2.1.1 and ' +
        'later), and the option brokerFollowsLinks.',
    );
  }
  return warning(
    'SYMBOLIC_LINK',
    'The path is a symbolic link, which Mosquitto 2.1 does not follow unless MOSQUITTO_UNSAFE_ALLOW_SYMLINKS is set in ' +
      'its environment (2.1.1 and later). Give the broker the file itself.',
  );
}

/** Whether a user could read the file; not where that cannot be found out. */
export function canRead(user: BrokerUser, target: string): boolean {
  try {
    return unreadableFor(user, target) === undefined;
  } catch {
    return false;
  }
}

/** What keeps a user from reading a file: the file or one of its directories; `undefined`: nothing. */
function unreadableFor(user: BrokerUser, target: string): string | undefined {
  if (user.uid === 0) return undefined;
  for (let directory = dirname(target); ; directory = dirname(directory)) {
    if (!isAllowed(user, fs.statSync(directory), 1)) return `the mode of the directory ${directory}`;
    if (directory === dirname(directory)) break;
  }
  return isAllowed(user, fs.statSync(target), 4) ? undefined : 'its owner and mode';
}

function isAllowed({ uid, gid, groups = [] }: BrokerUser, stats: fs.Stats, bit: number): boolean {
  const shift = stats.uid === uid ? 6 : [gid, ...groups].includes(stats.gid) ? 3 : 0;
  return ((stats.mode >> shift) & bit) !== 0;
}

/** Directories of writers that are gone for sure. Anybody may have planted any number, so not all are looked at. */
function* leftovers(target: string): Generator<Finding> {
  const beside = dirname(target);
  const isWriters = (name: string) => name === basename(lockDirectory(target)) || isCandidate(target, name);
  for (const name of namesIn(beside, MAX_NAMES).filter(isWriters).slice(0, MAX_LEFTOVERS)) {
    const directory = join(beside, name);
    const owners = namesIn(directory, 2).map(parseTempFileName);
    if (!owners.every(owner => owner !== undefined && isGone(owner))) continue;
    yield warning('LEFTOVER', `${directory} was left by a writer that died. The next write removes it.`);
  }
}

function namesIn(directory: string, most: number): string[] {
  try {
    return firstNames(directory, most);
  } catch (cause) {
    if (systemCode(cause) === undefined) throw cause;
    return [];
  }
}

function error(code: FindingCode, message: string): Finding {
  return { line: 0, severity: 'error', code, message };
}

function warning(code: FindingCode, message: string): Finding {
  return { line: 0, severity: 'warning', code, message };
}

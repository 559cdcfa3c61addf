/** What only the file system knows of a password file, added to what its bytes tell. */
import * as fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type CheckReport, checkLines } from '../check/check.js';
import type { BrokerRelease } from '../check/stored-hash.js';
import { type Finding, systemCode } from '../errors.js';
import type { Settings, WaitOptions } from '../options.js';
import { isCandidate, isGone, parseTempFileName } from '../storage/lock-owner.js';
import type { FileSite } from '../storage/site.js';
import { inSlices } from '../util/event-loop.js';
import {
  invalidOption,
  isAnything,
  isSignal,
  type OptionCheck,
  readOptions,
  whole,
} from '../util/read-options.js';

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

/** Checks the file of a site. */
export async function checkFile(
  site: FileSite,
  settings: Settings,
  options?: CheckOptions | undefined,
): Promise<CheckReport> {
  const checks = { signal: isSignal, brokerUser: isAnything };
  const { signal, ...given } = readOptions<CheckOptions>('', options, checks);
  const brokerUser = given.brokerUser && readBrokerUser(given.brokerUser);
  signal?.throwIfAborted();
  const { path, broker } = settings;
  const { target } = site;
  const findings = [...placeFindings(path, target, broker, brokerUser), ...leftovers(target)];
  const report = await inSlices(checkLines(await bytesOf(site), { broker }));
  const loads = report.loads && !findings.some(({ severity }) => severity === 'error');
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

/** Nothing, where there is no file or something else in its place. */
async function bytesOf(site: FileSite): Promise<Uint8Array> {
  try {
    return (await site.snapshot())?.bytes ?? Buffer.alloc(0);
  } catch (error) {
    if (systemCode(error) === 'ERR_NOT_REPLACEABLE') return Buffer.alloc(0);
    throw error;
  }
}

function* placeFindings(
  path: string,
  target: string,
  broker: BrokerRelease,
  user: BrokerUser | undefined,
): Generator<Finding> {
  const stats = fs.statSync(target, { throwIfNoEntry: false });
  if (stats === undefined) {
    yield error(
      'MISSING_FILE',
      'There is no such file, and a broker does not start without it. Make it with create().',
    );
    return;
  }
  if (!stats.isFile()) {
    yield error('NOT_A_FILE', 'This is not a regular file. Give the path of a file.');
    return;
  }
  if (fs.lstatSync(path).isSymbolicLink()) yield SYMBOLIC_LINK[broker];
  if ((stats.mode & 0o004) !== 0) {
    yield warning(
      'WORLD_READABLE',
      'Everybody may read the file. Mosquitto warns of that and will refuse it one day. Use mode 0600 or 0640.',
    );
  }
  if (user === undefined) return;
  const barrier = unreadableFor(user, target);
  if (barrier !== undefined) {
    yield error(
      'NOT_READABLE',
      `The broker's user (${user.uid}:${user.gid}) may not read the file, because of ${barrier}. Mosquitto 2.0 would ` +
        'refuse everybody, 2.1 would exit. Give that user the file, or its group the right to read it.',
    );
  }
  if (stats.uid !== user.uid) {
    yield warning(
      'FOREIGN_OWNER',
      `The file belongs to user ${stats.uid}, not to the broker's (${user.uid}). Mosquitto 2.1 warns of that and will ` +
        'refuse it one day. Change the owner.',
    );
  }
}

const SYMBOLIC_LINK: Record<BrokerRelease, Finding> = {
  '2.0': warning(
    'SYMBOLIC_LINK',
    'The path is a symbolic link. Mosquitto 2.1 does not follow it. Give the broker the file itself.',
  ),
  '2.1': error(
    'SYMBOLIC_LINK',
    'The path is a symbolic link, which Mosquitto 2.1 does not follow: it does not start, and a running one exits when ' +
      'it is told to reload. Give the broker the file itself.',
  ),
};

/** Whether a user could read the file; not where that cannot be found out. */
export function canRead(user: BrokerUser, target: string): boolean {
  try {
    return unreadableFor(user, target) === undefined;
  } catch {
    return false;
  }
}

/** What keeps a user from reading a file: the file or one of its folders; `undefined`: nothing. */
function unreadableFor(user: BrokerUser, target: string): string | undefined {
  if (user.uid === 0) return undefined;
  for (let folder = dirname(target); ; folder = dirname(folder)) {
    if (!isAllowed(user, fs.statSync(folder), 1)) return `the mode of the folder ${folder}`;
    if (folder === dirname(folder)) break;
  }
  return isAllowed(user, fs.statSync(target), 4) ? undefined : 'its owner and mode';
}

function isAllowed({ uid, gid, groups = [] }: BrokerUser, stats: fs.Stats, bit: number): boolean {
  const shift = stats.uid === uid ? 6 : [gid, ...groups].includes(stats.gid) ? 3 : 0;
  return ((stats.mode >> shift) & bit) !== 0;
}

/** Folders of writers that are gone for sure. */
function* leftovers(target: string): Generator<Finding> {
  for (const name of namesIn(dirname(target))) {
    if (name !== `${basename(target)}.writer` && !isCandidate(target, name)) continue;
    const folder = join(dirname(target), name);
    const holders = namesIn(folder).map(parseTempFileName);
    if (!holders.every(holder => holder !== undefined && isGone(holder))) continue;
    yield warning('LEFTOVER', `${folder} was left by a writer that died. The next write removes it.`);
  }
}

function namesIn(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch (cause) {
    if (systemCode(cause) === undefined) throw cause;
    return [];
  }
}

function error(code: string, message: string): Finding {
  return { line: 0, severity: 'error', code, message };
}

function warning(code: string, message: string): Finding {
  return { line: 0, severity: 'warning', code, message };
}

/** What a test needs of the machine. A test whose needs are not met is skipped or fails. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestFunction, test } from 'vitest';
import { attempt } from '../../src/util/attempt.js';
import {
  type Broker,
  findBrokers,
  findPasswdTools,
  type PasswdTool,
  type Program,
  type Release,
  which,
} from './broker.js';

export interface Need {
  /** Completes "needs …". */
  what: string;
  /** With MOSQUITTO_REQUIRED=1 the lack of a program fails the test. The lack of anything else skips it even then. */
  isProgram: boolean;
  met(): boolean;
}

const UNPACK = 'test/support/unpack-releases.sh';

export const linux: Need = need('Linux', () => process.platform === 'linux');

export const root: Need = need('root', () => process.geteuid?.() === 0);

/** A tmpfs can be mounted. */
export const mounting: Need = need('to be allowed to mount', () => {
  const directory = mkdtempSync(join(tmpdir(), 'mount-'));
  const mounted = succeeds('sh', '-c', 'mount -t tmpfs none "$0" && umount "$0"', directory);
  rmdirSync(directory);
  return mounted;
});

/** Files can be mounted as disks. */
export const loopDevices: Need = need('loop devices', () => existsSync('/dev/loop-control'));

/** A FUSE file system can be mounted. */
export const fuse: Need = need('the device /dev/fuse', () => existsSync('/dev/fuse'));

/** A process can be started in a pid namespace with a /proc of its own. */
export const namespaces: Need = need('to be allowed to unshare namespaces', () =>
  succeeds('unshare', '--pid', '--fork', '--mount-proc', 'true'),
);

/** A process can be started in a user namespace that knows no user but its own. */
export const userNamespaces: Need = need('to be allowed to unshare user namespaces', () =>
  succeeds('unshare', '--map-root-user', 'true'),
);

export function program(name: string): Need {
  return { what: `the program ${name}`, isProgram: true, met: () => which(name) !== undefined };
}

export function broker(release?: Release): Need {
  const what = `a Mosquitto broker${release ? ` ${release}` : ''} (installed, or by ${UNPACK})`;
  return { what, isProgram: true, met: () => ofRelease(findBrokers(), release).length > 0 };
}

export function passwdTool(release?: Release): Need {
  const what = `mosquitto_passwd${release ? ` ${release}` : ''} (installed, or by ${UNPACK})`;
  return { what, isProgram: true, met: () => ofRelease(findPasswdTools(), release).length > 0 };
}

/**
 * Tests with needs. If one of these is not met, the tests are skipped with the reason in the title, or fail with it; the
 * body of a suite is then not run.
 *
 * ```ts
 * needs(root, program('strace')).test('keeps the owner', async () => {});
 * needs(broker('2.1')).describe('a broker of today', () => {});
 * ```
 */
export function needs(...needed: Need[]): {
  test(title: string, run: TestFunction, timeout?: number): void;
  describe(title: string, suite: () => void): void;
} {
  const missing = needed.filter(({ met }) => !met());
  if (missing.length === 0) return { test, describe };

  const reason = `needs ${missing.map(({ what }) => what).join(' and ')}`;
  const { MOSQUITTO_REQUIRED } = process.env;
  const fails = MOSQUITTO_REQUIRED === '1' && missing.some(({ isProgram }) => isProgram);
  const report = (title: string) =>
    fails
      ? test(title, () => {
          throw new Error(reason);
        })
      : test.skip(`${title} (${reason})`);
  return { test: report, describe: report };
}

/** One suite for each broker that is installed. A release of which there is none is a need that is not met. */
export function describeBrokers(title: string, suite: (broker: Broker) => void): void {
  describeEach(title, findBrokers(), broker, suite);
}

/** One suite for each mosquitto_passwd that is installed. */
export function describePasswdTools(title: string, suite: (tool: PasswdTool) => void): void {
  describeEach(title, findPasswdTools(), passwdTool, suite);
}

function describeEach<P extends Program>(
  title: string,
  found: P[],
  needOf: (release: Release) => Need,
  suite: (program: P) => void,
): void {
  for (const release of ['2.0', '2.1'] as const) {
    needs(needOf(release)).describe(`${title}, Mosquitto ${release}`, () => {
      for (const each of ofRelease(found, release)) describe(each.version, () => suite(each));
    });
  }
}

function ofRelease<P extends Program>(programs: P[], release: Release | undefined): P[] {
  return programs.filter(each => release === undefined || each.release === release);
}

/** @param probe returns `false` or throws if the need is not met */
export function need(what: string, probe: () => boolean): Need {
  let met: boolean | undefined;
  return {
    what,
    isProgram: false,
    met: () => {
      met ??= attempt(probe) === true;
      return met;
    },
  };
}

function succeeds(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

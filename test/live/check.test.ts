/**
 * Real brokers read files that random edits have damaged, and `check` and `verify` must say what they do.
 *
 *   FUZZ_FILES=5000 FUZZ_SEED=1 npx vitest run test/live/check.test.ts
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CheckReport, checkPasswordFile } from '../../src/check/check.js';
import type { LoadedHash } from '../../src/check/stored-hash.js';
import { canBeSent } from '../../src/credentials/rules.js';
import { type Broker, BrokerDidNotStart, login, type RunningBroker, startBroker } from '../support/broker.js';
import { brokerUsers, letsIn } from '../support/broker-users.js';
import { mutatedFile, OTHER_PASSWORD, PASSWORD, Random } from '../support/mutate.js';
import { describeBrokers } from '../support/require.js';

const { FUZZ_FILES = '150', FUZZ_SEED } = process.env;
const FILES = Number(FUZZ_FILES);
const SEED = FUZZ_SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(FUZZ_SEED);

/** A broker takes seconds for more iterations than these. */
const SLOW = 20_000;
const NAMES_PROBED = 8;
/** With fewer users, Mosquitto 2.0 never doubles its hash table of users (uthash does at the tenth in a bucket). */
const FEW_USERS = 10;
const AT_A_TIME = 4;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'check-live-'));
});
afterAll(() => rm(directory, { recursive: true }));

/** Loads one file after the other into a broker, which is started again only if it has ended. */
class Trial {
  readonly broker: Broker;
  readonly #passwordFile: string;
  #running: RunningBroker | undefined;

  constructor(broker: Broker, nth: number) {
    this.broker = broker;
    this.#passwordFile = join(directory, `${broker.version}-${nth}`);
  }

  /** The port of a broker that has loaded this file; `undefined`: the broker does not run with it. */
  async load(bytes: Buffer): Promise<number | undefined> {
    await writeFile(this.#passwordFile, bytes);
    if (this.#running === undefined) this.#running = await this.#start();
    else if (!(await this.#reload(this.#running))) await this.stop();
    return this.#running?.port;
  }

  async #reload(running: RunningBroker): Promise<boolean> {
    try {
      return await running.reload();
    } catch (error) {
      // The broker ended while the harness connected to see whether it still answers.
      if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return running.answers();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
    this.#running = undefined;
  }

  async #start(): Promise<RunningBroker | undefined> {
    try {
      return await startBroker(this.broker, { passwordFile: this.#passwordFile });
    } catch (error) {
      if (error instanceof BrokerDidNotStart) return undefined;
      throw error;
    }
  }
}

describeBrokers('check and verify', broker => {
  test(
    `agree with the broker on ${FILES} files (FUZZ_SEED=${SEED})`,
    async () => {
      const tally = new Tally();
      // Several brokers at the same time, because Mosquitto 2.0 takes 0.1 s to look for SIGHUP.
      await Promise.all(
        Array.from({ length: AT_A_TIME }, async (_, nth) => {
          const trial = new Trial(broker, nth);
          for (let seed = SEED + nth; seed < SEED + FILES; seed += AT_A_TIME)
            await compare(trial, seed, tally);
          await trial.stop();
        }),
      );
      console.info(`Mosquitto ${broker.version}: ${tally}`);
      expect(tally.disagreements).toEqual([]);
      expect(tally.files).toBe(FILES);
    },
    60_000 + FILES * 500,
  );
});

class Tally {
  files = 0;
  loaded = 0;
  logins = 0;
  in = 0;
  /** How often the library said no because it is not sure, and the broker yes. */
  safe = 0;
  readonly disagreements: { seed: number; what: string; file: string }[] = [];

  toString(): string {
    const { files, loaded, logins, in: letIn, safe, disagreements } = this;
    return (
      `${files} files, ${loaded} loaded; ${logins} logins, ${letIn} let in; ` +
      `${disagreements.length} disagreements, ${safe} times on the safe side`
    );
  }
}

/** Mosquitto 2.1 skips such a last line. The library reports that it is refused, as it is with a line feed. */
const LAST_LINE_OF_COLONS = /(?:^|\n):+$/;

/** Compares the answers of the library for one file with those of a broker. */
async function compare(trial: Trial, seed: number, tally: Tally): Promise<void> {
  const { release } = trial.broker;
  const bytes = Buffer.from(mutatedFile(new Random(seed)), 'latin1');
  const report = checkPasswordFile(bytes, { broker: release });
  /** @param isSafe the library says no and the broker yes */
  const disagree = (what: string, isSafe: boolean, name?: string) => {
    if (isSafe && (isUnsure(report, name) || LAST_LINE_OF_COLONS.test(bytes.toString('latin1'))))
      tally.safe++;
    else tally.disagreements.push({ seed, what, file: bytes.toString('latin1') });
  };
  const port = await trial.load(bytes);
  tally.files++;
  if (port !== undefined) tally.loaded++;
  if (report.loads !== (port !== undefined)) disagree('loads', !report.loads);
  if (port === undefined || !report.loads) return;

  const users = brokerUsers(bytes, release);
  const isProbed = (name: string) => !isSlow(users.hashOf(name)) && !isAnyOfItsLines(name, report, release);
  const names = namesIn(bytes).filter(isProbed);
  const probes = names.flatMap(name => [PASSWORD, OTHER_PASSWORD].map(password => ({ name, password })));
  await Promise.all(
    probes.map(async ({ name, password }) => {
      const isIn = (await login(port, name, password)) === 0;
      const byVerify = await letsIn(users, name, password);
      const byCheck = report.users.includes(name);
      tally.logins++;
      if (isIn) tally.in++;
      if (isIn !== byVerify) disagree(`verify ${name} ${password}: ${byVerify}`, isIn, name);
      if (isIn && !byCheck) disagree(`${name} is in`, true, name);
      if (byCheck !== (users.hashOf(name) !== undefined))
        disagree(`check and verify differ on ${name}`, false);
    }),
  );
}

function isSlow(hash: LoadedHash | undefined): boolean {
  return hash?.algorithm === 'pbkdf2-sha512' && hash.iterations > SLOW;
}

/** Whether 2.0 may use any line of this duplicate name: which one it uses depends on the number of users. */
function isAnyOfItsLines(name: string, { users, findings }: CheckReport, release: string): boolean {
  const isDuplicate = findings.some(({ code, username }) => code === 'DUPLICATE_NAME' && username === name);
  return release === '2.0' && users.length >= FEW_USERS && isDuplicate;
}

/**
 * Whether builds of a broker differ on a file or name, or details decide that the library does not simulate: NUL bytes,
 * a last line that may be lost, damaged base64 or iterations in a line of that name.
 */
function isUnsure({ findings }: CheckReport, name?: string): boolean {
  return findings.some(
    ({ code, message, username }) =>
      code === 'NUL_BYTE' ||
      code === 'LOST_LAST_LINE' ||
      (code === 'MALFORMED_HASH' &&
        /base64|iterations/.test(message) &&
        // A finding without a name, which may be a hash, can be about any line.
        (name === undefined || username === undefined || name === username)),
  );
}

/** Names to try: the text of lines before a colon or NUL, and two further names. */
function namesIn(bytes: Buffer): string[] {
  const names = bytes
    .toString()
    .split('\n')
    .map(line =>
      line
        .replace(/^:+/, '')
        .replace(/[:\0].*$/s, '')
        .trim(),
    );
  const distinct = [...new Set(names)].filter(name => canBeSent(name) && !name.includes('\ufffd'));
  // Of a long file only the last names, whose lines random edits may have changed, and duplicate ones.
  const duplicates = distinct.filter(name => names.indexOf(name) !== names.lastIndexOf(name));
  return [
    ...new Set([...duplicates.slice(0, NAMES_PROBED), ...distinct.slice(-NAMES_PROBED), 'alice', 'nobody']),
  ];
}

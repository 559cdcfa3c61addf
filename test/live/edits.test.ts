/**
 * Edits of files whose last line an edit could change, with real brokers: a user who is not edited and
 * who can log in before an edit, can log in after it.
 *
 *   EDITED_FILES=500 FUZZ_SEED=1 npx vitest run test/live/edits.test.ts
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkPasswordFile } from '../../src/check/check.js';
import { login, startBroker } from '../support/broker.js';
import { testDirectory } from '../support/directory.js';
import { type Edits, edited, edits, entryOf, files, HASH, PASSWORD } from '../support/edited-files.js';
import { describeBrokers } from '../support/require.js';

const { EDITED_FILES = '25', FUZZ_SEED } = process.env;
const SEED = FUZZ_SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(FUZZ_SEED);

const nameOf = (entry: string) => entry.split(':')[0] as string;

/** Edits that once took away the login of another user. Of the first, `checkPasswordFile` is not sure. */
const KNOWN: Array<[text: string, Edits, others?: string[]]> = [
  [`${entryOf(300)}\n${entryOf(255)}`, [[nameOf(entryOf(300)), undefined]], [nameOf(entryOf(255))]],
  [`alice:${HASH}\0junk`, [['bob', HASH]]],
];

describeBrokers('an edit keeps the login of every other user', broker => {
  test(`in ${EDITED_FILES} files (FUZZ_SEED=${SEED})`, async () => {
    const { release } = broker;
    const passwordFile = join(testDirectory(), 'passwd');
    await writeFile(passwordFile, '');
    await using running = await startBroker(broker, { passwordFile });
    const namesIn = async (names: string[]) => {
      const codes = await Promise.all(names.map(name => login(running.port, name, PASSWORD)));
      return names.filter((_, i) => codes[i] === 0);
    };
    const load = async (bytes: Uint8Array) => {
      await writeFile(passwordFile, bytes);
      expect(await running.reload()).toBe(true);
    };
    const samples = fc.sample(fc.tuple(files, edits), { numRuns: Number(EDITED_FILES), seed: SEED });
    let kept = 0;
    for (const [text, made, known] of [...KNOWN, ...samples]) {
      const before = Buffer.from(text, 'latin1');
      const after = edited(text, made);
      const reports = [before, after].map(bytes => checkPasswordFile(bytes, { broker: release }));
      // A broker ends at a file that it does not load.
      if (!reports.every(({ loads }) => loads)) continue;
      const touched = new Set(made.map(([name]) => name));
      const others = known ?? (reports[0]?.users ?? []).filter(name => !touched.has(name));
      for (const bytes of [before, after]) {
        await load(bytes);
        expect({ text, made, in: await namesIn(others) }).toEqual({ text, made, in: others });
      }
      kept += others.length;
    }
    expect(kept).toBeGreaterThan(0);
  }, 120_000);
});

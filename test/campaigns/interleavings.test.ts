/**
 * All interleavings of three writers. MODEL_DEATHS (2) says how many of them may die, MODEL_RETRIES (0) how many times in
 * all a fenced one may start over: with 1 it takes many minutes.
 */
import { expect, test } from 'vitest';
import { commitLocked } from '../../src/storage/lock.js';
import { explore } from '../support/model.js';

const DEATHS = Number(process.env.MODEL_DEATHS ?? 2);
const RETRIES = Number(process.env.MODEL_RETRIES ?? 0);

test.each([
  ['on POSIX', false],
  ['with the rules of NTFS', true],
])(
  'lose no commit %s, whoever is called stale and swept',
  async (where, windows) => {
    const { states, ends, lost, stuck } = await explore({
      writers: 3,
      deaths: DEATHS,
      retries: RETRIES,
      windows,
      run: commitLocked,
    });
    console.info(`3 writers, ${DEATHS} deaths, ${RETRIES} retries, ${where}: ${states} states, ${ends} ends`);
    expect({ lost, stuck }).toEqual({ lost: undefined, stuck: 0 });
    // The first release's model explored so many.
    expect(states).toBeGreaterThanOrEqual(240_311);
  },
  3_600_000,
);

/**
 * All interleavings of two and of three writers. MODEL_DEATHS (2) is how many of the three may die. MODEL_RETRIES (0) is
 * how many times in all a fenced one may start over; with 1, the test takes many minutes.
 */
import { expect, test } from 'vitest';
import { commitLocked } from '../../src/storage/lock.js';
import { type Exploring, explore } from '../support/model.js';

const DEATHS = Number(process.env.MODEL_DEATHS ?? 2);
const RETRIES = Number(process.env.MODEL_RETRIES ?? 0);

test.each<[string, Omit<Exploring, 'run'>, least: number]>([
  // The model of the first release explored this many states.
  ['that start over again and again', { writers: 2, deaths: 1, retries: 4 }, 16_380],
  [
    'whose renames fail with ENOENT although they happened, as over NFS',
    { writers: 2, deaths: 1, retries: 2, repeatedRenames: true },
    10_000,
  ],
  [
    "who may not remove each other's files",
    { writers: 2, deaths: 1, retries: 1, refusedRemovals: true },
    // Without refusals there are 4,798.
    15_000,
  ],
  ['under the rules of NTFS', { writers: 2, deaths: 1, retries: 2, windows: true }, 20_000],
])('2 writers %s lose no commit', async (_what, exploring, least) => {
  const { states, ends, ...bad } = await explore({ ...exploring, run: commitLocked });
  expect(bad).toEqual({ lost: undefined, stuck: 0, spins: 0 });
  expect(states).toBeGreaterThanOrEqual(least);
});

test.each([
  ['on POSIX', false],
  ['under the rules of NTFS', true],
])(
  '3 writers lose no commit %s, whoever is called stale and swept',
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
    // The model of the first release explored this many states.
    expect(states).toBeGreaterThanOrEqual(240_311);
  },
  3_600_000,
);

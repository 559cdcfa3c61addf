import { describe, expect, it } from 'vitest';
import { acquire, commit, commitLocked, type Outcome, type Writer } from '../../src/storage/lock.js';
import { lockDirectory } from '../../src/storage/lock-owner.js';
import { type Exploring, explore } from '../support/model.js';

type Work = () => Promise<boolean>;

/** Reads the file before it owns the lock. */
async function readsFirst(writer: Writer, work: Work): Promise<Outcome> {
  await work();
  return commit(writer, await acquire(writer));
}

/** Breaks a lock by moving in beside the owner, whose temp file can still be renamed to the file. */
async function leavesTheTempFile(writer: Writer, work: Work): Promise<Outcome> {
  const { disk } = writer;
  const lock = lockDirectory(writer.file);
  const movesIn: Writer = {
    ...writer,
    disk: {
      ...disk,
      unlink: async () => {
        const { name } = movesIn.temp ?? { name: '' };
        await disk.create(lock, name, writer.directory);
        Object.assign(movesIn.temp ?? {}, { directory: lock });
      },
      rename: async (from, to) => {
        if (from !== lock) await disk.rename(from, to);
      },
    },
  };
  return commitLocked(movesIn, work);
}

/** Without any wait for another writer a writer comes to an end, or to a pause. */
const BOUNDED = { lost: undefined, stuck: 0, spins: 0 };

describe('writers in every interleaving', () => {
  it.each<[title: string, exploring: Omit<Exploring, 'run'>, states: number]>([
    ['2 writers that start over again and again, 1 death', { writers: 2, deaths: 1, retries: 4 }, 16_380],
    [
      '2 writers whose renames say ENOENT although they happened, as over NFS',
      { writers: 2, deaths: 1, retries: 2, repeatedRenames: true },
      1_000,
    ],
    [
      "2 writers who may not remove each other's files",
      { writers: 2, deaths: 1, retries: 1, refusedRemovals: true },
      1_000,
    ],
    ['2 writers with the rules of NTFS', { writers: 2, deaths: 1, retries: 2, windows: true }, 1_000],
  ])('lose no commit: %s', async (title, exploring, least) => {
    const { states, ends, ...bad } = await explore({ ...exploring, run: commitLocked });
    console.info(`${title}: ${states} states, ${ends} ends`);
    expect(bad).toEqual(BOUNDED);
    expect(states).toBeGreaterThanOrEqual(least);
  });

  it('go round for ever where one does not pause', async () => {
    const { spins } = await explore({
      ...{ writers: 2, deaths: 0, retries: 0 },
      run: (writer, work) => commitLocked({ ...writer, pause: () => undefined }, work),
    });
    expect(spins).toBeGreaterThan(0);
  });

  it.each([
    ['the file is read before the lock is acquired', readsFirst],
    ['a broken lock leaves the temp file of its owner usable', leavesTheTempFile],
  ])('lose a commit when %s', async (_what, run) => {
    const { lost } = await explore({ writers: 2, deaths: 0, retries: 0, run });
    expect(lost?.filter(call => call.includes('/directory/passwd {'))).toHaveLength(2);
  });
});

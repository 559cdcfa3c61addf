import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Step, Writer } from '../../src/storage/lock.js';
import { type Exploring, explore } from '../support/model.js';

/** 1 takes a minute or two, 0 some seconds. */
const RETRIES = Number(process.env.MODEL_RETRIES ?? 0);

const ourWriter: Exploring['make'] = (target, newNonce, nameStage) => new Writer(target, newNonce, nameStage);

/** Reads the file before it is the only one who may write. */
class ReadsBeforeEntering extends Writer {
  override *enter(): Generator<Step, void, unknown> {
    yield { call: 'work' };
    yield* super.enter();
  }

  override *occupy() {
    const outcome = yield* this.commit();
    yield* this.tidy(this.folder);
    return outcome;
  }
}

/** Takes over by moving in beside the holder, whose stage can still be renamed to the file. */
class LeavesTheStage extends Writer {
  override *takeOver(_stage: string): Generator<Step, boolean, unknown> {
    try {
      yield { call: 'create', path: join(this.folder, this.stage) };
      this.#entered = true;
    } catch {
      // The holder has left in the meantime.
    }
    return true;
  }

  override *tryToEnter(): Generator<Step, boolean, unknown> {
    return this.#entered || (yield* super.tryToEnter());
  }

  #entered = false;
}

describe('the protocol, in every interleaving', () => {
  it('loses no commit among 3 writers with 1 death, whoever is called stale and swept', {
    timeout: 900_000,
  }, () => {
    const { states, ends, lost, stuck } = explore({
      writers: 3,
      deaths: 1,
      retries: RETRIES,
      make: ourWriter,
    });
    console.log(`3 writers, 1 death, ${RETRIES} retries: ${states} states, ${ends} ends`);
    expect({ lost, stuck }).toEqual({ lost: undefined, stuck: 0 });
    expect(states).toBeGreaterThan(100_000);
  });

  it('loses no commit among 2 writers that start over again and again', () => {
    const { states, ends, lost, stuck } = explore({ writers: 2, deaths: 1, retries: 4, make: ourWriter });
    console.log(`2 writers, 1 death, 4 retries: ${states} states, ${ends} ends`);
    expect({ lost, stuck }).toEqual({ lost: undefined, stuck: 0 });
  });

  it('loses no commit where renames that have happened say ENOENT, as over NFS', () => {
    const { lost, stuck } = explore({
      writers: 2,
      deaths: 1,
      retries: 2,
      repeatedRenames: true,
      make: ourWriter,
    });
    expect({ lost, stuck }).toEqual({ lost: undefined, stuck: 0 });
  });

  it.each([
    ['the file is read before entering', ReadsBeforeEntering],
    ['a takeover leaves the stage usable', LeavesTheStage],
  ])('finds the lost update when %s', (_what, Faulty) => {
    const { lost } = explore({
      writers: 2,
      deaths: 0,
      retries: 0,
      make: (target, newNonce, nameStage) => new Faulty(target, newNonce, nameStage),
    });
    expect(lost).toBeDefined();
    expect(lost?.filter(step => step.includes(`"to":"/folder/passwd"`))).toHaveLength(2);
  });
});

/**
 * Adds, changes and removes users at random until the test orders it to stop, and reports each edit before and after.
 * Some names are edited by this process alone, so that it knows what the file must hold for them.
 */
import { setTimeout as passed } from 'node:timers/promises';
import { PasswordFile } from '../../../src/index.js';
import { randomNumbers } from '../../support/random.js';
import { stamp } from '../../support/stamps.js';
import { argument, orders, tell } from './talk.js';

export interface WorkerArgument {
  path: string;
  slot: number;
  /** How often the worker in this slot has been killed. */
  life: number;
  seed: number;
  stale: number;
  sharedName: string;
}

/** The messages to the test. Times are microseconds of the monotonic clock, which all processes share. */
export type Told =
  | { tries: number; at: number; edits: Array<[name: string, hash: string | null]> }
  | { done: number; at: number }
  | { wrong: string };

const { path, slot, life, seed, stale, sharedName } = argument<WorkerArgument>();
const random = randomNumbers(seed + 1000 * slot + life);
const file = new PasswordFile(path, { lock: { stale, timeout: 60_000 }, allowOwnerChange: true });
const ownNames = Array.from({ length: 6 }, (_, n) => `own_${slot}_${n}`);
const pair = [`pair_${slot}_a`, `pair_${slot}_b`] as const;
/** The hashes in the file of the names that this process alone edits. */
const known = new Map<string, string | undefined>();
let edits = 0;
let stopped = false;

tell('ready');
await Promise.all([untilStopped(), lane(editOwn), lane(editShared)]);

async function untilStopped(): Promise<void> {
  for await (const _stop of orders()) break;
  stopped = true;
}

async function lane(edit: () => Promise<void>): Promise<void> {
  while (!stopped) {
    await edit();
    if (random() < 0.5) await passed(20 * random());
  }
}

async function editOwn(): Promise<void> {
  const name = ownNames[Math.floor(random() * ownNames.length)] as string;
  const hash = nextStamp();
  const dice = random();
  if (dice < 0.45) {
    const outcome = await made([[name, hash]], () => file.setHash(name, hash));
    expect(name, outcome, known.get(name) === undefined ? 'added' : 'updated');
    known.set(name, hash);
  } else if (dice < 0.7) {
    const removed = await made([[name, null]], () => file.removeUser(name));
    expect(name, removed, known.get(name) !== undefined);
    known.set(name, undefined);
  } else {
    const wanted = dice < 0.9 ? hash : undefined;
    await made(
      pair.map(each => [each, wanted ?? null]),
      () =>
        file.update(draft => {
          if (draft.get(pair[0]) !== draft.get(pair[1])) tell({ wrong: 'half of an update is in the file' });
          for (const own of [...ownNames, ...pair]) expect(own, draft.get(own), known.get(own));
          for (const each of pair) {
            if (wanted === undefined) draft.delete(each);
            else draft.set(each, wanted);
          }
        }),
    );
    for (const each of pair) known.set(each, wanted);
  }
}

async function editShared(): Promise<void> {
  const hash = nextStamp();
  await made([[sharedName, hash]], () => file.setHash(sharedName, hash));
}

function nextStamp(): string {
  return stamp(slot, life * 1_000_000 + edits++);
}

/** Makes an edit, and reports it before and after. When this resolves, the edit was acknowledged. */
async function made<T>(edits: Array<[string, string | null]>, edit: () => Promise<T>): Promise<T> {
  const id = Math.floor(random() * 2 ** 48);
  tell({ tries: id, at: now(), edits } satisfies Told);
  try {
    const result = await edit();
    tell({ done: id, at: now() } satisfies Told);
    return result;
  } catch (error) {
    tell({ wrong: `an edit failed: ${(error as Error).stack}` } satisfies Told);
    throw error;
  }
}

/** Reports a difference from `known`, if that has the name: the process before may have been killed during any edit. */
function expect(name: string, found: unknown, wanted: unknown): void {
  if (known.has(name) && found !== wanted)
    tell({ wrong: `${name}: found ${found} instead of ${wanted}` } satisfies Told);
}

function now(): number {
  return Number(process.hrtime.bigint() / 1000n);
}

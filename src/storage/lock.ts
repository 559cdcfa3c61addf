/**
 * One writer at a time, as steps. A writer is the sole occupant of a folder `W` that holds nothing but its stage; it
 * enters by renaming its private folder to `W`, and commits and leaves by renaming the stage to the password file.
 * Taking the stage away is what fences a writer, so a takeover that hits a living one costs it a retry and no more.
 *
 * The steps are yielded, not taken, so that the same code runs on a real disk (commit.ts) and, interleaved in every
 * possible way, on a model of one (test/protocol.test.ts).
 */
import { basename, dirname, join } from 'node:path';
import { systemCode } from '../errors.js';
import { NONCE, parseStageName } from './lock-owner.js';

/** What a writer does next, and what it is told about it. System errors are thrown into the generator. */
export type Step =
  | { call: 'mkdir' | 'rmdir' | 'create' | 'unlink'; path: string }
  | { call: 'rename'; from: string; to: string }
  /** → string[]: the names in a folder. */
  | { call: 'list'; path: string }
  /** → boolean: whether the writer of this stage is gone, or seemed dead for long enough. */
  | { call: 'is stale'; folder: string; stage: string }
  /** → boolean: read the file, edit, fill the stage; `false`: nothing is to change. */
  | { call: 'work' }
  /** → boolean: whether the password file is what was our stage. */
  | { call: 'is ours' }
  /** The file is held; wait a little before looking again. */
  | { call: 'pause'; held: string[] };

export type Steps<T> = Generator<Step, T, unknown>;

/** How often a fenced writer starts over. */
const ATTEMPTS = 16;

export type Outcome = 'committed' | 'unchanged' | 'fenced';

/** A writer of one password file. `newNonce` and `nameStage` are the ways to make its names. */
export class Writer {
  /** The folder whose only occupant may commit. */
  readonly folder: string;
  /** The stage's name, new for every attempt. */
  stage = '';
  #privateFolder = '';

  constructor(
    readonly target: string,
    readonly newNonce: () => string,
    readonly nameStage: (nonce: string) => string,
  ) {
    this.folder = `${target}.writer`;
  }

  /** Enters, works, commits; over again when fenced. */
  *run(): Steps<Outcome> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      yield* this.enter();
      const outcome = yield* this.occupy();
      if (outcome !== 'fenced') return outcome;
    }
    return 'fenced';
  }

  /** Becomes the occupant of the folder. */
  *enter(): Steps<void> {
    try {
      yield* this.prepare();
      while (!(yield* this.tryToEnter())) yield* this.lookAtHolder();
    } catch (error) {
      yield* this.clear(this.#privateFolder);
      throw error;
    }
  }

  /** A private folder with the stage in it. */
  *prepare(): Steps<void> {
    const nonce = this.newNonce();
    this.stage = this.nameStage(nonce);
    this.#privateFolder = `${this.target}.${nonce}.writer`;
    yield { call: 'mkdir', path: this.#privateFolder };
    try {
      yield { call: 'create', path: join(this.#privateFolder, this.stage) };
    } catch (error) {
      // Swept between the two calls: a holder may remove any empty private folder.
      if (systemCode(error) !== 'ENOENT') throw error;
      yield* this.prepare();
    }
  }

  *tryToEnter(): Steps<boolean> {
    try {
      yield { call: 'rename', from: this.#privateFolder, to: this.folder };
      return true;
    } catch (error) {
      if (isHeld(error)) return false;
      if (systemCode(error) !== 'ENOENT') throw error;
      yield* this.prepare();
      return yield* this.tryToEnter();
    }
  }

  /** Takes over from a writer that is gone; waits for one that is not. */
  *lookAtHolder(): Steps<void> {
    const names = yield* this.occupants();
    // Where a folder cannot be renamed onto an empty one (Windows), it has to go first.
    if (names.length === 0) return yield* this.tidy(this.folder);
    for (const name of names) {
      if (parseStageName(name) && (yield { call: 'is stale', folder: this.folder, stage: name })) {
        if (yield* this.takeOver(name)) return;
      }
    }
    yield { call: 'pause', held: names };
  }

  *occupants(): Steps<string[]> {
    try {
      return (yield { call: 'list', path: this.folder }) as string[];
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      if (!isRefused(error)) throw error;
      return ['a stage that this user may not look at'];
    }
  }

  /** Fences the writer of a stage: what is not in the folder any more can no longer be renamed to the file. */
  *takeOver(stage: string): Steps<boolean> {
    try {
      yield { call: 'unlink', path: join(this.folder, stage) };
      return true;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return true;
      if (!isRefused(error)) throw error;
    }
    try {
      yield { call: 'rename', from: this.folder, to: `${this.target}.${this.newNonce()}.writer` };
      return true;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return true;
      if (!isRefused(error)) throw error;
      return false;
    }
  }

  /** Everything that is done as the occupant. */
  *occupy(): Steps<Outcome> {
    let outcome: Outcome = 'unchanged';
    try {
      yield* this.sweep();
      if (yield { call: 'work' }) outcome = yield* this.commit();
    } catch (error) {
      yield* this.clear(this.folder);
      throw error;
    }
    if (outcome === 'committed') yield* this.tidy(this.folder);
    else yield* this.clear(this.folder);
    return outcome;
  }

  /** Commit and release in one step. */
  *commit(): Steps<Outcome> {
    try {
      yield { call: 'rename', from: join(this.folder, this.stage), to: this.target };
      return 'committed';
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
      // NFS may repeat a rename that has succeeded already.
      return (yield { call: 'is ours' }) ? 'committed' : 'fenced';
    }
  }

  /** Removes the private folders that dead writers left. */
  *sweep(): Steps<void> {
    for (const name of yield* this.list(dirname(this.target))) {
      if (!isPrivateFolder(this.target, name)) continue;
      const folder = join(dirname(this.target), name);
      for (const stage of yield* this.list(folder)) {
        if (parseStageName(stage) && (yield { call: 'is stale', folder, stage })) {
          yield* this.attempt({ call: 'unlink', path: join(folder, stage) });
        }
      }
      yield* this.tidy(folder);
    }
  }

  /** Our stage and the folder round it. */
  *clear(folder: string): Steps<void> {
    yield* this.attempt({ call: 'unlink', path: join(folder, this.stage) });
    yield* this.tidy(folder);
  }

  /** A folder that is not empty, or gone, is somebody else's by now. */
  *tidy(folder: string): Steps<void> {
    yield* this.attempt({ call: 'rmdir', path: folder });
  }

  *list(path: string): Steps<string[]> {
    return ((yield* this.attempt({ call: 'list', path })) ?? []) as string[];
  }

  /** A step whose failure changes nothing: what it leaves behind, a later writer sweeps. */
  *attempt(step: Step): Steps<unknown> {
    try {
      return yield step;
    } catch {
      return undefined;
    }
  }
}

function isHeld(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOTEMPTY' || code === 'EEXIST' || (code === 'EPERM' && process.platform === 'win32');
}

function isRefused(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'EACCES' || code === 'EPERM';
}

/** Whether a name beside the password file is that of a writer's private folder. */
export function isPrivateFolder(target: string, name: string): boolean {
  const file = basename(target);
  return name.startsWith(`${file}.`) && PRIVATE_SUFFIX.test(name.slice(file.length));
}

const PRIVATE_SUFFIX = new RegExp(`^\\.${NONCE}\\.writer$`);

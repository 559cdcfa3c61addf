/** Callers of one file in one process share a queue; all that wait join the next commit. */

import { Draft, edited } from '../document/draft.js';
import { NameIndex } from '../document/name-index.js';
import { PasswordFileError } from '../errors.js';
import { onAbort } from '../util/abort.js';
import { inSlices } from '../util/event-loop.js';
import { commit, type LockOptions, type Stage } from './commit.js';
import { assertReplaceable, dress, fill, type ReplacePolicy, writeError } from './replace.js';
import type { Snapshot } from './snapshot.js';
import type { Watch } from './watch.js';

/** How a file is written; edits that agree in it can share a commit. */
export interface WritePolicy extends ReplacePolicy {
  lock: Required<{ [K in keyof LockOptions]: number }>;
}

/** Where edits come from: one `PasswordFile`. */
export interface Site {
  policy: WritePolicy;
  /** Equal for equal policies. */
  policyKey: string;
  /** Whether a file that is not there is an error to edits. */
  fileMustExist: boolean;
  watch: Watch;
  /** The file as it is now; a snapshot taken earlier will do as long as it still is current. */
  read(target: string): Promise<Snapshot | undefined>;
  /** Called when the file has been replaced with an edit from here in it. */
  committed(): void;
}

/** An edit that waits for its commit. */
export interface Edit<T> {
  site: Site;
  /** The names it looks at; `undefined`: not known beforehand. */
  names: ReadonlySet<string> | undefined;
  /** Makes a missing file even where nothing is to stand in it. */
  creates?: boolean;
  /** Yields now and then. May run again, on another draft, until its commit is done. What it throws undoes it alone. */
  apply(draft: Draft, fileExists: boolean): Generator<unknown, T>;
  signal?: AbortSignal | undefined;
}

/** An edit in the queue and what became of it. */
class Waiting {
  readonly policy: string;
  outcome: { value: unknown } | { error: unknown } | undefined;
  /** Its caller has given up. */
  deserted = false;
  onDesert: (() => void) | undefined;
  readonly #stopListening: (() => void) | undefined;
  readonly #resolve: (value: unknown) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    readonly edit: Edit<unknown>,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.policy = edit.site.policyKey;
    this.#resolve = resolve;
    this.#reject = reject;
    if (edit.signal !== undefined) this.#stopListening = onAbort(edit.signal, this.#desert);
  }

  /** A caller that gives up takes only its own edit out, and only as long as that is not being written. */
  readonly #desert = (): void => {
    if (this.outcome !== undefined) return;
    this.deserted = true;
    this.#end(() => this.#reject(this.edit.signal?.reason));
    this.onDesert?.();
  };

  /** @param failure why the whole commit failed, if it did */
  settle(failure?: { error: unknown }): void {
    const { outcome } = this;
    this.#end(() => {
      if (outcome !== undefined && 'error' in outcome) this.#reject(outcome.error);
      else if (failure !== undefined) this.#reject(failure.error);
      else this.#resolve(outcome?.value);
    });
  }

  #end(settle: () => void): void {
    this.#stopListening?.();
    settle();
  }
}

const queues = new Map<string, Queue>();

/** Has an edit made by the next commit of a file. Settles when its outcome is on disk. */
export async function submit<T>(target: string, edit: Edit<T>): Promise<T> {
  edit.signal?.throwIfAborted();
  let queue = queues.get(target);
  if (queue === undefined) {
    queue = new Queue(target);
    queues.set(target, queue);
  }
  return queue.submit(edit);
}

class Queue {
  #waiting: Waiting[] = [];
  #running = false;

  constructor(readonly target: string) {}

  submit<T>(edit: Edit<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push(new Waiting(edit, resolve as (value: unknown) => void, reject));
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const { policy } = first;
      await new Batch(this.target, first.edit.site, () => this.#take(policy)).commit();
    }
    queues.delete(this.target);
  }

  /** Takes out the edits that can share a commit. */
  #take(policy: string): Waiting[] {
    const taken = this.#waiting.filter(waiting => waiting.policy === policy);
    this.#waiting = this.#waiting.filter(waiting => waiting.policy !== policy);
    return taken.filter(waiting => !waiting.deserted);
  }
}

/** The edits of one commit. */
class Batch {
  #edits: Waiting[] = [];
  readonly #desertion = new AbortController();

  constructor(
    readonly target: string,
    readonly site: Site,
    readonly takeWaiting: () => Waiting[],
  ) {}

  async commit(): Promise<void> {
    this.#join();
    if (this.#edits.length === 0) return;
    const { target, site } = this;
    let changed = false;
    let failure: { error: unknown } | undefined;
    try {
      changed = await commit({
        target,
        lock: site.policy.lock,
        watch: site.watch,
        signal: this.#desertion.signal,
        work: stage => this.#write(stage),
      });
    } catch (error) {
      failure = { error: writeError(error, target) };
    }
    if (changed) for (const each of new Set(this.#edits.map(({ edit }) => edit.site))) each.committed();
    for (const waiting of this.#edits) waiting.settle(failure);
  }

  /** All that wait come along. When each of them has given up, so does the commit. */
  #join(): void {
    for (const waiting of this.takeWaiting()) {
      this.#edits.push(waiting);
      waiting.onDesert = () => {
        this.#edits = this.#edits.filter(other => other !== waiting);
        if (this.#edits.length === 0) this.#desertion.abort();
      };
    }
  }

  /** As the file's only writer: reads it, makes the edits, fills the stage. */
  async #write(stage: Stage): Promise<boolean> {
    const { target, site } = this;
    // All have given up, which has ended the waiting: who has come since is for the next commit.
    if (this.#edits.length === 0) return false;
    this.#join();
    const snapshot = await site.read(target);
    assertReplaceable(target, snapshot?.stats);
    const index = snapshot?.index ?? new NameIndex(Buffer.alloc(0));
    const draft = new Draft(index);
    const fileExists = await this.#apply(draft, snapshot !== undefined);
    const changes = await inSlices(draft.changes());
    if (changes.length === 0 && fileExists === (snapshot !== undefined)) return false;
    dress(stage, target, snapshot?.stats, site.policy);
    await fill(stage, edited(index.bytes, changes));
    return true;
  }

  /** Makes each edit on its own, so that one that throws is undone alone. Returns whether there is to be a file. */
  async #apply(draft: Draft, existed: boolean): Promise<boolean> {
    let fileExists = existed;
    for (const waiting of [...this.#edits]) {
      if (waiting.deserted) continue;
      const { edit } = waiting;
      draft.begin();
      try {
        if (!fileExists && edit.site.fileMustExist && !edit.creates) throw missing(this.target);
        const value = await inSlices(edit.apply(draft, fileExists));
        if (waiting.deserted) {
          draft.rollBack();
          continue;
        }
        waiting.outcome = { value };
        fileExists ||= edit.creates === true || draft.hasChanged();
      } catch (error) {
        draft.rollBack();
        waiting.outcome = { error };
      }
    }
    return fileExists;
  }
}

/** What `missing: 'error'` says. */
export function missing(path: string): PasswordFileError {
  return new PasswordFileError(
    'ERR_FILE_MISSING',
    `There is no file ${path}. Make it with create(), or check the path and the mounts.`,
    { path },
  );
}

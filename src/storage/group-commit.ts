/** All callers that edit one file in this process share a queue, and all pending edits join the next commit. */
import { Draft, edited } from '../document/draft.js';
import type { Change } from '../document/merge.js';
import { NameIndex, wantedByAll } from '../document/name-index.js';
import { fileMissing, type PasswordFileError } from '../errors.js';
import { onAbort } from '../util/abort.js';
import { runYielding } from '../util/event-loop.js';
import type { Cache } from './cache.js';
import { ownershipOf, systemDisk } from './disk.js';
import { notReplaceable, type Place, resolveTarget } from './path.js';
import { type Snapshot, takeSnapshot } from './snapshot.js';
import { type CreateOptions, copyOwnership, type TempFile, writeAndSync } from './temp-file.js';
import { type LockSettings, replaceFile } from './writer.js';

/** How often at most the edits of a commit are made: again each time one of them is cancelled. */
const ATTEMPTS = 10;

/** How a file is written. Edits with equal policies can share a commit. */
export interface WritePolicy {
  create: CreateOptions;
  /** Where the file's owner or group cannot be kept: go on (`true`), or `ERR_OWNERSHIP`. */
  allowOwnerChange: boolean;
  lock: LockSettings;
}

/** Where edits come from: one `PasswordFile`. */
export interface EditSource {
  readonly policy: WritePolicy;
  /** What reads know of the file, so that a large file is not read again for an edit that has just looked at it. */
  readonly cache: Cache;
  /** Called when the file has been replaced with an edit from here in it. */
  committed(): void;
}

/** A pending edit. */
export interface Edit<T> {
  source: EditSource;
  /** The names it looks at; `undefined`: not known beforehand. */
  names: ReadonlySet<string> | undefined;
  /** Whether it shares its commit with no other edit. */
  isAlone?: boolean;
  /** Whether it creates a missing file even if it adds nothing to it. */
  creates?: boolean;
  /** Makes the edit; yields now and then. May run again on another draft. If it throws, this edit alone is undone. */
  apply(draft: Draft, fileExists: boolean): Generator<unknown, T>;
  signal?: AbortSignal | undefined;
}

/** An edit in the queue, and its outcome. */
class PendingEdit {
  /** Equal for edits that can share a commit. */
  readonly shareKey: string | symbol;
  /** `undefined`: it has not been made yet. */
  outcome: { value: unknown } | { error: unknown } | undefined;
  /** Takes it out of the queue, or out of its commit. */
  leave = (): void => undefined;
  /** After this call only its commit settles the edit. */
  readonly stopListening: (() => void) | undefined;

  constructor(
    readonly edit: Edit<unknown>,
    readonly resolve: (value: unknown) => void,
    readonly reject: (error: unknown) => void,
  ) {
    this.shareKey = edit.isAlone ? Symbol() : JSON.stringify(edit.source.policy);
    const { signal } = edit;
    if (signal === undefined) return;
    this.stopListening = onAbort(signal, () => {
      this.leave();
      reject(signal.reason);
    });
  }

  /** @param failure why the whole commit failed, if it did; the file may have been replaced before that */
  settle(isCommitted: boolean, failure?: { error: unknown }): void {
    this.stopListening?.();
    // What an edit found in a draft, such as a user that another edit had added, is true only if that was committed.
    const outcome = failure === undefined || isCommitted ? this.outcome : undefined;
    if (outcome !== undefined && 'error' in outcome) this.reject(outcome.error);
    else if (failure !== undefined) this.reject(failure.error);
    else this.resolve(outcome?.value);
  }
}

/** The edits of each file that wait for the next commit. A file has a queue as long as commits are under way. */
const queues = new Map<string, Set<PendingEdit>>();

/** Adds an edit to the next commit of its file. Settles when the outcome is on disk. */
export async function submit<T>(edit: Edit<T>): Promise<T> {
  edit.signal?.throwIfAborted();
  const target = resolveTarget(edit.source.cache.path);
  return new Promise<T>((resolve, reject) => {
    const pending = new PendingEdit(edit, resolve as (value: unknown) => void, reject);
    const queue = queues.get(target) ?? new Set();
    queue.add(pending);
    pending.leave = () => queue.delete(pending);
    if (!queues.has(target)) void commitAll(target, queue);
  });
}

async function commitAll(target: string, queue: Set<PendingEdit>): Promise<void> {
  queues.set(target, queue);
  for (let [first] = queue; first !== undefined; [first] = queue)
    await new Commit(target, first, queue).run();
  queues.delete(target);
}

/** One replacement of the file, with all edits that can share it. */
class Commit {
  /** Without those that were cancelled. */
  readonly #edits = new Set<PendingEdit>();
  readonly #source: EditSource;
  readonly #abandoned = new AbortController();
  /**
   * The file that is replaced; `undefined`: there is none, or the cache has it open. It stays open until the end, because
   * dropping the pages of a large one is slow.
   */
  #old: Snapshot | undefined;

  constructor(
    readonly target: string,
    readonly first: PendingEdit,
    readonly queue: Set<PendingEdit>,
  ) {
    this.#source = first.edit.source;
  }

  async run(): Promise<void> {
    this.#join();
    const { lock } = this.#source.policy;
    let isCommitted: boolean;
    let failure: { error: unknown } | undefined;
    try {
      const work = (place: Place, temp: TempFile) => this.#write(place, temp);
      isCommitted = await replaceFile(this.target, lock, this.#abandoned.signal, work);
    } catch (error) {
      failure = { error };
      isCommitted = (error as Partial<PasswordFileError>).committed === true;
    }
    const sources = new Set([...this.#edits].map(({ edit }) => edit.source));
    if (isCommitted) for (const source of sources) source.committed();
    for (const pending of this.#edits) pending.settle(isCommitted, failure);
    this.#old?.close();
  }

  /** Adds all pending edits that can share this commit. If all are cancelled, so is the commit. */
  #join(): void {
    for (const pending of this.queue) {
      if (pending.shareKey !== this.first.shareKey) continue;
      this.queue.delete(pending);
      this.#edits.add(pending);
      pending.leave = () => {
        this.#edits.delete(pending);
        if (this.#edits.size === 0) this.#abandoned.abort();
      };
    }
  }

  /** As the file's only writer: reads it, makes the edits, writes the temp file. */
  async #write(place: Place, temp: TempFile): Promise<boolean> {
    // Edits that have come since all were cancelled are for the next commit.
    if (this.#abandoned.signal.aborted) return false;
    this.#join();
    const old = await this.#read(place);
    if (old !== undefined && old.stats.nlink > 1n) {
      const problem = `has ${old.stats.nlink} hard links, and replacing it would part them.`;
      throw notReplaceable(
        place.path,
        `${problem} Use a symbolic link in place of the name that the broker does not read.`,
      );
    }
    const index = old?.index ?? new NameIndex(Buffer.alloc(0));
    const changes = await runYielding(this.#makeEdits(index, old !== undefined), this.#abandoned.signal);
    if (changes === undefined) return false;
    copyOwnership(systemDisk, temp, place, old && ownershipOf(old.stats), this.#source.policy);
    await writeAndSync(systemDisk, temp, edited(index.bytes, changes));
    return true;
  }

  async #read(place: Place): Promise<Snapshot | undefined> {
    this.#old?.close();
    const names = wantedByAll(Array.from(this.#edits, ({ edit }) => edit.names));
    const known = this.#source.cache.current(place.file, names);
    if (known !== undefined) return known;
    this.#old = await takeSnapshot(place, names);
    return this.#old;
  }

  /**
   * Makes the edits; one that throws is undone alone. Makes them again if one was cancelled meanwhile. From here on, none
   * can be cancelled. `undefined`: nothing is to change.
   */
  *#makeEdits(index: NameIndex, existed: boolean): Generator<unknown, Change[] | undefined> {
    for (let attempt = 1; ; attempt++) {
      const edits = [...this.#edits];
      // Edits that are cancelled one after another could otherwise keep the others waiting for long.
      if (attempt === ATTEMPTS) for (const pending of edits) pending.stopListening?.();
      const draft = new Draft(index);
      let fileExists = existed;
      for (const pending of edits) {
        yield;
        if (!this.#edits.has(pending)) continue;
        const { apply, creates = false, source } = pending.edit;
        draft.begin();
        try {
          if (!fileExists && source.cache.fileMustExist && !creates) throw fileMissing(this.target);
          pending.outcome = { value: yield* apply(draft, fileExists) };
          fileExists ||= creates || draft.hasChanged();
        } catch (error) {
          draft.rollBack();
          pending.outcome = { error };
        }
      }
      const changes = yield* draft.changes();
      if (this.#edits.size < edits.length) continue;
      for (const pending of edits) pending.stopListening?.();
      return changes.length === 0 && fileExists === existed ? undefined : changes;
    }
  }
}

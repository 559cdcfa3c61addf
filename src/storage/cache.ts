/** What a password file holds, for reads: the last snapshot while it is current, one read for many callers. */
import { Draft } from '../document/draft.js';
import { NameIndex, wantedByAll } from '../document/name-index.js';
import { fileMissing } from '../errors.js';
import { orAborted } from '../util/abort.js';
import { yieldToEventLoop } from '../util/event-loop.js';
import { openPlace } from './path.js';
import { type Snapshot, takeSnapshot } from './snapshot.js';

/** The reads of one `PasswordFile`. */
export class Cache {
  #snapshot: Snapshot | undefined;
  /** The look at the file that has not begun yet. */
  #nextLook: Promise<Snapshot | undefined> | undefined;
  /** The names that each of its callers wants to look up; `undefined`: any. */
  #wanted: Array<ReadonlySet<string> | undefined> = [];
  /** Settles after the last look, also one that has not begun. Holds no snapshot. */
  #lastLook: Promise<void> = Promise.resolve();

  /**
   * @param path symbolic links are followed at each look
   * @param fileMustExist whether a file that is not there is an error
   */
  constructor(
    readonly path: string,
    readonly fileMustExist: boolean,
  ) {}

  /** The file's users, to look at. With `names`, only these can be looked up. */
  async view(signal?: AbortSignal, names?: ReadonlySet<string>): Promise<Draft> {
    return new Draft(await this.index(signal, names));
  }

  /** The names that the file holds. With `names`, only these can be looked up. */
  async index(signal?: AbortSignal, names?: ReadonlySet<string>): Promise<NameIndex> {
    const snapshot = await this.snapshot(signal, names);
    if (snapshot === undefined && this.fileMustExist) throw fileMissing(this.path);
    return snapshot?.index ?? new NameIndex(Buffer.alloc(0));
  }

  /**
   * What the file holds at some moment after the call; `undefined`: there is none. All callers of one turn of the event
   * loop share a look at the file, and all who call during a look share the next one. An abort ends the wait at once, but
   * not a look that others may wait for.
   */
  snapshot(signal?: AbortSignal, names?: ReadonlySet<string>): Promise<Snapshot | undefined> {
    this.#wanted.push(names);
    this.#nextLook ??= this.#lookAfterLast();
    return orAborted(this.#nextLook, signal);
  }

  /** The last snapshot, if these names can be looked up in it and the file at `path` still is that file, unchanged. */
  current(path: string, names: ReadonlySet<string> | undefined): Snapshot | undefined {
    return this.#snapshot?.index.covers(names) && this.#snapshot.isCurrent(path) ? this.#snapshot : undefined;
  }

  /** Forgets what the file held, because it has been replaced. */
  drop(): void {
    this.#snapshot?.close();
    this.#snapshot = undefined;
  }

  /** Closes the file; one that is being read is closed after that. The next call reads it again. */
  close(): void {
    this.#snapshot?.file?.closeSync();
    this.drop();
    void this.#lastLook.then(() => this.drop());
  }

  #lookAfterLast(): Promise<Snapshot | undefined> {
    const look = Promise.all([this.#lastLook, yieldToEventLoop()]).then(() => this.#look());
    const ended = () => undefined;
    this.#lastLook = look.then(ended, ended);
    return look;
  }

  /** Returns the snapshot that it took, whatever happens to the cached one meanwhile. */
  async #look(): Promise<Snapshot | undefined> {
    const names = wantedByAll(this.#wanted);
    this.#wanted = [];
    this.#nextLook = undefined;
    const known = this.current(this.path, names);
    if (known !== undefined) return known;
    this.drop();
    const place = openPlace(this.path);
    try {
      const snapshot = await takeSnapshot(place, names);
      if (!snapshot?.isRemote) this.#snapshot = snapshot;
      if (snapshot?.file !== undefined) snapshot.file.cache = new WeakRef(this);
      return snapshot;
    } finally {
      place.close();
    }
  }
}

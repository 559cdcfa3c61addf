/** A password file as one `PasswordFile` sees it: what it read last, and who it has seen holding the file. */
import { Draft } from '../document/draft.js';
import { NameIndex } from '../document/name-index.js';
import type { Settings } from '../options.js';
import { nextTurn } from '../util/event-loop.js';
import { type EditSource, missing, type WritePolicy } from './group-commit.js';
import { StalenessDetector } from './lock-owner.js';
import { openPlace, resolveTarget } from './path.js';
import { type Snapshot, takeSnapshot } from './snapshot.js';

export class FileSite implements EditSource {
  readonly policy: WritePolicy;
  readonly policyKey: string;
  readonly fileMustExist: boolean;
  readonly detector = new StalenessDetector();
  /** Called after each commit with an edit from here in it. */
  onCommit: (() => void) | undefined;
  readonly #path: string;
  #snapshot: Snapshot | undefined;
  #reading: Promise<unknown> = Promise.resolve();
  #nextLook: Promise<Snapshot | undefined> | undefined;

  constructor(settings: Settings) {
    this.#path = settings.path;
    this.policy = settings.policy;
    this.policyKey = JSON.stringify(settings.policy);
    this.fileMustExist = settings.fileMustExist;
  }

  /** The file to edit, all links followed. */
  get target(): string {
    return resolveTarget(this.#path);
  }

  #read(): Promise<Snapshot | undefined> {
    const reading = this.#reading.then(() => this.#refresh());
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  /** What the file holds at this moment; `undefined`: there is none. */
  async snapshot(): Promise<Snapshot | undefined> {
    return await this.#lookNow();
  }

  /** What stands in the file, to look at. */
  async view(): Promise<Draft> {
    return new Draft(await this.index());
  }

  /** Where the names of the file stand. */
  async index(): Promise<NameIndex> {
    return this.#indexOf(await this.#look());
  }

  #indexOf(snapshot: Snapshot | undefined): NameIndex {
    if (snapshot === undefined && this.fileMustExist) throw missing(this.#path);
    return snapshot?.index ?? new NameIndex(Buffer.alloc(0));
  }

  /** Callers of one turn of the event loop share a look at the file, which comes after all of them have called. */
  #look(): Promise<Snapshot | undefined> {
    this.#nextLook ??= nextTurn().then(() => {
      this.#nextLook = undefined;
      return this.#lookNow();
    });
    return this.#nextLook;
  }

  #lookNow(): Promise<Snapshot | undefined> | Snapshot {
    const warm = this.#snapshot;
    return warm?.isCurrent(this.#path) ? warm : this.#read();
  }

  committed(): void {
    this.#drop();
    this.onCommit?.();
  }

  async #refresh(): Promise<Snapshot | undefined> {
    if (!this.#snapshot?.isCurrent(this.#path)) {
      this.#drop();
      const place = openPlace(this.#path);
      try {
        this.#snapshot = await takeSnapshot(place.file, undefined, place.path);
      } finally {
        place.close();
      }
    }
    return this.#snapshot;
  }

  #drop(): void {
    this.#snapshot?.close();
    this.#snapshot = undefined;
  }
}

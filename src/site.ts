/** A password file as one `PasswordFile` sees it: what it read last, and who it has seen holding the file. */
import { Watch } from './commit.js';
import { Draft } from './document.js';
import { NameIndex } from './lines.js';
import type { Settings } from './options.js';
import { missing, type Site, type WritePolicy } from './queue.js';
import { resolveTarget } from './replace.js';
import { type Snapshot, takeSnapshot } from './snapshot.js';

export class FileSite implements Site {
  readonly policy: WritePolicy;
  readonly fileMustExist: boolean;
  readonly watch = new Watch();
  readonly #path: string;
  #snapshot: Snapshot | undefined;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(settings: Settings) {
    this.#path = settings.path;
    this.policy = settings.policy;
    this.fileMustExist = settings.fileMustExist;
  }

  /** The file to edit, all links followed. */
  get target(): string {
    return resolveTarget(this.#path);
  }

  read(target: string, wanted: ReadonlySet<string> | undefined): Promise<Snapshot | undefined> {
    const reading = this.#reading.then(() => this.#refresh(target, wanted));
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  /** What stands in the file, to look at. Without `wanted`, any name can be looked up. */
  async view(wanted?: ReadonlySet<string>): Promise<Draft> {
    if (this.#snapshot?.hasIndex() && this.#snapshot.isCurrent(this.#path)) return viewOf(this.#snapshot);
    const { target } = this;
    const snapshot = await this.read(target, wanted);
    if (snapshot === undefined && this.fileMustExist) throw missing(target);
    return viewOf(snapshot);
  }

  committed(): void {
    this.#drop();
  }

  async #refresh(target: string, wanted: ReadonlySet<string> | undefined): Promise<Snapshot | undefined> {
    if (!this.#snapshot?.isCurrent(target)) {
      this.#drop();
      this.#snapshot = await takeSnapshot(target, wanted);
    }
    await this.#snapshot?.cover(wanted);
    return this.#snapshot;
  }

  #drop(): void {
    this.#snapshot?.close();
    this.#snapshot = undefined;
  }
}

function viewOf(snapshot: Snapshot | undefined): Draft {
  return new Draft(snapshot?.index ?? new NameIndex(Buffer.alloc(0)));
}

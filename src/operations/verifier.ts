/** Verifying passwords against what a file holds, any number of them at once. */
import type { BrokerRelease } from '../check/stored-hash.js';
import type { BrokerUsers } from '../check/users.js';
import { asString } from '../document/update-draft.js';
import { verifyParsed } from '../hash/hash.js';
import type { FileSite } from '../storage/site.js';
import { nextTurn } from '../util/event-loop.js';
import { ownCopy } from './set-users.js';

/** So many hashes keep the thread pool busy for some milliseconds, in which the main thread will have had its turn. */
const ENOUGH = 192;
/** So many more at most are begun at once then. */
const BATCH = 256;

/** A call that waits for a look at the file. */
interface Call {
  name: string;
  password: string | Uint8Array;
  resolve(verified: boolean): void;
  reject(error: unknown): void;
}

/**
 * Looks at the file once for many calls, because a look is a tenth of the work of a hash. Calls of one turn of the event
 * loop share one, and so do those that come while the thread pool has enough to do.
 */
export class Verifier {
  readonly #site: FileSite;
  readonly #release: BrokerRelease;
  /** In batches, first come first served. */
  readonly #waiting: Call[][] = [];
  #isLooking = false;
  #hashing = 0;

  constructor(site: FileSite, release: BrokerRelease) {
    this.#site = site;
    this.#release = release;
  }

  verify(username: string, password: string | Uint8Array): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const call = { name: asString(username), password: ownCopy(password), resolve, reject };
      const last = this.#waiting.at(-1);
      if (last === undefined || last.length === BATCH) this.#waiting.push([call]);
      else last.push(call);
      this.#lookWhenDue();
    });
  }

  #lookWhenDue(): void {
    if (this.#isLooking || this.#waiting.length === 0 || this.#hashing >= ENOUGH) return;
    this.#isLooking = true;
    void nextTurn().then(() => this.#look());
  }

  async #look(): Promise<void> {
    const calls = this.#waiting.shift() ?? [];
    try {
      const users = this.#site.brokerUsers(await this.#site.snapshot(), this.#release);
      for (const call of calls) this.#answer(call, users);
    } catch (error) {
      for (const { reject } of calls) reject(error);
    }
    this.#isLooking = false;
    this.#lookWhenDue();
  }

  #answer({ name, password, resolve, reject }: Call, users: BrokerUsers): void {
    try {
      const hash = users.hashOf(name);
      if (hash === undefined) {
        resolve(false);
        return;
      }
      verifyParsed(password, hash, (error, verified) => {
        this.#hashing--;
        if (error) reject(error);
        else resolve(verified);
        this.#lookWhenDue();
      });
      // Only now, because what it refuses is no hash under way.
      this.#hashing++;
    } catch (error) {
      reject(error);
    }
  }
}

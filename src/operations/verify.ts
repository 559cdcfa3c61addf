import { BrokerUsers } from '../check/users.js';
import { comparedPassword, ownCopy } from '../credentials/rules.js';
import type { NameIndex } from '../document/name-index.js';
import { asString } from '../document/update-draft.js';
import { assertCost } from '../hash/encoding.js';
import { compareKey } from '../hash/hash.js';
import { type Settings, signalOf, type WaitOptions } from '../options.js';
import type { Cache } from '../storage/cache.js';
import { orAborted } from '../util/abort.js';
import { limited } from '../util/limiter.js';

/** What an answer costs where there is nothing to hash, in iterations of PBKDF2. */
const LOOKUP_COST = 20;

/** Verifies passwords by what a file holds; calls of one turn of the event loop share a look at the file. */
export class Verifier {
  readonly #cache: Cache;
  readonly #settings: Settings;
  /** Whom the broker lets in, for each version of the file that is still in use. */
  readonly #users = new WeakMap<NameIndex, BrokerUsers>();
  #nextLook: Promise<BrokerUsers> | undefined;

  constructor(cache: Cache, settings: Settings) {
    this.#cache = cache;
    this.#settings = settings;
  }

  async verify(username: string, password: unknown, options: WaitOptions | undefined): Promise<boolean> {
    const signal = signalOf(options);
    const name = asString(username);
    const own = ownCopy(password);
    const users = await orAborted(this.#look(), signal);
    const verified = limited<boolean>(done => {
      signal?.throwIfAborted();
      const compared = comparedPassword(own);
      const stored = compared === undefined ? undefined : users.hashOf(name);
      if (compared === undefined || stored === undefined) {
        setImmediate(done, null, false);
        return LOOKUP_COST;
      }
      const { hash, path } = this.#settings;
      assertCost(stored, hash.maxIterations, { path, username: name });
      return compareKey(compared, stored, done);
    });
    return await orAborted(verified, signal);
  }

  /** The file is looked at in the next turn of the event loop. Until then calls share this promise. */
  #look(): Promise<BrokerUsers> {
    if (this.#nextLook === undefined) {
      this.#nextLook = this.#cache.index().then(index => this.#usersOf(index));
      queueMicrotask(() => {
        this.#nextLook = undefined;
      });
    }
    return this.#nextLook;
  }

  #usersOf(index: NameIndex): BrokerUsers {
    let users = this.#users.get(index);
    if (users === undefined) {
      users = new BrokerUsers(index, this.#settings.broker);
      this.#users.set(index, users);
    }
    return users;
  }
}

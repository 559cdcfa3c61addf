import { AsyncResource } from 'node:async_hooks';
import { ReloadScheduler } from './broker/reload-scheduler.js';
import type { CheckReport } from './check/check.js';
import { type Credentials, type CredentialsOptions, generateCredentials } from './credentials/generate.js';
import { assertUsername, checkedLogin, checkedString } from './credentials/rules.js';
import type { Draft, SetOutcome } from './document/draft.js';
import { type PasswordDraft, runUpdate } from './document/update-draft.js';
import { invalidArgument, PasswordFileError, systemCode } from './errors.js';
import { assertHash } from './hash/encoding.js';
import { newHash } from './hash/hash.js';
import { barrierOfFile, type CheckOptions, canRead, checkFile } from './operations/check-file.js';
import { type EntriesOptions, type HashEntry, readEntries } from './operations/entries.js';
import { removeUsers } from './operations/remove-users.js';
import { type SetHashesOptions, setHashes } from './operations/set-hashes.js';
import { type PasswordEntry, setUsers } from './operations/set-users.js';
import { type UpgradeOptions, upgrade } from './operations/upgrade.js';
import { verify } from './operations/verify.js';
import {
  type PasswordFileOptions,
  type ProgressOptions,
  type ReloadedOptions,
  type Settings,
  settingsOf,
  signalOf,
  type WaitOptions,
} from './options.js';
import { Cache } from './storage/cache.js';
import { type Edit, type EditSource, submit } from './storage/group-commit.js';
import { resolveTarget } from './storage/path.js';
import { orAborted } from './util/abort.js';
import { attempt } from './util/attempt.js';
import type { Entries } from './util/entries.js';
import { runYielding } from './util/event-loop.js';
import { isAnything, isBoolean, isFunction, isSignal, readOptions } from './util/read-options.js';

/** How many generated names `provision` tries before it says that the options allow too few. */
const NAMES_TRIED = 100;

/**
 * A Mosquitto password file. Reads see the file as it is. Writes replace it atomically and durably, beside any number of
 * other writers, and keep every byte that the edit does not concern. Edits that are not awaited may be made in another
 * order than that of their calls. The constructor does no I/O.
 *
 * All methods may reject with a `PasswordFileError`: `ERR_INVALID_ARGUMENT`, `ERR_READ_FAILED`, `ERR_DIRECTORY_MISSING`,
 * `ERR_NOT_REPLACEABLE`, `ERR_FILE_MISSING` (with `missing: 'error'`). Those that write also with `ERR_WRITE_FAILED`,
 * `ERR_OWNERSHIP`, `ERR_LOCK_TIMEOUT` (nothing changed) and `ERR_NOT_DURABLE` (see `committed`). Those that take a name,
 * password or hash also with `ERR_INVALID_USERNAME`, `ERR_INVALID_PASSWORD` or `ERR_INVALID_HASH`.
 *
 * @example
 * ```ts
 * import { PasswordFile } from 'mosquitto-passwd-ts';
 *
 * const file = new PasswordFile('passwd');
 * const { username, password } = await file.provision();
 * console.log(await file.verify(username, password)); // true
 * ```
 */
export class PasswordFile {
  readonly #settings: Settings;
  readonly #source: EditSource;
  readonly #reloads: ReloadScheduler | undefined;

  /**
   * @param path the file, as a path or `file:` URL. A relative path starts at the working directory of this moment.
   *   Symbolic links are followed at each call.
   * @param options copied: a later change of the object has no effect
   * @throws PasswordFileError `ERR_INVALID_ARGUMENT`, `ERR_COST_LIMIT` (`hash.iterations` is over `hash.maxIterations`),
   *   `ERR_DIRECTORY_MISSING` (the working directory)
   */
  constructor(path: string | URL, options?: PasswordFileOptions) {
    this.#settings = settingsOf(path, options);
    const { path: file, policy, fileMustExist, reload } = this.#settings;
    const cache = new Cache(file, fileMustExist);
    const committed = () => {
      cache.drop();
      this.#reloads?.committed();
    };
    this.#source = { policy, cache, committed };
    // Not declared: TypeScript 5.0 does not know the symbol.
    const { dispose } = Symbol as { dispose?: symbol };
    // A subclass may have its own.
    if (dispose !== undefined && !(dispose in this)) {
      Object.defineProperty(this, dispose, { value: () => this.close(), configurable: true, writable: true });
    }
    if (reload === undefined) return;
    this.#reloads = new ReloadScheduler(
      {
        path: file,
        check: () => this.check(),
        isReadableBy: owner => canRead(owner, resolveTarget(file)),
        barrierTo: owner => attempt(() => barrierOfFile(owner, resolveTarget(file))),
      },
      reload,
    );
  }

  /**
   * Creates an empty file if there is none: a broker does not start without one. Resolves with `false` if there is one.
   *
   * @example await new PasswordFile('passwd').create();
   */
  async create(options?: WaitOptions): Promise<boolean> {
    return this.#edit({ names: new Set(), creates: true, signal: signalOf(options) }, (_, exists) => !exists);
  }

  /**
   * Sets a user's password, and adds the user if the name is new.
   *
   * @param password `undefined`, an unset variable, is `ERR_INVALID_PASSWORD`
   * @returns `'unchanged'` if the stored hash has this password, and algorithm, iterations and salt length as in `hash`
   * @example console.log(await new PasswordFile('passwd').setUser('alice', 'correct horse'));
   */
  async setUser(
    username: string,
    password: string | Uint8Array | undefined,
    options?: WaitOptions,
  ): Promise<SetOutcome> {
    const login = checkedLogin(username, password);
    const outcomes = await setUsers(this.#source, this.#settings, [login], options);
    return outcomes.get(username) as SetOutcome;
  }

  /**
   * Adds a user whose name must be new. That is checked while no one else can write.
   *
   * @throws PasswordFileError also `ERR_USER_EXISTS`
   * @example await new PasswordFile('passwd').addUser('bob', 'battery staple');
   */
  async addUser(
    username: string,
    password: string | Uint8Array | undefined,
    options?: WaitOptions,
  ): Promise<void> {
    const [, own] = checkedLogin(username, password);
    const signal = signalOf(options);
    signal?.throwIfAborted();
    const { hash: settings, path } = this.#settings;
    const hash = await orAborted(newHash(own, settings, signal), signal);
    await this.#edit({ names: new Set([username]), signal }, draft => {
      if (draft.has(username)) {
        const message = `The user ${JSON.stringify(username)} exists. Pick another name, or use setUser to change it.`;
        throw new PasswordFileError('ERR_USER_EXISTS', message, { path, username });
      }
      draft.set(username, hash);
    });
  }

  /**
   * Removes a user, all lines of that name. Resolves with `false` if there was none.
   *
   * @example console.log(await new PasswordFile('passwd').removeUser('bob'));
   */
  async removeUser(username: string, options?: WaitOptions): Promise<boolean> {
    const names = new Set([checkedString(username)]);
    return this.#edit({ names, signal: signalOf(options) }, draft => draft.delete(username));
  }

  /**
   * Sets the passwords of many users in one commit: all or, if anything fails, none. If a name comes twice, its last
   * password counts. Hashing uses all threads of the pool.
   *
   * @param entries an invalid one or an abort closes the iterator. The message has the number of the entry.
   * @example
   * const devices = new Map([['device_1', 'first password'], ['device_2', 'second password']]);
   * console.log(await new PasswordFile('passwd').setUsers(devices)); // { added: 2, ... }
   */
  async setUsers(
    entries: Iterable<PasswordEntry> | AsyncIterable<PasswordEntry>,
    options?: ProgressOptions,
  ): Promise<{ added: number; updated: number; unchanged: number }> {
    const counts = { added: 0, updated: 0, unchanged: 0 };
    const outcomes = await setUsers(this.#source, this.#settings, entries, options);
    for (const outcome of outcomes.values()) counts[outcome]++;
    return counts;
  }

  /**
   * Removes users in one commit. Resolves with the names that were in the file.
   *
   * @param usernames an array or `Set` is copied at the call; another source must not change until the promise settles
   * @example await new PasswordFile('passwd').removeUsers(['device_1', 'nobody']); // ['device_1']
   */
  async removeUsers(usernames: Iterable<string>, options?: WaitOptions): Promise<string[]> {
    return removeUsers(this.#source, usernames, options);
  }

  /**
   * Generates a login and adds it under a name that is new in this file.
   *
   * @throws PasswordFileError also `ERR_INVALID_ARGUMENT` where the options allow too few names
   * @example const { username, password } = await new PasswordFile('passwd').provision();
   */
  async provision(options?: CredentialsOptions & WaitOptions): Promise<Credentials> {
    const checks = { username: isAnything, password: isAnything, signal: isSignal };
    const { signal, ...rules } = readOptions<CredentialsOptions & WaitOptions>(options, checks);
    for (let tried = 0; tried < NAMES_TRIED; tried++) {
      const credentials = generateCredentials(rules);
      try {
        await this.addUser(credentials.username, credentials.password, { signal });
        return credentials;
      } catch (error) {
        if (systemCode(error) !== 'ERR_USER_EXISTS') throw error;
      }
    }
    throw invalidArgument(`${NAMES_TRIED} generated user names were all taken. Raise username.length.`);
  }

  /**
   * Whether the broker would let this user in, by the lines of this name in the file as it is now; `check` reports whether
   * it loads the file at all. A file that has not changed since the last call is not read again. `false` for a user with
   * an `$argon2id$` hash, which a stock broker does not read.
   *
   * @throws PasswordFileError also `ERR_COST_LIMIT`: the user's hash costs more than `hash.maxIterations` allows
   * @example console.log(await new PasswordFile('passwd').verify('alice', 'correct horse'));
   */
  verify(
    username: string,
    password: string | Uint8Array | undefined,
    options?: WaitOptions,
  ): Promise<boolean> {
    return verify(this.#source.cache, this.#settings, username, password, options);
  }

  /**
   * Whether the file holds this name.
   *
   * @example console.log(await new PasswordFile('passwd').hasUser('alice'));
   */
  async hasUser(username: string, options?: WaitOptions): Promise<boolean> {
    return (await this.#source.cache.view(signalOf(options))).has(checkedString(username));
  }

  /**
   * The user names, each once, in the order of the file. Names that are not UTF-8, or are longer than 65,535 bytes, are
   * left out: no client can send them.
   *
   * @example console.log(await new PasswordFile('passwd').users());
   */
  async users(options?: WaitOptions): Promise<string[]> {
    const signal = signalOf(options);
    return runYielding((await this.#source.cache.view(signal)).names(), signal);
  }

  /**
   * What the file has in the place of a user's hash, also a plain-text password or `''`. `undefined`: there is no such
   * user. `entries` yields only hashes.
   *
   * @example console.log(await new PasswordFile('passwd').getHash('alice')); // $7$101$...
   */
  async getHash(username: string, options?: WaitOptions): Promise<string | undefined> {
    return (await this.#source.cache.view(signalOf(options))).get(checkedString(username));
  }

  /**
   * Sets a user's hash, which was made elsewhere.
   *
   * @throws PasswordFileError also `ERR_COST_LIMIT`
   * @example await new PasswordFile('passwd').setHash('carol', await hashPassword('secret'));
   */
  async setHash(username: string, hash: string, options?: WaitOptions): Promise<SetOutcome> {
    assertUsername(username);
    const { path, hash: limits } = this.#settings;
    assertHash(hash, limits.maxIterations, { path, username });
    const names = new Set([username]);
    return this.#edit({ names, signal: signalOf(options) }, draft => draft.set(username, hash));
  }

  /**
   * The users with their hashes, of one version of the file, however long the loop takes. Of a duplicate name the last
   * line counts. `setHashes` accepts each of these pairs; other users are reported to `onSkipped`.
   *
   * @example
   * const file = new PasswordFile('passwd');
   * for await (const [username, hash] of file.entries()) console.log(username, hash);
   */
  entries(options?: EntriesOptions): AsyncIterable<HashEntry> {
    const checked = readOptions<EntriesOptions>(options, { signal: isSignal, onSkipped: isFunction });
    return { [Symbol.asyncIterator]: () => readEntries(this.#source.cache, this.#settings, checked) };
  }

  /**
   * Sets the hashes of many users, which were made elsewhere, in one commit: all or, if anything fails, none. The source
   * is read to its end before the lock is taken. If a name comes twice, its last hash counts. If nothing is to change,
   * there is no commit and no reload.
   *
   * @param entries rows of a database for example; an invalid one or an abort closes the iterator
   * @throws PasswordFileError also `ERR_COST_LIMIT`, and `ERR_INVALID_ARGUMENT` where with `removeOthers` the source
   *   yields nothing. The message has the number of the entry.
   * @example
   * const rows = [['alice', await hashPassword('secret')] as const];
   * await new PasswordFile('passwd').setHashes(rows, { removeOthers: true }); // { added: 1, ..., removed: 3 }
   */
  async setHashes(
    entries: Entries<string>,
    options?: SetHashesOptions,
  ): Promise<{ added: number; updated: number; unchanged: number; removed: number }> {
    return setHashes(this.#source, this.#settings, entries, options);
  }

  /**
   * Any number of edits in one atomic commit. The function is synchronous (a returned promise is an error), gets the
   * file as it is while no one else can write, and may run again on a newer one. Where it throws, it changes nothing and
   * the promise rejects with what it threw; otherwise it resolves with what it returned. If the file cannot be replaced,
   * the promise rejects with that error in any case.
   *
   * @throws PasswordFileError also what the draft's `set` throws
   * @example await new PasswordFile('passwd').update(draft => draft.delete('bob'));
   */
  async update<T>(edit: (draft: PasswordDraft) => T, options?: WaitOptions): Promise<T> {
    const signal = signalOf(options);
    if (typeof edit !== 'function') throw invalidArgument('update takes a function that edits a draft.');
    const { maxIterations } = this.#settings.hash;
    // The commit may have been started by another caller, whose AsyncLocalStorage the function would see.
    const bound = AsyncResource.bind(edit, 'PasswordFile.update');
    return this.#edit({ names: undefined, signal }, draft => runUpdate(draft, bound, maxIterations));
  }

  /**
   * Hashes the passwords that the file holds in plain text, and only those, in one commit. A password is what follows
   * the first `:` of a line, also with a `:` in it, without the blanks round it. A damaged hash, a duplicate name and a
   * line that another writer changes meanwhile stay as they are; the first two are reported to `onSkipped`. If a callback
   * throws, the promise rejects with that, and nothing is changed.
   *
   * @returns the names of the users whose passwords were hashed
   * @example
   * const onSkipped = ({ line, message }: Finding) => console.log(line, message);
   * console.log(await new PasswordFile('passwd').upgrade({ onSkipped }));
   */
  async upgrade(options?: UpgradeOptions): Promise<string[]> {
    return upgrade(this.#source, this.#settings, options);
  }

  /**
   * Whether a broker of the release in the `broker` option loads the file, which `verify` does not look at, and who can
   * log in. The findings are about its bytes (`checkPasswordFile`), and about what only the file system shows: a symbolic
   * link, permissions, owner and group (the last three not on Windows).
   *
   * @example const { loads, users, findings } = await new PasswordFile('passwd').check();
   */
  async check(options?: CheckOptions): Promise<CheckReport> {
    return checkFile(this.#source.cache, this.#settings, options);
  }

  /**
   * Resolves when the broker has read all commits that this instance has made so far; see the `reload` option. Where the
   * kernel does not show that, it resolves when the signal has been sent, and for a command when that has ended.
   *
   * @throws PasswordFileError `ERR_RELOAD_REFUSED` (it would not load the file; see `findings`), `ERR_RELOAD_FAILED`
   *   (also where it ended before it had read the file), `ERR_INVALID_ARGUMENT` (there is no `reload` option)
   * @example
   * const file = new PasswordFile('passwd', { reload: { process: 'mosquitto' } });
   * await file.setUser('alice', 'correct horse');
   * await file.reloaded().catch(error => console.error(error.message)); // where no broker runs
   */
  async reloaded(options?: ReloadedOptions): Promise<void> {
    const checks = { signal: isSignal, force: isBoolean };
    const { signal, force = false } = readOptions<ReloadedOptions>(options, checks);
    if (this.#reloads === undefined) throw invalidArgument('This PasswordFile has no reload option. Set it.');
    signal?.throwIfAborted();
    await orAborted(this.#reloads.reloaded(force), signal);
  }

  /**
   * Closes the file, which reads leave open, for example to unmount its volume. It cancels nothing: what is under way goes
   * on, and a read closes the file at its end. The next read opens it again. `Symbol.dispose` does the same, where Node has
   * it; the declarations do not mention it. A process keeps at most 32 files open and in memory.
   *
   * @example
   * const file = new PasswordFile('passwd');
   * console.log(await file.users());
   * file.close();
   */
  close(): void {
    this.#source.cache.close();
  }

  /** Submits an edit that is one step to the next commit. */
  #edit<T>(
    edit: Omit<Edit<T>, 'source' | 'apply'>,
    apply: (draft: Draft, fileExists: boolean) => T,
  ): Promise<T> {
    // biome-ignore lint/correctness/useYield: it is one step
    const inOneStep = function* (draft: Draft, fileExists: boolean): Generator<void, T> {
      return apply(draft, fileExists);
    };
    return submit({ ...edit, source: this.#source, apply: inOneStep });
  }
}

import { ReloadScheduler } from './broker/reload-scheduler.js';
import type { CheckReport } from './check/check.js';
import type { Credentials, CredentialsOptions } from './credentials/generate.js';
import { assertPassword, assertUsername } from './credentials/rules.js';
import type { Draft } from './document/draft.js';
import { asString, type PasswordDraft, runUpdate } from './document/update-draft.js';
import { PasswordFileError } from './errors.js';
import { assertHash } from './hash/encoding.js';
import { type BrokerUser, canRead, checkFile } from './operations/check-file.js';
import { addUser, makeFile, provision, removeUsers, setHash, update } from './operations/edits.js';
import {
  gather,
  ownCopy,
  type PasswordEntry,
  type ProgressOptions,
  type SetOutcome,
  setUsers,
  type WaitOptions,
} from './operations/set-users.js';
import { type UpgradeOptions, upgrade } from './operations/upgrade.js';
import { Verifier } from './operations/verifier.js';
import { type PasswordFileOptions, type Settings, settingsOf } from './options.js';
import { FileSite } from './storage/site.js';
import { orAborted } from './util/abort.js';
import { inSlices } from './util/event-loop.js';

/**
 * A Mosquitto password file. Reads see the file as it is; writes replace it atomically and durably, beside any number
 * of other writers, and keep every byte that is not theirs to change. Making one does no I/O.
 *
 * All methods may reject with a `PasswordFileError`: `ERR_READ_FAILED`, `ERR_DIRECTORY_MISSING`, `ERR_NOT_REPLACEABLE` (what
 * stands at the path is not a regular file), `ERR_FILE_MISSING` (with `missing: 'error'`). Those that write also with
 * `ERR_WRITE_FAILED`, `ERR_OWNERSHIP`, `ERR_LOCK_TIMEOUT` (nothing changed) and `ERR_NOT_DURABLE` (see `committed`).
 *
 * @example
 * ```ts
 * import { PasswordFile } from 'mosquitto-passwd-ts';
 *
 * const file = new PasswordFile('/tmp/example-passwd');
 * const { username, password } = await file.provision();
 * console.log(await file.verify(username, password)); // true
 * ```
 */
export class PasswordFile {
  readonly #settings: Settings;
  readonly #site: FileSite;
  readonly #verifier: Verifier;
  readonly #reloads: ReloadScheduler | undefined;

  /**
   * @param path the file, as a path or `file:` URL; symbolic links are followed at each call
   * @throws PasswordFileError `ERR_INVALID_ARGUMENT`
   */
  constructor(path: string | URL, options: PasswordFileOptions = {}) {
    this.#settings = settingsOf(path, options);
    this.#site = new FileSite(this.#settings);
    this.#verifier = new Verifier(this.#site, this.#settings.broker);
    const { reload, path: file } = this.#settings;
    if (reload === undefined) return;
    const site = this.#site;
    const reloads = new ReloadScheduler(
      { path: file, check: () => this.check(), isReadableBy: owner => canRead(owner, site.target) },
      reload,
    );
    site.onCommit = () => reloads.committed();
    this.#reloads = reloads;
  }

  /**
   * Makes an empty file where there is none: a broker does not start without it.
   *
   * @returns `false`: there was one already
   * @example
   * ```ts
   * await new PasswordFile('/tmp/example-passwd').create();
   * ```
   */
  async create(options: WaitOptions = {}): Promise<boolean> {
    return makeFile(this.#site, options);
  }

  /**
   * Gives a user this password, adding the user where there is none.
   *
   * @returns `'unchanged'` where the password verified already, with the same algorithm and cost
   * @throws PasswordFileError also `ERR_INVALID_USERNAME`, `ERR_INVALID_PASSWORD`
   * @example
   * ```ts
   * console.log(await new PasswordFile('/tmp/example-passwd').setUser('alice', 'correct horse'));
   * ```
   */
  async setUser(
    username: string,
    password: string | Uint8Array,
    options: WaitOptions = {},
  ): Promise<SetOutcome> {
    const outcomes = await setUsers(
      this.#site,
      this.#settings,
      new Map([[username, ownCopy(password)]]),
      options,
    );
    return outcomes.get(username) as SetOutcome;
  }

  /**
   * Adds a user whose name must be new; that is decided while no one else can write.
   *
   * @throws PasswordFileError also `ERR_USER_EXISTS`, `ERR_INVALID_USERNAME`, `ERR_INVALID_PASSWORD`
   * @example
   * ```ts
   * await new PasswordFile('/tmp/example-passwd').addUser('bob', 'battery staple');
   * ```
   */
  async addUser(username: string, password: string | Uint8Array, options: WaitOptions = {}): Promise<void> {
    assertUsername(username);
    assertPassword(password, username);
    await addUser(this.#site, this.#settings, username, password, options);
  }

  /**
   * Takes a user out, all lines of that name.
   *
   * @returns `false`: was not there
   * @example
   * ```ts
   * console.log(await new PasswordFile('/tmp/example-passwd').removeUser('bob'));
   * ```
   */
  async removeUser(username: string, options: WaitOptions = {}): Promise<boolean> {
    return (await this.removeUsers([username], options)).length > 0;
  }

  /**
   * Gives many users their passwords in one commit: all of them or, should anything fail, none. Of a name that comes
   * twice the last password counts. Hashing is spread over all cores.
   *
   * @param entries pairs of user name and password
   * @returns how many users were added, updated and found unchanged
   * @throws PasswordFileError also `ERR_INVALID_USERNAME`, `ERR_INVALID_PASSWORD`, with `username`
   * @example
   * ```ts
   * const devices = new Map([['device_1', 'first password'], ['device_2', 'second password']]);
   * console.log(await new PasswordFile('/tmp/example-passwd').setUsers(devices)); // { added: 2, … }
   * ```
   */
  async setUsers(
    entries: Iterable<PasswordEntry> | AsyncIterable<PasswordEntry>,
    options: ProgressOptions = {},
  ): Promise<{ added: number; updated: number; unchanged: number }> {
    options.signal?.throwIfAborted();
    const passwords = await orAborted(gather(entries, options.signal), options.signal);
    const counts = { added: 0, updated: 0, unchanged: 0 };
    for (const outcome of (await setUsers(this.#site, this.#settings, passwords, options)).values())
      counts[outcome]++;
    return counts;
  }

  /**
   * Takes users out in one commit.
   *
   * @returns the names that were there
   * @example
   * ```ts
   * console.log(await new PasswordFile('/tmp/example-passwd').removeUsers(['device_1', 'nobody'])); // ['device_1']
   * ```
   */
  async removeUsers(usernames: Iterable<string>, options: WaitOptions = {}): Promise<string[]> {
    if (typeof usernames === 'string') {
      throw new PasswordFileError(
        'ERR_INVALID_ARGUMENT',
        'removeUsers takes a list of user names, not a string. Use removeUser for one.',
        { path: this.#settings.path },
      );
    }
    const names = new Set(usernames);
    for (const name of names) asString(name);
    return removeUsers(this.#site, names, options);
  }

  /**
   * Generates a login and adds it under a name that is new in this file.
   *
   * @throws PasswordFileError also `ERR_INVALID_ARGUMENT` (options; or they allow too few names),
   *   `ERR_INVALID_USERNAME`, `ERR_INVALID_PASSWORD`
   * @example
   * ```ts
   * const { username, password } = await new PasswordFile('/tmp/example-passwd').provision();
   * console.log(`${username}: tell the device, the file holds only the hash of ${password.length} characters`);
   * ```
   */
  async provision(options: CredentialsOptions & WaitOptions = {}): Promise<Credentials> {
    return provision(this.#site, this.#settings, options);
  }

  /**
   * Whether the broker would let this user in by the file as it is now. Never throws over a line of the file. A file
   * that has not changed since the last call is not read again.
   *
   * @example
   * ```ts
   * console.log(await new PasswordFile('/tmp/example-passwd').verify('alice', 'correct horse'));
   * ```
   */
  verify(username: string, password: string | Uint8Array, { signal }: WaitOptions = {}): Promise<boolean> {
    const verified = this.#verifier.verify(username, password);
    return signal === undefined ? verified : orAborted(verified, signal);
  }

  /**
   * Whether the name stands in the file.
   *
   * @example
   * ```ts
   * console.log(await new PasswordFile('/tmp/example-passwd').hasUser('alice'));
   * ```
   */
  async hasUser(username: string, options: WaitOptions = {}): Promise<boolean> {
    return (await this.#view(options)).has(asString(username));
  }

  /**
   * The names in the file, each once and in order; not those that are no UTF-8, which no client can send.
   *
   * @example
   * ```ts
   * console.log(await new PasswordFile('/tmp/example-passwd').users());
   * ```
   */
  async users(options: WaitOptions = {}): Promise<string[]> {
    const view = await this.#view(options);
    return inSlices(view.names());
  }

  /**
   * A user's hash, as it stands in the file; `undefined`: no such user.
   *
   * @example
   * ```ts
   * const hash = await new PasswordFile('/tmp/example-passwd').getHash('alice');
   * console.log(hash?.slice(0, 6)); // $7$101
   * ```
   */
  async getHash(username: string, options: WaitOptions = {}): Promise<string | undefined> {
    return (await this.#view(options)).get(asString(username));
  }

  /**
   * Gives a user a hash that was made elsewhere, to rebuild a file from a database for example.
   *
   * @throws PasswordFileError also `ERR_INVALID_USERNAME`, `ERR_INVALID_HASH`
   * @example
   * ```ts
   * import { hashPassword } from 'mosquitto-passwd-ts';
   *
   * await new PasswordFile('/tmp/example-passwd').setHash('carol', await hashPassword('secret'));
   * ```
   */
  async setHash(username: string, hash: string, options: WaitOptions = {}): Promise<SetOutcome> {
    assertUsername(username);
    assertHash(hash);
    return setHash(this.#site, username, hash, options);
  }

  /**
   * Any number of edits in one atomic commit. The function is synchronous (a returned promise is an error), gets the
   * file as it is while no one else can write, and may run again on a newer one. Where it throws, nothing is changed
   * and the promise rejects with what it threw.
   *
   * @returns what the function returns
   * @throws PasswordFileError also `ERR_INVALID_ARGUMENT`, and from the draft's `set` `ERR_INVALID_USERNAME`, `ERR_INVALID_HASH`
   * @example
   * ```ts
   * await new PasswordFile('/tmp/example-passwd').update(draft => {
   *   for (const name of [...draft.keys()]) if (name.startsWith('old_')) draft.delete(name);
   * });
   * ```
   */
  async update<T>(edit: (draft: PasswordDraft) => T, options: WaitOptions = {}): Promise<T> {
    return update(this.#site, draft => runUpdate(draft, edit), options);
  }

  /**
   * Hashes the passwords that stand in the file in plain text, and only those, in one commit. What stands behind the
   * first `:` of a line, without the blanks round it, is the password, also with a `:` in it. A line that begins like
   * a hash but is damaged, or whose name stands twice, stays as it is and is told to `onSkipped`.
   *
   * @returns the names of the users whose passwords were hashed
   * @example
   * ```ts
   * const names = await new PasswordFile('/tmp/example-passwd').upgrade({
   *   onSkipped: ({ line, message }) => console.log(line, message),
   * });
   * console.log(names);
   * ```
   */
  async upgrade(options: UpgradeOptions = {}): Promise<string[]> {
    return upgrade(this.#site, this.#settings, options);
  }

  /**
   * Tells what a broker of the release in the `broker` option will make of the file: what its bytes say
   * (`checkPasswordFile`), and what only the file system knows: a symbolic link, rights, what dead writers left.
   *
   * @param options `brokerUser`: the user that the broker runs as, to see whether it may read the file
   * @example
   * ```ts
   * const { loads, findings } = await new PasswordFile('/tmp/example-passwd').check({ brokerUser: { uid: 1883, gid: 1883 } });
   * console.log(loads, findings.map(({ line, code, message }) => `${line}: ${code}: ${message}`));
   * ```
   */
  async check(options: WaitOptions & { brokerUser?: BrokerUser | undefined } = {}): Promise<CheckReport> {
    options.signal?.throwIfAborted();
    return checkFile(this.#site, this.#settings, options.brokerUser);
  }

  /**
   * Resolves when all commits that this instance has made so far have been reported to the broker; see the `reload` option.
   *
   * @throws PasswordFileError `ERR_RELOAD_REFUSED` (it would not load the file; see `findings`), `ERR_RELOAD_FAILED`,
   *   `ERR_INVALID_ARGUMENT` (there is no `reload` option)
   * @example
   * ```ts
   * const file = new PasswordFile('/tmp/example-passwd', { reload: { command: ['true'] } });
   * await file.setUser('alice', 'correct horse');
   * await file.reloaded();
   * ```
   */
  async reloaded(options: WaitOptions = {}): Promise<void> {
    if (this.#reloads === undefined) {
      throw new PasswordFileError(
        'ERR_INVALID_ARGUMENT',
        'This PasswordFile was made without the option reload.',
        {
          path: this.#settings.path,
        },
      );
    }
    await orAborted(this.#reloads.reloaded(), options.signal);
  }

  #view({ signal }: WaitOptions): Promise<Draft> | Draft {
    signal?.throwIfAborted();
    return this.#site.view();
  }
}

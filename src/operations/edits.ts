/** The single edits of a password file, each decided and made while no one else can write. */
import { type Credentials, type CredentialsOptions, generateCredentials } from '../credentials/generate.js';
import type { Draft } from '../document/draft.js';
import { PasswordFileError, systemCode } from '../errors.js';
import { hashFor, type Settings } from '../options.js';
import { submit } from '../storage/group-commit.js';
import type { FileSite } from '../storage/site.js';
import type { SetOutcome, WaitOptions } from './set-users.js';

/** How many generated names `provision` tries before it says that the options allow too few. */
const NAMES_TRIED = 100;

/** Makes an empty file where there is none; `false`: there was one. */
export function makeFile(site: FileSite, { signal }: WaitOptions): Promise<boolean> {
  return submit(site.target, {
    site,
    names: new Set(),
    creates: true,
    signal,
    apply: inOneStep((_draft, fileExists) => !fileExists),
  });
}

/** Adds a user whose name must be new. */
export async function addUser(
  site: FileSite,
  settings: Settings,
  username: string,
  password: string | Uint8Array,
  { signal }: WaitOptions,
): Promise<void> {
  signal?.throwIfAborted();
  const hash = await hashFor(settings, password);
  await submit(site.target, {
    site,
    names: new Set([username]),
    signal,
    apply: inOneStep(draft => {
      if (draft.has(username)) throw userExists(settings, username);
      draft.set(username, hash);
    }),
  });
}

function userExists({ path }: Settings, username: string): PasswordFileError {
  return new PasswordFileError(
    'ERR_USER_EXISTS',
    `The user ${JSON.stringify(username)} is in the file already. Pick another name, or use setUser to change it.`,
    { path, username },
  );
}

/** Adds a generated user under a name that is new in the file. */
export async function provision(
  site: FileSite,
  settings: Settings,
  options: CredentialsOptions & WaitOptions,
): Promise<Credentials> {
  for (let tried = 0; tried < NAMES_TRIED; tried++) {
    const credentials = generateCredentials(options);
    try {
      await addUser(site, settings, credentials.username, credentials.password, options);
      return credentials;
    } catch (error) {
      if (systemCode(error) !== 'ERR_USER_EXISTS') throw error;
    }
  }
  throw new PasswordFileError(
    'ERR_INVALID_ARGUMENT',
    `${NAMES_TRIED} generated user names were all taken. Allow more of them: a longer username.length.`,
    { path: settings.path },
  );
}

/** Takes users out; those that were there. */
export function removeUsers(
  site: FileSite,
  names: ReadonlySet<string>,
  { signal }: WaitOptions,
): Promise<string[]> {
  return submit(site.target, {
    site,
    names,
    signal,
    *apply(draft) {
      const removed: string[] = [];
      for (const name of names) {
        yield;
        if (draft.delete(name)) removed.push(name);
      }
      return removed;
    },
  });
}

/** Gives a user a hash. */
export function setHash(
  site: FileSite,
  username: string,
  hash: string,
  { signal }: WaitOptions,
): Promise<SetOutcome> {
  return submit<SetOutcome>(site.target, {
    site,
    names: new Set([username]),
    signal,
    apply: inOneStep(draft => {
      if (!draft.isDoubled(username) && draft.get(username) === hash) return 'unchanged';
      const outcome = draft.has(username) ? 'updated' : 'added';
      draft.set(username, hash);
      return outcome;
    }),
  });
}

/** Makes whatever edits a function makes. */
export function update<T>(site: FileSite, edit: (draft: Draft) => T, { signal }: WaitOptions): Promise<T> {
  return submit(site.target, { site, names: undefined, signal, apply: inOneStep(edit) });
}

function inOneStep<T>(edit: (draft: Draft, fileExists: boolean) => T) {
  // biome-ignore lint/correctness/useYield: it is but one step
  return function* apply(draft: Draft, fileExists: boolean): Generator<void, T> {
    return edit(draft, fileExists);
  };
}

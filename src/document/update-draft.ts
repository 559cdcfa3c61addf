/** The draft that `PasswordFile.update` passes to its function: it checks arguments, and is closed when that returns. */

import { assertUsername, checkedString } from '../credentials/rules.js';
import { invalidArgument } from '../errors.js';
import { assertHash } from '../hash/encoding.js';
import type { Draft } from './draft.js';

/**
 * The editable view of a password file that `PasswordFile.update` passes to its function.
 *
 * @example
 * await new PasswordFile('passwd').update((draft: PasswordDraft) => {
 *   for (const name of draft.keys()) if (name.startsWith('old_')) draft.delete(name);
 * });
 */
export interface PasswordDraft {
  /** Whether the file has the name. */
  has(name: string): boolean;
  /** What the file has in the place of the user's hash, also a plain-text password; of a duplicate name the last one. */
  get(name: string): string | undefined;
  /** Gives the user this hash. Throws `ERR_INVALID_USERNAME`, `ERR_INVALID_HASH` or `ERR_COST_LIMIT`. */
  set(name: string, hash: string): this;
  /** Removes the user; `false`: there was none. */
  delete(name: string): boolean;
  /**
   * The names in the file, each once: first those that are there, in order, then the new ones. A loop over them may edit,
   * and does not come to names that it adds.
   */
  keys(): Iterable<string>;
}

/** Runs a caller's function on a draft. */
export function runUpdate<T>(draft: Draft, edit: (draft: PasswordDraft) => T, maxIterations: number): T {
  let isOpen = true;
  const opened = (): Draft => {
    if (isOpen) return draft;
    throw invalidArgument(
      'This draft is closed: it can be used only until the function given to update() returns.',
    );
  };
  try {
    const result = edit(passwordDraft(opened, maxIterations));
    if (isThenable(result)) {
      Promise.resolve(result).catch(() => undefined);
      throw invalidArgument(
        'The function given to update() returned a promise, and nothing was changed. ' +
          'Do what has to be awaited (hashing, for example) before update(), and only edit in it.',
      );
    }
    return result;
  } finally {
    isOpen = false;
  }
}

/** @param opened returns the draft; throws if it is closed */
function passwordDraft(opened: () => Draft, maxIterations: number): PasswordDraft {
  return {
    has: name => opened().has(checkedString(name)),
    get: name => opened().get(checkedString(name)),
    set(name, hash) {
      assertUsername(name);
      assertHash(hash, maxIterations, { username: name });
      opened().set(name, hash);
      return this;
    },
    delete: name => opened().delete(checkedString(name)),
    *keys() {
      for (const name of opened().keys()) {
        yield name;
        opened();
      }
    },
  };
}

function isThenable(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

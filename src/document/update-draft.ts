/** The draft that `PasswordFile.update` passes to its function: it checks arguments, and is closed when that returns. */

import { assertUsername } from '../credentials/rules.js';
import { PasswordFileError } from '../errors.js';
import { assertHash } from '../hash/encoding.js';
import type { Draft } from './draft.js';

/**
 * The editable view of a password file that `PasswordFile.update` passes to its function.
 *
 * @example
 * await new PasswordFile('passwd').update((draft: PasswordDraft) => {
 *   for (const name of [...draft.keys()]) if (name.startsWith('old_')) draft.delete(name);
 * });
 */
export interface PasswordDraft {
  /** Whether the file has the name. */
  has(name: string): boolean;
  /** The user's hash as the file has it; of a duplicate name the last one. */
  get(name: string): string | undefined;
  /** Gives the user this hash. Throws `ERR_INVALID_USERNAME`, `ERR_INVALID_HASH` or `ERR_COST_LIMIT`. */
  set(name: string, hash: string): this;
  /** Removes the user; `false`: there was none. */
  delete(name: string): boolean;
  /** The names in the file, each once: first those that are there, in order, then the new ones. */
  keys(): Iterable<string>;
}

/** Runs a caller's function on a draft. */
export function runUpdate<T>(draft: Draft, edit: (draft: PasswordDraft) => T, maxIterations: number): T {
  const open = new OpenDraft(draft, maxIterations);
  try {
    const result = edit(open);
    if (isThenable(result)) {
      Promise.resolve(result).catch(() => undefined);
      throw new PasswordFileError(
        'ERR_INVALID_ARGUMENT',
        'The function given to update() returned a promise, and nothing was changed. ' +
          'Do what has to be awaited (hashing, for example) before update(), and only edit in it.',
      );
    }
    return result;
  } finally {
    open.close();
  }
}

class OpenDraft implements PasswordDraft {
  #draft: Draft | undefined;
  readonly #maxIterations: number;

  constructor(draft: Draft, maxIterations: number) {
    this.#draft = draft;
    this.#maxIterations = maxIterations;
  }

  has(name: string): boolean {
    return this.#open().has(asString(name));
  }

  get(name: string): string | undefined {
    return this.#open().get(asString(name));
  }

  set(name: string, hash: string): this {
    assertUsername(name);
    assertHash(hash, this.#maxIterations);
    this.#open().set(name, hash);
    return this;
  }

  delete(name: string): boolean {
    return this.#open().delete(asString(name));
  }

  *keys(): Iterable<string> {
    for (const name of this.#open().keys()) {
      yield name;
      this.#open();
    }
  }

  close(): void {
    this.#draft = undefined;
  }

  #open(): Draft {
    if (this.#draft !== undefined) return this.#draft;
    throw new PasswordFileError(
      'ERR_INVALID_ARGUMENT',
      'This draft is closed: it can be used only until the function given to update() returns.',
    );
  }
}

/** Lookups take any string: a name in the file may break the rules for new names. */
export function asString(name: unknown): string {
  if (typeof name !== 'string') assertUsername(name);
  return name as string;
}

function isThenable(value: unknown): boolean {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

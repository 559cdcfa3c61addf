/** Sets the hashes of any number of users in one commit. The entries are kept as bytes, which take less memory. */
import type { MergeCounts } from '../document/merge.js';
import { NewLines } from '../document/new-lines.js';
import { invalidArgument } from '../errors.js';
import type { Settings, WaitOptions } from '../options.js';
import { type EditSource, submit } from '../storage/group-commit.js';
import { type Entries, forEachEntry } from '../util/entries.js';
import { isBoolean, isFunction, isSignal, readOptions } from '../util/read-options.js';

/**
 * The options of `PasswordFile.setHashes`.
 *
 * @example
 * await new PasswordFile('passwd').setHashes([], { removeOthers: true, allowEmpty: true });
 */
export interface SetHashesOptions extends WaitOptions {
  /** Remove all other users: besides these, only comments, blank lines and lines without a colon stay. Default `false`. */
  removeOthers?: boolean | undefined;
  /** With `removeOthers`: allow a source that yields nothing, which removes all users. Default `false`. */
  allowEmpty?: boolean | undefined;
  /** Called after each entry with the number of entries read so far. */
  onProgress?: ((done: number) => void) | undefined;
}

export async function setHashes(
  source: EditSource,
  settings: Settings,
  entries: Entries<string>,
  options: SetHashesOptions | undefined,
): Promise<MergeCounts> {
  const { signal, onProgress, ...rules } = readOptions<SetHashesOptions>(options, {
    removeOthers: isBoolean,
    allowEmpty: isBoolean,
    onProgress: isFunction,
    signal: isSignal,
  });
  const { removeOthers = false, allowEmpty = false } = rules;
  const lines = new NewLines(settings.hash.maxIterations);
  const add = (username: unknown, hash: unknown, number: number): void => {
    if (typeof username !== 'string' || typeof hash !== 'string') {
      throw invalidArgument(`Entry ${number} is not a user name and a hash, each a string.`, settings.path);
    }
    lines.add(username, hash);
    onProgress?.(number);
  };
  await forEachEntry(entries, add, signal);
  lines.flush();
  if (lines.count === 0 && removeOthers && !allowEmpty) {
    throw invalidArgument(
      'The source yielded no entries, and removeOthers would remove all users. If that is meant, set allowEmpty.',
      settings.path,
    );
  }
  return submit({
    source,
    names: new Set(),
    // A merge must be the only edit of a draft.
    isAlone: true,
    signal,
    apply: draft => draft.merge(lines, removeOthers),
  });
}

/** Removes any number of users in one commit. */
import { checkedString } from '../credentials/rules.js';
import { invalidArgument } from '../errors.js';
import { signalOf, type WaitOptions } from '../options.js';
import { type EditSource, submit } from '../storage/group-commit.js';
import { copied } from '../util/entries.js';
import { Turn } from '../util/event-loop.js';

export async function removeUsers(
  source: EditSource,
  usernames: Iterable<string>,
  options: WaitOptions | undefined,
): Promise<string[]> {
  const signal = signalOf(options);
  if (typeof usernames === 'string' || typeof usernames?.[Symbol.iterator] !== 'function') {
    throw invalidArgument('removeUsers takes user names in an array or iterable. Use removeUser for one.');
  }
  const names = new Set<string>();
  const turn = new Turn();
  for (const name of copied(usernames)) {
    names.add(checkedString(name));
    if (turn.isOver()) await turn.yield();
    signal?.throwIfAborted();
  }
  return submit({
    source,
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

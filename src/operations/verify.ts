/** Whether a broker would let a user in. */
import { hashOfUser } from '../check/users.js';
import { checkedString, comparedPassword } from '../credentials/rules.js';
import { assertCost } from '../hash/encoding.js';
import { compareKey } from '../hash/hash.js';
import { type Settings, signalOf, type WaitOptions } from '../options.js';
import type { Cache } from '../storage/cache.js';
import { orAborted } from '../util/abort.js';
import { inNextTurn } from '../util/event-loop.js';
import { limited } from '../util/limiter.js';

/** What an answer costs where there is nothing to hash, in iterations of PBKDF2. */
const LOOKUP_COST = 20;

export async function verify(
  cache: Cache,
  { broker, hash, path }: Settings,
  username: string,
  password: unknown,
  options: WaitOptions | undefined,
): Promise<boolean> {
  const signal = signalOf(options);
  const name = checkedString(username);
  const compared = comparedPassword(password);
  const index = await cache.index(signal);
  const verified = limited<boolean>(done => {
    signal?.throwIfAborted();
    const stored = hashOfUser(index, name, broker);
    if (compared === undefined || stored === undefined) {
      inNextTurn(done, null, false);
      return LOOKUP_COST;
    }
    assertCost(stored, hash.maxIterations, { path, username: name });
    return compareKey(compared, stored, done);
  });
  return orAborted(verified, signal);
}

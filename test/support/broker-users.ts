/** The users that a broker lets in, by the rules of the library. */
import type { BrokerRelease, LoadedHash } from '../../src/check/stored-hash.js';
import { hashOfUser } from '../../src/check/users.js';
import { comparedPassword } from '../../src/credentials/rules.js';
import { compareKey } from '../../src/hash/hash.js';
import { limited } from '../../src/util/limiter.js';
import { indexed } from './indexed.js';

export interface BrokerUsers {
  hashOf(name: string): LoadedHash | undefined;
}

export function brokerUsers(bytes: Buffer, release: BrokerRelease): BrokerUsers {
  const index = indexed(bytes);
  return { hashOf: name => hashOfUser(index, name, release) };
}

export async function letsIn(users: BrokerUsers, name: string, password: string): Promise<boolean> {
  const hash = users.hashOf(name);
  const compared = comparedPassword(password);
  if (hash === undefined || compared === undefined) return false;
  return limited<boolean>(done => compareKey(compared, hash, done));
}

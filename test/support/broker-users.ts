/** Whom a broker lets in, by the rules of the library. */
import { promisify } from 'node:util';
import type { BrokerRelease } from '../../src/check/stored-hash.js';
import { BrokerUsers } from '../../src/check/users.js';
import { verifyParsed } from '../../src/hash/hash.js';
import { indexed } from './indexed.js';

export function brokerUsers(bytes: Buffer, release: BrokerRelease): BrokerUsers {
  return new BrokerUsers(indexed(bytes), release);
}

export async function letsIn(users: BrokerUsers, name: string, password: string): Promise<boolean> {
  const hash = users.hashOf(name);
  return hash !== undefined && (await promisify(verifyParsed)(password, hash));
}

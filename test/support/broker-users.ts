/** Whom a broker lets in, by the rules of the library. */
import { promisify } from 'node:util';
import type { BrokerRelease } from '../../src/check/stored-hash.js';
import { BrokerUsers } from '../../src/check/users.js';
import { NameIndex } from '../../src/document/name-index.js';
import { verifyParsed } from '../../src/hash/hash.js';

export function brokerUsers(bytes: Buffer, release: BrokerRelease): BrokerUsers {
  const index = new NameIndex(bytes);
  index.scan(bytes.length);
  return new BrokerUsers(index, release);
}

export async function letsIn(users: BrokerUsers, name: string, password: string): Promise<boolean> {
  const hash = users.hashOf(name);
  return hash !== undefined && (await promisify(verifyParsed)(password, hash));
}

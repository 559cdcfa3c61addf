/** Adds users, one after the other, as soon as it is ordered to. */
import { PasswordFile } from '../../../src/index.js';
import { NtfsRegistry } from '../../support/ntfs.js';
import { argument, orders, tell } from './talk.js';

export interface AdderArgument {
  path: string;
  prefix: string;
  count: number;
  /** Where the processes are registered for which the rules of NTFS hold. */
  ntfs?: string;
}

const { path, prefix, count, ntfs } = argument<AdderArgument>();
if (ntfs !== undefined) new NtfsRegistry(ntfs).rule();
const file = new PasswordFile(path);
tell('ready');
for await (const _go of orders()) {
  for (let n = 0; n < count; n++) await file.addUser(`${prefix}_${n}`, 'password');
  tell('done');
}

/** Adds users, one after the other, at an order of the test. */
import { PasswordFile } from '../../../src/index.js';
import { NtfsRegistry } from '../../support/ntfs.js';
import { argument, orders, tell } from './talk.js';

export interface AdderArgument {
  path: string;
  prefix: string;
  count: number;
  /** The directory in which the processes are registered that keep the rules of NTFS. */
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

/** Adds users, one after the other, as soon as it is told to. */
import { PasswordFile } from '../../../src/index.js';
import { argument, orders, tell } from './talk.js';

const { path, prefix, count } = argument<{ path: string; prefix: string; count: number }>();
const file = new PasswordFile(path);
tell('ready');
for await (const _go of orders()) {
  for (let n = 0; n < count; n++) await file.addUser(`${prefix}_${n}`, 'password');
  tell('done');
}

/** Holds the lock for ever, with a heartbeat: its fsync never calls back. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { PasswordFile, type PasswordFileOptions } from '../../../src/index.js';
import { stamp } from '../../support/stamps.js';
import { argument, orders, tell } from './talk.js';

const { path, options } = argument<{ path: string; options?: PasswordFileOptions }>();
fs.fsync = (() => tell('holding')) as unknown as typeof fs.fsync;
syncBuiltinESMExports();
void new PasswordFile(path, options).setHash('holder', stamp(3, 3));
for await (const _none of orders());

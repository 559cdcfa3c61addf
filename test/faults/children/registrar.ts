/**
 * Adds users, up to four at a time, with pauses, and logs each that is acknowledged. Can leave out syncs, so that the
 * test shows that it would notice.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { setTimeout as passed } from 'node:timers/promises';
import { PasswordFile } from '../../../src/index.js';
import { stamp } from '../../support/stamps.js';
import { argument, tell } from './talk.js';

export interface RegistrarArgument {
  path: string;
  /** The file to which it writes the names, a line each. */
  log: string;
  users: number;
  omitSyncOf?: 'files' | 'directories' | undefined;
}

const { path, log, users, omitSyncOf } = argument<RegistrarArgument>();

if (omitSyncOf !== undefined) {
  const { fsync } = fs;
  fs.fsync = ((fd: number, done: fs.NoParamCallback) => {
    const what = fs.fstatSync(fd).isDirectory() ? 'directories' : 'files';
    if (what === omitSyncOf) process.nextTick(done, null);
    else fsync(fd, done);
  }) as typeof fs.fsync;
  syncBuiltinESMExports();
}

const file = new PasswordFile(path);
const acknowledged = fs.openSync(log, 'a');
tell('ready');
for (let added = 0; added < users; ) {
  const together = Array.from({ length: 1 + Math.floor(4 * Math.random()) }, () => add(added++));
  await Promise.all(together);
  await passed(80 * Math.random());
}
tell('done');

async function add(n: number): Promise<void> {
  await file.setHash(`user_${n}`, stamp(1, n));
  fs.writeSync(acknowledged, `user_${n}\n`);
}

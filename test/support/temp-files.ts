/** Names of temp files, as writers make them. */
import { spawnSync } from 'node:child_process';
import { tempFileName } from '../../src/storage/lock-owner.js';

export const nonce = (n: number) => n.toString(16).padStart(16, '0');

/** The name of a temp file of this process. */
export const livingName = (n: number) => tempFileName(nonce(n));

const DEAD = spawnSync('true').pid;
/** The name of a temp file of a process that is gone. */
export const deadName = (n: number) => livingName(n).replace(`.${process.pid}.`, `.${DEAD}.`);

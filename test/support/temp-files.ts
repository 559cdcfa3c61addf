/** Names of temp files of living and dead writers. */
import { spawnSync } from 'node:child_process';
import { tempFileName } from '../../src/storage/lock-owner.js';

/** A nonce. It differs from those of the model of writers, whose names this process may have abandoned. */
export const nonce = (n: number) => `f${n.toString(16).padStart(15, '0')}`;

/** The name of a temp file of this process. */
export const livingName = (n: number) => tempFileName(nonce(n));

const DEAD = spawnSync('true').pid;
/** The name of a temp file of a process that no longer exists. */
export const deadName = (n: number) => livingName(n).replace(`.${process.pid}.`, `.${DEAD}.`);

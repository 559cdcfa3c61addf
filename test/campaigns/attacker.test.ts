/**
 * Root edits a password file in a directory of another user, who exchanges directory entries all the time. Whatever this
 * attacker does, nothing outside that directory changes. ATTACK_SECONDS is the duration of each attack (20).
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { afterEach, beforeEach, expect } from 'vitest';
import { tempFileName } from '../../src/storage/lock-owner.js';
import { ATTACKER, attack } from '../support/attacker.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';
import { needs, program, root } from '../support/require.js';
import { stamp, stampedLines } from '../support/stamps.js';

const SECONDS = Number(process.env.ATTACK_SECONDS ?? 20);

let place: ReturnType<typeof temporaryDirectory>;
/** The directory of the attacker. */
let directory: string;
/** The directory that only root may use. */
let vault: string;
beforeEach(() => {
  place = temporaryDirectory('attack', memoryDirectory());
  chmodSync(place.path, 0o755);
  directory = join(place.path, 'auth');
  vault = join(place.path, 'vault');
  mkdirSync(directory);
  writeFileSync(join(directory, 'passwd'), stampedLines('user', 3));
  for (const each of [directory, join(directory, 'passwd')]) chownSync(each, ATTACKER, ATTACKER);
  mkdirSync(vault, { mode: 0o700 });
  writeFileSync(join(vault, 'passwd'), 'a:secret\n', { mode: 0o600 });
  // A sweep of dead writers would remove this file, if the attacker could redirect it to this directory.
  const dead = tempFileName('00000000000000d1').replace(`.${process.pid}.`, `.${spawnSync('true').pid}.`);
  writeFileSync(join(vault, dead), 'not a temp file', { mode: 0o600 });
});
afterEach(() => place[Symbol.dispose]());

/** The state of everything that the attacker may not change. */
function outside(): unknown[] {
  const names = readdirSync(vault).sort();
  return ['.', ...names].map(name => {
    const { ino, mode, uid, gid, size, mtimeMs } = lstatSync(join(vault, name));
    const bytes = name === '.' ? '' : readFileSync(join(vault, name), 'latin1');
    return { name, ino, mode: mode.toString(8), uid, gid, size, mtimeMs, bytes };
  });
}

/** Whether the attacker can read a copy of a file in the vault. */
function isReadable(): boolean {
  let fd: number;
  try {
    fd = openSync(join(directory, 'passwd'), 'r');
  } catch {
    return false;
  }
  const isInVault = fstatSync(fd).ino === lstatSync(join(vault, 'passwd')).ino;
  const text = readFileSync(fd, 'utf8');
  closeSync(fd);
  return !isInVault && text.includes('secret');
}

/** Edits until something outside has changed or the time is over. Expects no change, and only errors of this library. */
async function editDuringAttack(path: string, args: string[]): Promise<void> {
  const before = outside();
  const attacker = await attack(...args);
  const file = new PasswordFile(path, { lock: { timeout: 200 } });
  const started = performance.now();
  const counts: Record<string, number> = {};
  let hasLeaked = false;
  for (let n = 0; performance.now() - started < SECONDS * 1000; n++) {
    const edit = n % 10 === 9 ? file.upgrade() : file.setHash(`user${n % 3}`, stamp(1, n));
    const outcome = await edit.then(
      () => 'edits',
      error => (error.name === 'PasswordFileError' ? error.code : `${error.stack}`),
    );
    counts[outcome] = (counts[outcome] ?? 0) + 1;
    hasLeaked ||= isReadable();
    if (hasLeaked || JSON.stringify(outside()) !== JSON.stringify(before)) break;
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const exchanges = await attacker.end();
  console.info(`${seconds} s, ${exchanges} exchanges, ${JSON.stringify(counts)}`);
  expect(outside()).toEqual(before);
  expect(hasLeaked).toBe(false);
  expect(exchanges).toBeGreaterThan(0);
  expect(Object.keys(counts).filter(outcome => !/^(edits|ERR_[A-Z_]+)$/.test(outcome))).toEqual([]);
}

const attacks = needs(root, program('gcc'));

for (const mode of [0o755, 0o4755, 0o2775]) {
  attacks.test(
    `nothing outside changes while a candidate directory is exchanged for a link, in a directory of mode ${mode.toString(8)}`,
    async () => {
      chmodSync(directory, mode);
      const targets = [join(vault, 'passwd'), vault];
      await editDuringAttack(join(directory, 'passwd'), ['watch', directory, 'passwd.', 'bait', ...targets]);
    },
    SECONDS * 1000 + 30_000,
  );
}

attacks.test(
  'nothing outside changes while the password file is exchanged for a link, again and again',
  async () => {
    const args = ['toggle', directory, 'passwd', 'bait', join(vault, 'passwd')];
    await editDuringAttack(join(directory, 'passwd'), args);
  },
  SECONDS * 1000 + 30_000,
);

attacks.test(
  'nothing outside changes while a link of root is exchanged for another one, again and again',
  async () => {
    mkdirSync(join(place.path, 'roots'));
    writeFileSync(join(place.path, 'roots/passwd'), stampedLines('user', 3));
    symlinkSync(join(place.path, 'roots/passwd'), join(directory, 'link'));
    // The attacker creates no link of this name as long as this one is there.
    symlinkSync(join(vault, 'passwd'), join(directory, 'bait'));
    lchownSync(join(directory, 'bait'), ATTACKER, ATTACKER);
    await editDuringAttack(join(directory, 'link'), ['toggle', directory, 'link', 'bait', vault]);
  },
  SECONDS * 1000 + 30_000,
);

attacks.test(
  'nothing outside changes while a directory of the path is exchanged for a link, again and again',
  async () => {
    chownSync(place.path, ATTACKER, ATTACKER);
    await editDuringAttack(join(directory, 'passwd'), ['toggle', place.path, 'auth', 'bait', 'vault']);
  },
  SECONDS * 1000 + 30_000,
);

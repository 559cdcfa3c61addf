/** Ways to add a user to a password file: what services do today, a careful recipe out of npm packages, this library. */
import { execFile, spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { hashPassword, PasswordFile } from 'mosquitto-passwd-ts';
import lockfile from 'proper-lockfile';
import writeFileAtomic from 'write-file-atomic';

export interface Competitor {
  name: string;
  /** Adds a user; the file is there. */
  add(path: string, username: string, password: string): Promise<void>;
  /** The program that does so, where it is one. */
  command?(path: string, username: string, password: string): [string, ...string[]];
}

const run = promisify(execFile);

export const mosquittoPasswd: Competitor = {
  name: 'mosquitto_passwd',
  async add(path, username, password) {
    await run('mosquitto_passwd', ['-b', path, username, password]);
  },
  command: (path, username, password) => ['mosquitto_passwd', '-b', path, username, password],
};

/** Lock, read, replace the line, write to a temporary file and rename it: what a careful programmer puts together. */
export const lockfileRecipe: Competitor = {
  name: 'proper-lockfile + write-file-atomic',
  async add(path, username, password) {
    const line = `${username}:${await hashPassword(password)}\n`;
    const release = await lockfile.lock(path, { retries: { retries: 1_000, minTimeout: 5, maxTimeout: 50 } });
    try {
      const lines = (await readFile(path, 'utf8')).split(/(?<=\n)/);
      const kept = lines.filter(each => !each.startsWith(`${username}:`));
      await writeFileAtomic(path, kept.join('') + line);
    } finally {
      await release();
    }
  },
};

let file: PasswordFile | undefined;
let filePath: string | undefined;

export const thisLibrary: Competitor = {
  name: 'mosquitto-passwd-ts',
  async add(path, username, password) {
    if (path !== filePath) file = undefined;
    filePath = path;
    file ??= new PasswordFile(path);
    await file.setUser(username, password);
  },
};

/** Those that can run here. */
export function competitors(): Competitor[] {
  const hasTool = spawnSync('mosquitto_passwd', ['--help']).error === undefined;
  return [...(hasTool ? [mosquittoPasswd] : []), lockfileRecipe, thisLibrary];
}

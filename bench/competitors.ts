/** Ways to add a user to a password file: mosquitto_passwd, a careful recipe of npm packages, and this library. */
import { execFile, spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { hashPassword, PasswordFile } from 'mosquitto-passwd-ts';
import lockfile from 'proper-lockfile';
import writeFileAtomic from 'write-file-atomic';

export interface Competitor {
  name: string;
  /** Adds a user to a file that exists. */
  add(path: string, username: string, password: string): Promise<void>;
  /** The command line, if it is a program that does so. */
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

/** A careful programmer's recipe: lock, read, replace the line, write to a temporary file and rename it. */
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

/** The ways that can run on this machine. */
export function competitors(): Competitor[] {
  const hasTool = spawnSync('mosquitto_passwd', ['--help']).error === undefined;
  return [...(hasTool ? [mosquittoPasswd] : []), lockfileRecipe, thisLibrary];
}

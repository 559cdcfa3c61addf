/** The program is killed while it upgrades a file of many users: the file is then the old one or the new one. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { verifyPasswordSync } from 'mosquitto-passwd-ts';
import { expect } from 'vitest';
import { call } from '../support/cli.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';
import { needs } from '../support/require.js';

const USERS = 40_000;
const PLAIN = Array.from({ length: USERS }, (_, i) => `device_${i}:password ${i}\n`).join('');
const UPGRADE = ['-U', '-I', '1'];

/** Whether the program is to be killed now. */
type Moment = (program: { pid: number; path: string; oldInode: number }) => boolean;

const MOMENTS: Array<[title: string, moment: Moment]> = [
  ['while it starts', ({ pid }) => cpuTicks(pid) > 2],
  ['while it hashes', ({ pid }) => cpuTicks(pid) > 60],
  ['while it writes', ({ path }) => existsSync(`${path}.writer`)],
  ['when it has written', ({ path, oldInode }) => statSync(path).ino !== oldInode],
];

/** The CPU time of a process, in units of 10 ms (man 5 proc_pid_stat, utime). */
function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
  return Number(fields[11]);
}

const proc = { what: '/proc', isProgram: false, met: () => existsSync('/proc/self/stat') };

for (const [title, isTime] of MOMENTS) {
  needs(proc).test(
    `an upgrade that is killed ${title} leaves the old file or the new one, and the next call does not wait`,
    async () => {
      using directory = temporaryDirectory('killed', memoryDirectory());
      const path = join(directory.path, 'passwd');
      writeFileSync(path, PLAIN, { mode: 0o600 });
      const oldInode = statSync(path).ino;
      const { status, signal } = await call([...UPGRADE, path], {
        onStart: async child => {
          const pid = child.pid as number;
          while (child.exitCode === null && !isTime({ pid, path, oldInode })) await pause(1);
          child.kill('SIGKILL');
        },
      });
      // The program may have ended before the signal.
      expect(signal ?? status).toBe(signal === null ? 0 : 'SIGKILL');
      const text = readFileSync(path, 'utf8');
      const isNew = signal === null || title === 'when it has written';
      if (isNew || text !== PLAIN) expectNew(text);

      const next = await call([...UPGRADE, path]);
      expect(next).toEqual({ status: 0, signal: null, stdout: '', stderr: '' });
      expectNew(readFileSync(path, 'utf8'));
      // Only a write removes what the killed program left.
      expect((await call(['--quiet', '-b', path, 'late', 'a password'])).status).toBe(0);
      expect(readdirSync(directory.path)).toEqual(['passwd']);
    },
  );
}

/** Expects all users in the file, in order, with hashes of their passwords. */
function expectNew(text: string): void {
  const lines = text.split('\n');
  expect(lines).toHaveLength(USERS + 1);
  const wrong = lines
    .slice(0, -1)
    .filter((line, i) => !line.startsWith(`device_${i}:$7$1$`) || line.length < 110);
  expect(wrong).toEqual([]);
  for (let i = 0; i < USERS; i += 9_999) {
    const hash = lines[i]?.slice(`device_${i}:`.length) ?? '';
    expect(verifyPasswordSync(`password ${i}`, hash)).toBe(true);
  }
}

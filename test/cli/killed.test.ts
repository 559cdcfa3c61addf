/** The program killed while it hashes a file of 100,000 users: the file is the old one or the new one. */
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { verifyPasswordSync } from 'mosquitto-passwd-ts';
import { afterAll, expect, test } from 'vitest';
import { call } from '../support/cli.js';
import { memoryFolder, temporaryFolder } from '../support/leftovers.js';

const USERS = 100_000;
const PLAIN = Array.from({ length: USERS }, (_, i) => `device_${i}:password ${i}\n`).join('');
/** When it is killed. */
const MOMENTS = {
  'while it reads': () => pause(100),
  'while it hashes': () => pause(700),
  'when it has written': isOver => until(() => statSync(path).ino !== oldInode || isOver()),
  'while it writes': async isOver => {
    await until(() => existsSync(`${path}.writer`) || isOver());
    await pause(20);
  },
} satisfies Record<string, (isOver: () => boolean) => Promise<unknown>>;

const folder = temporaryFolder('killed', memoryFolder());
const path = join(folder.path, 'passwd');

let oldInode = 0;

afterAll(() => folder[Symbol.dispose]());

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await pause(1);
}

test.each(Object.keys(MOMENTS) as Array<keyof typeof MOMENTS>)('%s', async moment => {
  for (const name of readdirSync(folder.path)) rmSync(join(folder.path, name), { recursive: true });
  writeFileSync(path, PLAIN, { mode: 0o600 });
  oldInode = statSync(path).ino;
  const { signal } = await call(['-U', '-I', '1', path], {
    onStart: async child => {
      await MOMENTS[moment](() => child.exitCode !== null);
      child.kill('SIGKILL');
    },
  });
  expect(signal).toBe('SIGKILL');
  const text = readFileSync(path, 'utf8');
  if (moment === 'when it has written') expectNew(text);
  else if (moment !== 'while it writes') expect(text === PLAIN).toBe(true);
  else if (text !== PLAIN) expectNew(text);
});

test('the next one is not held up by the last of those, and leaves nothing of it', async () => {
  expect(readdirSync(folder.path)).not.toEqual(['passwd']);
  const { status, stderr } = await call(['-U', '-I', '1', path]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expectNew(readFileSync(path, 'utf8'));
  expect(readdirSync(folder.path)).toEqual(['passwd']);
});

/** All users are there, in order, and hashed. */
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

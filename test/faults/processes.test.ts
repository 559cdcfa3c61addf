import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { expect, test } from 'vitest';
import { startChild, startChildren } from '../support/children.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';
import { NtfsRegistry } from '../support/ntfs.js';
import { stampedLines } from '../support/stamps.js';

const PROCESSES = 8;
const ADDS = 50;

test('8 processes add 50 users each to one file, and none is lost', async () => {
  using directory = temporaryDirectory('processes');
  const path = join(directory.path, 'passwords');
  await new PasswordFile(path).addUser('first', 'password');
  const before = await readFile(path, 'utf8');

  await using children = await startChildren(
    Array.from({ length: PROCESSES }, (_, n) =>
      startChild('adder', { path, prefix: `process_${n}`, count: ADDS }),
    ),
  );
  expect(await Promise.all(children.map(child => child.ask('go')))).toEqual(children.map(() => 'done'));
  for (const child of children) child.end();
  for (const child of children) expect(await child.exited).toEqual({ code: 0, signal: null });

  const expected = children.flatMap((_, n) => Array.from({ length: ADDS }, (_, i) => `process_${n}_${i}`));
  const users = await new PasswordFile(path).users();
  expect(users).toHaveLength(401);
  expect(users.toSorted()).toEqual(['first', ...expected].toSorted());
  const after = await readFile(path, 'utf8');
  expect(after.startsWith(before)).toBe(true);
  expect(after.split('\n')).toHaveLength(402);
  expect(await readdir(directory.path)).toEqual(['passwords']);
});

test('2 processes make 200 edits each under the rules of NTFS, while another reads the file, and none is lost', async () => {
  using directory = temporaryDirectory('ntfs', memoryDirectory());
  using elsewhere = temporaryDirectory('registry', memoryDirectory());
  const path = join(directory.path, 'passwords');
  const base = stampedLines('base', 20);
  await writeFile(path, base);
  const registry = new NtfsRegistry(elsewhere.path);
  await using reader = await startChild('reader', { path, base });
  registry.register(reader.pid);
  await using children = await startChildren(
    [0, 1].map(n => startChild('adder', { path, prefix: `process_${n}`, count: 200, ntfs: elsewhere.path })),
  );
  expect(await Promise.all(children.map(child => child.ask('go')))).toEqual(['done', 'done']);
  await reader.ask('stop');
  const users = await new PasswordFile(path).users();
  expect(users.filter(name => name.startsWith('process_'))).toHaveLength(400);
  expect(await readdir(directory.path)).toEqual(['passwords']);
  const refusals: Record<string, number> = {};
  for (const what of registry.refusals()) refusals[what] = (refusals[what] ?? 0) + 1;
  console.info(`refused: ${JSON.stringify(refusals)}`);
  expect(Object.keys(refusals)).toEqual(
    expect.arrayContaining(['rename to a directory', 'rename over a file']),
  );
});

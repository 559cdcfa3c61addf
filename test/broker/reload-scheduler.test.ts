import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PasswordFileOptions } from '../../src/options.js';
import { PasswordFile } from '../../src/password-file.js';
import { testFolder } from '../support/folder.js';
import { needs, program, root } from '../support/require.js';
import { standIn, uniqueName } from '../support/stand-in.js';

/** Warnings that this process got since the test began. */
let warnings: Error[];
const remember = (warning: Error) => void warnings.push(warning);
beforeEach(() => {
  warnings = [];
  process.on('warning', remember);
});
afterEach(() => void process.off('warning', remember));

function reloadedBy(command: string[], onError?: (error: unknown) => void) {
  const path = join(testFolder(), 'passwd');
  const options: PasswordFileOptions = { reload: { command, minInterval: 0, onError } };
  return new PasswordFile(path, options);
}

describe('a reload that goes wrong', () => {
  test('while the path cannot be reached rejects reloaded() and is reported to onError', async () => {
    const reported: unknown[] = [];
    const directory = join(testFolder(), 'directory');
    const path = join(directory, 'passwd');
    const file = new PasswordFile(path, {
      reload: { command: ['true'], minInterval: 0, onError: error => reported.push(error) },
    });
    mkdirSync(directory);
    await file.setUser('alice', 'pw');
    const reloaded = file.reloaded();
    rmSync(directory, { recursive: true });
    writeFileSync(directory, 'no directory');
    const error = await reloaded.then(
      () => undefined,
      error => error,
    );
    expect(error).toMatchObject({ name: 'PasswordFileError' });
    expect(reported).toEqual([error]);
  });

  test.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('no mail today');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no mail today'))],
    [
      'throws what is no error',
      () => {
        throw Object.assign(Object.create(null), { text: 'no mail today' });
      },
    ],
  ])('warns where onError %s, and the next reload is made', async (_, onError) => {
    const file = reloadedBy(['false'], onError);
    await file.setUser('alice', 'pw');
    await expect(file.reloaded()).rejects.toMatchObject({ code: 'ERR_RELOAD_FAILED' });
    await expect.poll(() => warnings.length).toBe(1);
    expect(warnings[0]?.message).toMatch(/onError.*no mail today/s);
    await expect(file.reloaded()).rejects.toMatchObject({ code: 'ERR_RELOAD_FAILED' });
  });
});

needs(root, program('setpriv')).describe('a broker by the name of its process', () => {
  const member = '--reuid=54321 --regid=54321 --groups=54322';

  test.each([
    ['its owner', 54_321, 0, 0o400],
    ['its group', 0, 54_321, 0o040],
    ['a further group of the process', 0, 54_322, 0o040],
    ['everybody', 0, 0, 0o004],
  ])('is reloaded where the file may be read by %s', async (_, uid, gid, mode) => {
    const name = uniqueName();
    const broker = await standIn({ name, as: member });
    const path = join(testFolder(), 'passwd');
    const file = new PasswordFile(path, { create: { uid, gid, mode }, reload: { process: name } });
    await file.setUser('alice', 'pw');
    await file.reloaded();
    expect(await broker.hangups()).toBe(1);
  });

  test('is not a process whose user could not read the file', async () => {
    const name = uniqueName();
    const other = await standIn({ name, as: member });
    const path = join(testFolder(), 'passwd');
    const file = new PasswordFile(path, { create: { mode: 0o600 }, reload: { process: name } });
    await file.setUser('alice', 'pw');
    await expect(file.reloaded()).rejects.toMatchObject({
      code: 'ERR_RELOAD_FAILED',
      message: expect.stringContaining(
        `No process called ${name} belongs to a user who may read ${path}, but pid ${other.pid} belongs to user 54321.`,
      ),
    });
    expect(await other.hangups()).toBe(0);

    const broker = await standIn({ name });
    await file.reloaded();
    expect(await broker.hangups()).toBe(1);
    expect(await other.hangups()).toBe(0);
  });

  test('is not a process whose user may not enter the directory of the file', async () => {
    const name = uniqueName();
    const other = await standIn({ name, as: member });
    const directory = join(testFolder(), 'private');
    mkdirSync(directory, { mode: 0o700 });
    const create = { mode: 0o644 };
    const file = new PasswordFile(join(directory, 'passwd'), { create, reload: { process: name } });
    await file.setUser('alice', 'pw');
    await expect(file.reloaded()).rejects.toMatchObject({ code: 'ERR_RELOAD_FAILED' });
    expect(await other.hangups()).toBe(0);
  });
});

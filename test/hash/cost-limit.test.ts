import crypto from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, type Mock, test } from 'vitest';
import {
  formatHash,
  hashPassword,
  hashPasswordSync,
  PasswordFile,
  verifyPassword,
  verifyPasswordSync,
} from '../../src/index.js';
import { spyOnBuiltin } from '../support/builtins.js';
import { HASH, newFile } from '../support/password-file.js';

let computed: Mock[];
beforeEach(() => {
  computed = [spyOnBuiltin(crypto, 'pbkdf2'), spyOnBuiltin(crypto, 'pbkdf2Sync')];
});

const key = new Uint8Array(64);
const salt = new Uint8Array(12);
const pbkdf2 = (iterations: number) => formatHash({ algorithm: 'pbkdf2-sha512', iterations, salt, key });
const argon2id = (memory: number, passes: number, parallelism = 1) =>
  formatHash({ algorithm: 'argon2id', memory, passes, parallelism, salt, key });

const COSTLY = pbkdf2(2 ** 31 - 1);
const costLimit = (message: RegExp) => ({ code: 'ERR_COST_LIMIT', message: expect.stringMatching(message) });
const tooCostly = costLimit(/^The hash takes 2147483647 iterations, and maxIterations allows 1000000\. /);

/** Expects that PBKDF2 was computed neither on the thread pool nor on this thread. */
function expectNoWork(): void {
  for (const each of computed) expect(each).not.toHaveBeenCalled();
}

describe('a hash over the cost limit', () => {
  test.each<[string, string, RegExp]>([
    [
      '2^31 − 1 iterations',
      COSTLY,
      /^The hash takes 2147483647 iterations, and maxIterations allows 1000000\. /,
    ],
    ['1,000,001 iterations', pbkdf2(1_000_001), /^The hash takes 1000001 iterations/],
    [
      'more than 1 GiB',
      argon2id(2 ** 20 + 1, 1),
      /^The hash takes 1 passes over 1048577 KiB in 1 lanes, and 16 over 1048576 in 16 are allowed\. Give /,
    ],
    ['17 passes', argon2id(8, 17), /^The hash takes 17 passes over 8 KiB/],
    ['17 lanes', argon2id(136, 1, 17), /^The hash takes 1 passes over 136 KiB in 17 lanes/],
  ])('is not verified and takes no thread: %s', async (_what, hash, message) => {
    await expect(verifyPassword('secret', hash)).rejects.toMatchObject(costLimit(message));
    expect(() => verifyPasswordSync('secret', hash)).toThrow(expect.objectContaining(costLimit(message)));
    expectNoWork();
  });

  test('is verified if maxIterations allows it', async () => {
    const hash = hashPasswordSync('secret', { iterations: 20 });
    const limits = [{ maxIterations: 20 }, { maxIterations: 19 }];
    expect(await verifyPassword('secret', hash, limits[0])).toBe(true);
    expect(verifyPasswordSync('secret', hash, limits[0])).toBe(true);
    const refusal = costLimit(/20 iterations, and maxIterations allows 19/);
    await expect(verifyPassword('secret', hash, limits[1])).rejects.toMatchObject(refusal);
    expect(() => verifyPasswordSync('secret', hash, limits[1])).toThrow(expect.objectContaining(refusal));
  });

  test('is not made, unless maxIterations allows it', async () => {
    const options = { iterations: 2 ** 31 - 1 };
    await expect(hashPassword('secret', options)).rejects.toMatchObject(tooCostly);
    expect(() => hashPasswordSync('secret', options)).toThrow(expect.objectContaining(tooCostly));
    expect(() => new PasswordFile('passwd', { hash: options })).toThrow(expect.objectContaining(tooCostly));
    await expect(hashPassword('secret', { maxIterations: 100 })).rejects.toMatchObject(
      costLimit(/101 iterations, and maxIterations allows 100/),
    );
    expectNoWork();
    expect(await hashPassword('secret', { iterations: 20, maxIterations: 20 })).toMatch(/^\$7\$20\$/);
    expect(
      new PasswordFile('passwd', { hash: { iterations: 1_000_001, maxIterations: 1_000_001 } }),
    ).toBeTruthy();
  });

  test.each([0, 1.5, 2 ** 31, '101', null])(
    'has a limit that is a whole number: maxIterations %j is refused',
    async maxIterations => {
      const options = { maxIterations } as { maxIterations: number };
      const refusal = {
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringMatching(/maxIterations must be a whole number from 1 to 2147483647\.$/),
      };
      await expect(verifyPassword('secret', HASH, options)).rejects.toMatchObject(refusal);
      await expect(hashPassword('secret', options)).rejects.toMatchObject(refusal);
      expect(() => new PasswordFile('passwd', { hash: options })).toThrow(expect.objectContaining(refusal));
    },
  );
});

describe('a line with a hash over the cost limit', () => {
  const text = `alice:${COSTLY}\nbob:${HASH}\n`;

  test('makes verify reject with ERR_COST_LIMIT, and takes no thread', async () => {
    const { path, file } = newFile();
    await writeFile(path, text);
    const { signal } = new AbortController();
    for (const options of [undefined, { signal }]) {
      await expect(file.verify('alice', 'secret', options)).rejects.toMatchObject({
        ...tooCostly,
        username: 'alice',
        path,
      });
    }
    expectNoWork();
    expect(await file.verify('bob', 'secret')).toBe(true);
    const lenient = new PasswordFile(path, { hash: { iterations: 1, maxIterations: 1 } });
    expect(await lenient.setHash('carol', HASH)).toBe('added');
    expect(await lenient.verify('carol', 'secret')).toBe(true);
  });

  test('is kept by edits of other users', async () => {
    const { path, file } = newFile();
    await writeFile(path, text);
    expect(await file.setUser('bob', 'other')).toBe('updated');
    expect(await file.getHash('alice')).toBe(COSTLY);
    expect(await file.users()).toEqual(['alice', 'bob']);
  });

  test.each<[string, (file: PasswordFile) => Promise<unknown>, unknown]>([
    ['setUser', file => file.setUser('alice', 'secret'), 'updated'],
    ['setUsers', file => file.setUsers([['alice', 'secret']]), { added: 0, updated: 1, unchanged: 0 }],
    ['setHash', file => file.setHash('alice', HASH), 'updated'],
    ['update', file => file.update(draft => draft.set('alice', HASH).has('alice')), true],
  ])('is replaced by %s', async (_what, edit, outcome) => {
    const { path, file } = newFile();
    await writeFile(path, text);
    expect(await edit(file)).toEqual(outcome);
    expect(await file.verify('alice', 'secret')).toBe(true);
  });

  test('is removed by removeUser', async () => {
    const { path, file } = newFile();
    await writeFile(path, text);
    expect(await file.removeUser('alice')).toBe(true);
    expect(await file.users()).toEqual(['bob']);
  });

  test('is not written by setHash or update', async () => {
    const { file } = newFile();
    for (const hash of [COSTLY, argon2id(2 ** 21, 1)]) {
      await expect(file.setHash('alice', hash)).rejects.toMatchObject({ code: 'ERR_COST_LIMIT' });
      await expect(file.update(draft => draft.set('alice', hash))).rejects.toMatchObject({
        code: 'ERR_COST_LIMIT',
      });
    }
    expect(await file.users()).toEqual([]);
  });

  test('is written if its 1 GiB, 16 passes and 16 lanes of argon2id just reach the limit', async () => {
    const { file } = newFile();
    expect(await file.setHash('alice', argon2id(2 ** 20, 16, 16))).toBe('added');
  });

  test('is written if hash.maxIterations allows it', async () => {
    const { path } = newFile();
    const file = new PasswordFile(path, { hash: { maxIterations: 2 ** 31 - 1 } });
    expect(await file.setHash('alice', COSTLY)).toBe('added');
    expect(await file.update(draft => draft.set('bob', COSTLY).get('bob'))).toBe(COSTLY);
  });
});

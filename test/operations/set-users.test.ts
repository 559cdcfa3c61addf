import { writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import type { PasswordFileOptions } from '../../src/options.js';
import { PasswordFile } from '../../src/password-file.js';
import { diskCalls } from '../support/disk-calls.js';
import { countCommits, HASH, identityOf, newFile, OTHER_HASH } from '../support/password-file.js';

let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ path, file } = newFile());
});

const read = () => readFile(path, 'utf8');
const identity = () => identityOf(path);

describe('setUser', () => {
  test("reports 'added', 'updated' or 'unchanged'", async () => {
    expect(await file.setUser('alice', 'secret')).toBe('added');
    expect(await file.setUser('alice', 'secret')).toBe('unchanged');
    expect(await file.setUser('alice', 'other')).toBe('updated');
    expect(await file.verify('alice', 'other')).toBe(true);
    expect(await file.verify('alice', 'secret')).toBe(false);
  });

  test('does not replace the file if the user is unchanged', async () => {
    await file.setUser('alice', 'secret');
    const before = await identity();
    expect(await file.setUser('alice', 'secret')).toBe('unchanged');
    expect(await identity()).toEqual(before);
  });

  test.each<[string, PasswordFileOptions['hash'], 'updated' | 'unchanged']>([
    ['the same iterations', { iterations: 1 }, 'unchanged'],
    ['more iterations', { iterations: 2 }, 'updated'],
    ['the default', {}, 'updated'],
    ['a larger salt', { iterations: 1, saltBytes: 64 }, 'updated'],
    ['another algorithm', { algorithm: 'sha512' }, 'updated'],
  ])('with %s (options hash: %j) reports the same password as %s', async (_what, hash, outcome) => {
    await file.setUser('alice', 'secret');
    const wanted = new PasswordFile(path, { hash });
    expect(await wanted.setUser('alice', 'secret')).toBe(outcome);
    expect(await wanted.setUser('alice', 'secret')).toBe('unchanged');
  });

  test('updates a SHA-512 hash of the same password to PBKDF2', async () => {
    await new PasswordFile(path, { hash: { algorithm: 'sha512' } }).setUser('alice', 'secret');
    expect(await file.setUser('alice', 'secret')).toBe('updated');
    expect(await file.setUser('alice', 'secret')).toBe('unchanged');
  });

  test('hashes with the algorithm, iterations and salt length of the options', async () => {
    await new PasswordFile(path, { hash: { algorithm: 'sha512' } }).setUser('a', 'secret');
    await new PasswordFile(path, { hash: { algorithm: 'sha512', saltBytes: 64 } }).setUser('b', 'secret');
    await new PasswordFile(path, { hash: { iterations: 1000, saltBytes: 64 } }).setUser('c', 'secret');
    const hashes = (await read()).trimEnd().split('\n');
    expect(hashes[0]).toMatch(/^a:\$6\$[^$]{16}\$[^$]{88}$/);
    expect(hashes[1]).toMatch(/^b:\$6\$[^$]{88}\$[^$]{88}$/);
    expect(hashes[2]).toMatch(/^c:\$7\$1000\$[^$]{88}\$[^$]{88}$/);
  });

  test.each([`alice:${HASH}\nalice:${HASH}\n`, `alice:${HASH}x\n`, 'alice:secret\n', 'alice:\n'])(
    'replaces the lines %j by one with a hash of the password',
    async text => {
      await writeFile(path, text);
      expect(await file.setUser('alice', 'secret')).toBe('updated');
      expect((await read()).match(/^alice:\$7\$1\$/gm)).toHaveLength(1);
      expect(await file.verify('alice', 'secret')).toBe(true);
    },
  );

  test('takes a password of bytes', async () => {
    const password = new Uint8Array([0xff, 0x80]);
    await file.setUser('alice', password);
    expect(await file.setUser('alice', password)).toBe('unchanged');
    expect(await file.verify('alice', password)).toBe(true);
  });

  test('hashes the password as it was at the call, although its bytes change later', async () => {
    for (const secret of ['secret', 's'.repeat(65_535)]) {
      const password = Buffer.from(secret);
      const set = file.setUser('alice', password);
      password.fill(0x78);
      await set;
      expect(await file.verify('alice', secret)).toBe(true);
    }

    const reused = Buffer.from('secret 1');
    await file.setUsers(
      (async function* () {
        for (const digit of '123') {
          reused.write(digit, reused.length - 1);
          yield [`user${digit}`, reused] as const;
        }
      })(),
    );
    for (const digit of '123') expect(await file.verify(`user${digit}`, `secret ${digit}`)).toBe(true);
  });

  test('keeps all other bytes of the file', async () => {
    const before = `# users\r\n\r\nalice: ${HASH} :more\r\nwhat\r\n\xff\r\nbob:${OTHER_HASH}`;
    await writeFile(path, before, 'latin1');
    await file.setHash('carol', HASH);
    expect(await readFile(path, 'latin1')).toBe(`${before}\r\ncarol:${HASH}\r\n`);
    await file.removeUser('carol');
    expect(await readFile(path, 'latin1')).toBe(`${before}\r\n`);
  });

  test('changes single lines of a file of 36,000 users', async () => {
    const lines = Array.from({ length: 36_000 }, (_, n) => `user${n}:${HASH}\n`);
    await writeFile(path, lines.join(''));
    expect(await file.setUser('user12345', 'secret')).toBe('unchanged');
    expect(await file.setUser('user35999', 'new')).toBe('updated');
    expect(await file.setUser('zoe', 'secret')).toBe('added');
    const kept = lines.slice(0, -1).join('');
    const after = await read();
    expect(after.startsWith(kept)).toBe(true);
    expect(after.slice(kept.length)).toMatch(/^user35999:.+\nzoe:.+\n$/);
    expect(await file.verify('user35999', 'new')).toBe(true);
    expect(await file.users()).toHaveLength(36_001);
  });
});

describe('setUsers', () => {
  const entries = (): Array<[string, string]> => [
    ['alice', 'secret'],
    ['bob', 'new'],
    ['carol', 'secret'],
  ];
  beforeEach(() => writeFile(path, `alice:${HASH}\nbob:${HASH}\n`));

  function* generated(): Generator<[string, string]> {
    yield* entries();
  }
  async function* arriving(): AsyncGenerator<[string, string]> {
    for (const entry of entries()) yield await Promise.resolve(entry);
  }

  test.each<[string, () => Parameters<PasswordFile['setUsers']>[0]]>([
    ['an array', entries],
    ['a Map', () => new Map(entries())],
    ['a generator', generated],
    ['an async generator', arriving],
  ])('takes entries from %s', async (_what, from) => {
    const commits = countCommits();
    expect(await file.setUsers(from())).toEqual({ added: 1, updated: 1, unchanged: 1 });
    expect(commits.count).toBe(1);
    expect((await read()).startsWith(`alice:${HASH}\nbob:`)).toBe(true);
    expect(await file.users()).toEqual(['alice', 'bob', 'carol']);
    for (const [name, password] of entries()) expect(await file.verify(name, password)).toBe(true);
  });

  test('takes the last password of a name that comes twice', async () => {
    const counts = await file.setUsers([...entries(), ['bob', 'newer']]);
    expect(counts).toEqual({ added: 1, updated: 1, unchanged: 1 });
    expect(await file.verify('bob', 'newer')).toBe(true);
  });

  test('calls onProgress after each user', async () => {
    const many = Array.from({ length: 100 }, (_, n): [string, string] => [`user${n}`, 'secret']);
    const reported: Array<[number, number]> = [];
    await file.setUsers(many, { onProgress: (done, total) => reported.push([done, total]) });
    expect(reported).toEqual(many.map((_, n) => [n + 1, 100]));
  });

  test.each<[string, (then: Error) => Parameters<typeof file.setUsers>]>([
    [
      'a generator of the entries',
      error => [
        (function* () {
          yield ['dave', 'secret'] as const;
          throw error;
        })(),
      ],
    ],
    [
      'an async generator of the entries',
      error => [
        (async function* () {
          yield ['dave', 'secret'] as const;
          throw error;
        })(),
      ],
    ],
    [
      'onProgress',
      error => [
        entries(),
        {
          onProgress() {
            throw error;
          },
        },
      ],
    ],
  ])('changes nothing if %s throws', async (_what, args) => {
    const error = new Error('no');
    const before = await identity();
    await expect(file.setUsers(...args(error))).rejects.toBe(error);
    expect(await identity()).toEqual(before);
  });

  test.each([
    [
      'password',
      ['dave', ''],
      { code: 'ERR_INVALID_PASSWORD', username: 'dave' },
      'Entry 4: The password is',
    ],
    [
      'name',
      ['a:secret', 'x'],
      { code: 'ERR_INVALID_USERNAME', username: 'a' },
      'Entry 4: The user name contains',
    ],
  ] as const)(
    'changes nothing if one %s is invalid, and reports its entry',
    async (_what, entry, error, message) => {
      const before = await identity();
      const call = file.setUsers([...entries(), entry]);
      await expect(call).rejects.toMatchObject({ ...error, message: expect.stringContaining(message) });
      expect(await identity()).toEqual(before);
    },
  );

  test('sets an unchanged password again if another writer changes it before the lock is taken', async () => {
    diskCalls.before = call => {
      // It has read the file, and is about to take the lock.
      if (call !== 'mkdir') return;
      diskCalls.before = undefined;
      writeFileSync(path, `alice:${OTHER_HASH}\nbob:${HASH}\n`);
    };
    expect(await file.setUsers([['alice', 'secret']])).toEqual({ added: 0, updated: 1, unchanged: 0 });
    expect(await file.verify('alice', 'secret')).toBe(true);
  });
});

import { getEventListeners } from 'node:events';
import { appendFileSync, truncateSync, writeFileSync } from 'node:fs';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { steps } from '../src/commit.js';
import { PasswordFile } from '../src/file.js';
import { hashPasswordSync, verifyPassword } from '../src/hash.js';
import type { PasswordFileOptions } from '../src/options.js';
import type { PasswordDraft } from '../src/update.js';
import { expectOnly, testFolder } from './support/folder.js';
import { needs, root } from './support/require.js';

// Quick to make, and of the form that the library writes.
const quick = { hash: { iterations: 1 } } as const;
const HASH = hashPasswordSync('secret', { iterations: 1 });
const OTHER_HASH = hashPasswordSync('other secret', { iterations: 1 });

let folder: string;
let path: string;
let file: PasswordFile;
beforeEach(() => {
  folder = testFolder();
  path = join(folder, 'passwd');
  file = new PasswordFile(path, quick);
});
afterEach(() => {
  steps.before = undefined;
});

const read = () => readFile(path, 'utf8');
/** What shows that a file was replaced or written to. */
async function identity(): Promise<unknown[]> {
  const { ino, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return [ino, mtimeNs, ctimeNs];
}
/** Counts the commits of this process from here on. */
function countCommits(): { readonly count: number } {
  const commits = { count: 0 };
  steps.before = call => {
    if (call === 'sync stage') commits.count++;
  };
  return commits;
}

/** A call of each method that may wait, and whether it writes. */
const CALLS: Array<
  [name: string, writes: boolean, call: (file: PasswordFile, signal?: AbortSignal) => Promise<unknown>]
> = [
  ['create', true, (file, signal) => file.create({ signal })],
  ['setUser', true, (file, signal) => file.setUser('zoe', 'new', { signal })],
  ['addUser', true, (file, signal) => file.addUser('zoe', 'new', { signal })],
  ['removeUser', true, (file, signal) => file.removeUser('alice', { signal })],
  ['setUsers', true, (file, signal) => file.setUsers([['zoe', 'new']], { signal })],
  ['removeUsers', true, (file, signal) => file.removeUsers(['alice'], { signal })],
  ['provision', true, (file, signal) => file.provision({ signal })],
  ['setHash', true, (file, signal) => file.setHash('zoe', HASH, { signal })],
  ['update', true, (file, signal) => file.update(draft => draft.delete('alice'), { signal })],
  ['verify', false, (file, signal) => file.verify('alice', 'secret', { signal })],
  ['hasUser', false, (file, signal) => file.hasUser('alice', { signal })],
  ['users', false, (file, signal) => file.users({ signal })],
  ['getHash', false, (file, signal) => file.getHash('alice', { signal })],
];
const WRITES = CALLS.filter(([, writes]) => writes);
const READS = CALLS.filter(([, writes]) => !writes);

describe('new PasswordFile', () => {
  test('does no I/O', async () => {
    new PasswordFile(join(folder, 'no/such/folder/passwd'));
    expectOnly(folder);
  });

  test('takes a file: URL', async () => {
    const odd = join(folder, 'pass wd#1');
    await new PasswordFile(pathToFileURL(odd), quick).setHash('alice', HASH);
    expect(await readFile(odd, 'utf8')).toBe(`alice:${HASH}\n`);
  });

  test('takes a path relative to the working directory', async () => {
    const before = process.cwd();
    try {
      process.chdir(folder);
      await new PasswordFile('passwd', quick).setHash('alice', HASH);
    } finally {
      process.chdir(before);
    }
    expect(await read()).toBe(`alice:${HASH}\n`);
  });

  test.each<[string, unknown, RegExp]>([
    [
      'no path',
      undefined,
      /^path must be a non-empty string or a file: URL\. Is the variable that should hold it set\?$/,
    ],
    ['an empty path', '', /^path must be a non-empty string/],
    ['a path with a NUL', '/tmp/pass\0wd', /^path must be a non-empty string/],
    ['a number', 5, /^path must be a non-empty string/],
    ['an http: URL', new URL('http://localhost/passwd'), /^path must be a file: URL, not http:\.$/],
  ])('refuses %s', (_what, wrong, message) => {
    const refusal = { code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(message) };
    expect(() => new PasswordFile(wrong as string)).toThrow(expect.objectContaining(refusal));
  });

  const millis = /^lock\.timeout must be a whole number from 0 to 2147483647\.$/;
  test.each<[object, RegExp]>([
    [{ broker: '1.6' }, /^broker must be one of "2\.0", "2\.1"\.$/],
    [{ broker: 2.1 }, /^broker must be/],
    [{ missing: 'create' }, /^missing must be one of "empty", "error"\.$/],
    [{ allowOwnerChange: 'yes' }, /^allowOwnerChange must be one of true, false\.$/],
    [{ hash: { algorithm: 'argon2id' } }, /^hash\.algorithm must be one of "pbkdf2-sha512", "sha512"\.$/],
    [{ hash: { iterations: 0 } }, /^hash\.iterations must be a whole number from 1 to 2147483647\.$/],
    [{ hash: { iterations: 2 ** 31 } }, /^hash\.iterations must be/],
    [{ hash: { saltBytes: 16 } }, /^hash\.saltBytes must be one of 12, 64\.$/],
    [{ lock: { timeout: -1 } }, millis],
    [{ lock: { timeout: Number.POSITIVE_INFINITY } }, millis],
    [{ lock: { timeout: '30s' } }, millis],
    [{ lock: { stale: 0 } }, /^lock\.stale must be a whole number from 100 to 2147483647\.$/],
    [{ create: { uid: -1 } }, /^create\.uid must be a whole number from 0 to 4294967294\.$/],
    [{ create: { gid: 'mosquitto' } }, /^create\.gid must be a whole number/],
    [{ create: { mode: 0o10000 } }, /^create\.mode must be a whole number from 0 to 4095\.$/],
  ])('refuses %j', (options, message) => {
    const refusal = { code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(message) };
    expect(() => new PasswordFile(path, options)).toThrow(expect.objectContaining(refusal));
  });

  test('takes options that are undefined for those that are not given', async () => {
    const unset = {
      broker: undefined,
      hash: { algorithm: undefined, iterations: undefined, saltBytes: undefined },
      create: { uid: undefined, gid: undefined, mode: undefined },
      missing: undefined,
      allowOwnerChange: undefined,
      lock: { timeout: undefined, stale: undefined },
    };
    await new PasswordFile(path, unset).setUser('alice', 'secret');
    expect(await read()).toMatch(/^alice:\$7\$101\$[^$]{16}\$[^$]{88}\n$/);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });
});

describe('a missing file', () => {
  test('is empty to reads, which do not make it', async () => {
    expect(await file.users()).toEqual([]);
    expect(await file.hasUser('alice')).toBe(false);
    expect(await file.getHash('alice')).toBeUndefined();
    expect(await file.verify('alice', 'secret')).toBe(false);
    expectOnly(folder);
  });

  test('is made by what puts something in it', async () => {
    expect(await file.setUser('alice', 'secret')).toBe('added');
    expect(await file.users()).toEqual(['alice']);
    expectOnly(folder, 'passwd');
  });

  test('is not made by what has nothing to put in it', async () => {
    expect(await file.removeUser('alice')).toBe(false);
    expect(await file.removeUsers(['alice'])).toEqual([]);
    expect(await file.setUsers([])).toEqual({ added: 0, updated: 0, unchanged: 0 });
    expect(await file.update(draft => draft.has('alice'))).toBe(false);
    expectOnly(folder);
  });

  test.each(CALLS.filter(([name]) => name !== 'create'))(
    "is an error to %s with missing: 'error'",
    async (_name, _writes, call) => {
      const strict = new PasswordFile(path, { ...quick, missing: 'error' });
      await expect(call(strict)).rejects.toMatchObject({
        code: 'ERR_FILE_MISSING',
        path,
        message: `There is no file ${path}. Make it with create(), or check the path and the mounts.`,
      });
      expectOnly(folder);
    },
  );

  test("missing: 'error' lets a call find the file that another made", async () => {
    const strict = new PasswordFile(path, { ...quick, missing: 'error' });
    const outcomes = await Promise.allSettled([
      strict.setHash('alice', HASH),
      strict.create(),
      strict.setHash('bob', HASH),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    expect(await strict.users()).toEqual(['bob']);
  });

  test.each(CALLS)('whose folder is missing is an error to %s that says so', async (_name, _writes, call) => {
    const lost = new PasswordFile(join(folder, 'sub/passwd'), quick);
    await expect(call(lost)).rejects.toMatchObject({
      code: 'ERR_FOLDER_MISSING',
      message: `The folder ${join(folder, 'sub')} does not exist. Make or mount it first.`,
    });
    expectOnly(folder);
  });
});

describe('create', () => {
  test('makes an empty file', async () => {
    expect(await file.create()).toBe(true);
    expect(await read()).toBe('');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expectOnly(folder, 'passwd');
  });

  test('leaves a file that is there as it is', async () => {
    await writeFile(path, 'anything');
    const before = await identity();
    expect(await file.create()).toBe(false);
    expect(await identity()).toEqual(before);
  });

  test('of many at once exactly one makes it', async () => {
    const made = await Promise.all(Array.from({ length: 100 }, () => file.create()));
    expect(made.filter(Boolean)).toHaveLength(1);
  });
});

describe('setUser', () => {
  test('adds, updates, and leaves alone', async () => {
    expect(await file.setUser('alice', 'secret')).toBe('added');
    expect(await file.setUser('alice', 'secret')).toBe('unchanged');
    expect(await file.setUser('alice', 'other')).toBe('updated');
    expect(await file.verify('alice', 'other')).toBe(true);
    expect(await file.verify('alice', 'secret')).toBe(false);
  });

  test('does not touch the file for what is unchanged', async () => {
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
  ])('with %s', async (_what, hash, outcome) => {
    await file.setUser('alice', 'secret');
    const wanted = new PasswordFile(path, { hash });
    expect(await wanted.setUser('alice', 'secret')).toBe(outcome);
    expect(await wanted.setUser('alice', 'secret')).toBe('unchanged');
  });

  test('with PBKDF2 for a password that SHA-512 hashes', async () => {
    await new PasswordFile(path, { hash: { algorithm: 'sha512' } }).setUser('alice', 'secret');
    expect(await file.setUser('alice', 'secret')).toBe('updated');
    expect(await file.setUser('alice', 'secret')).toBe('unchanged');
  });

  test('hashes as the options say', async () => {
    await new PasswordFile(path, { hash: { algorithm: 'sha512' } }).setUser('a', 'secret');
    await new PasswordFile(path, { hash: { algorithm: 'sha512', saltBytes: 64 } }).setUser('b', 'secret');
    await new PasswordFile(path, { hash: { iterations: 1000, saltBytes: 64 } }).setUser('c', 'secret');
    const hashes = (await read()).trimEnd().split('\n');
    expect(hashes[0]).toMatch(/^a:\$6\$[^$]{16}\$[^$]{88}$/);
    expect(hashes[1]).toMatch(/^b:\$6\$[^$]{88}\$[^$]{88}$/);
    expect(hashes[2]).toMatch(/^c:\$7\$1000\$[^$]{88}\$[^$]{88}$/);
  });

  test.each([`alice:${HASH}\nalice:${HASH}\n`, `alice:${HASH}x\n`, 'alice:secret\n', 'alice:\n'])(
    'mends %j',
    async text => {
      await writeFile(path, text);
      expect(await file.setUser('alice', 'secret')).toBe('updated');
      expect((await read()).match(/^alice:\$7\$1\$/gm)).toHaveLength(1);
      expect(await file.verify('alice', 'secret')).toBe(true);
    },
  );

  test('takes bytes', async () => {
    const password = new Uint8Array([0xff, 0x80]);
    await file.setUser('alice', password);
    expect(await file.setUser('alice', password)).toBe('unchanged');
    expect(await file.verify('alice', password)).toBe(true);
  });

  test('takes no notice of what becomes of the bytes later', async () => {
    const password = Buffer.from('secret');
    const set = file.setUser('alice', password);
    password.fill(0x78);
    await set;
    expect(await file.verify('alice', 'secret')).toBe(true);

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

  test('keeps what is not its to change', async () => {
    const before = `# users\r\n\r\nalice: ${HASH} :more\r\nwhat\r\n\0\xff\r\nbob:${OTHER_HASH}`;
    await writeFile(path, before, 'latin1');
    await file.setHash('carol', HASH);
    expect(await readFile(path, 'latin1')).toBe(`${before}\r\ncarol:${HASH}\r\n`);
    await file.removeUser('carol');
    expect(await readFile(path, 'latin1')).toBe(`${before}\r\n`);
  });

  test('works on a large file', async () => {
    const lines = Array.from({ length: 60_000 }, (_, n) => `user${n}:${HASH}\n`);
    await writeFile(path, lines.join(''));
    expect(await file.setUser('user12345', 'secret')).toBe('unchanged');
    expect(await file.setUser('user59999', 'new')).toBe('updated');
    expect(await file.setUser('zoe', 'secret')).toBe('added');
    const kept = lines.slice(0, -1).join('');
    const after = await read();
    expect(after.startsWith(kept)).toBe(true);
    expect(after.slice(kept.length)).toMatch(/^user59999:.+\nzoe:.+\n$/);
    expect(await file.verify('user59999', 'new')).toBe(true);
    expect(await file.users()).toHaveLength(60_001);
  });
});

describe('names and passwords that cannot work', () => {
  const name = { code: 'ERR_INVALID_USERNAME', username: 'a:b' };
  const password = { code: 'ERR_INVALID_PASSWORD' };

  test('are refused before anything is touched', async () => {
    await expect(file.setUser('a:b', 'secret')).rejects.toMatchObject(name);
    await expect(file.addUser('a:b', 'secret')).rejects.toMatchObject(name);
    await expect(file.setUsers([['a:b', 'secret']])).rejects.toMatchObject(name);
    await expect(file.setHash('a:b', HASH)).rejects.toMatchObject(name);
    await expect(file.setUser('alice', undefined as unknown as string)).rejects.toMatchObject(password);
    await expect(file.addUser('alice', '')).rejects.toMatchObject(password);
    await expect(file.setUsers([['alice', 'a\0b']])).rejects.toMatchObject(password);
    await expect(file.setHash('alice', 'secret')).rejects.toMatchObject({ code: 'ERR_INVALID_HASH' });
    expectOnly(folder);
  });

  test('are told with the user they were for', async () => {
    const entries: Array<[string, string]> = [
      ['alice', 'secret'],
      ['bob', ''],
    ];
    await expect(file.setUsers(entries)).rejects.toMatchObject({ ...password, username: 'bob' });
    expectOnly(folder);
  });

  test('may be looked up and removed', async () => {
    await writeFile(path, `al\x01ice:${HASH}\nbob:${HASH}\n`);
    expect(await file.hasUser('al\x01ice')).toBe(true);
    expect(await file.getHash('al\x01ice')).toBe(HASH);
    expect(await file.hasUser('a:b')).toBe(false);
    expect(await file.verify('a:b', 'secret')).toBe(false);
    expect(await file.removeUser('a:b')).toBe(false);
    expect(await file.removeUser('al\x01ice')).toBe(true);
    expect(await read()).toBe(`bob:${HASH}\n`);
  });

  test.each(['hasUser', 'getHash', 'verify', 'removeUser'] as const)(
    '%s takes a string only',
    async method => {
      const call = file[method](undefined as unknown as string, 'secret' as never);
      await expect(call).rejects.toMatchObject({ code: 'ERR_INVALID_USERNAME' });
    },
  );
});

describe('addUser', () => {
  test('adds', async () => {
    await file.addUser('alice', 'secret');
    expect(await file.verify('alice', 'secret')).toBe(true);
  });

  test('refuses a name that is there, also among blanks, and changes nothing', async () => {
    await writeFile(path, ` alice :${HASH}\n`);
    const before = await identity();
    await expect(file.addUser('alice', 'other')).rejects.toMatchObject({
      code: 'ERR_USER_EXISTS',
      username: 'alice',
      path,
      message: 'The user "alice" is in the file already. Pick another name, or use setUser to change it.',
    });
    expect(await identity()).toEqual(before);
  });

  test('of a thousand at once with the same name exactly one wins', async () => {
    const passwords = Array.from({ length: 1000 }, (_, n) => `password ${n}`);
    const outcomes = await Promise.allSettled(passwords.map(password => file.addUser('alice', password)));
    const winners = passwords.filter((_, n) => outcomes[n]?.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason.code).toBe('ERR_USER_EXISTS');
    }
    expect((await read()).match(/\n/g)).toHaveLength(1);
    expect(await file.verify('alice', winners[0] as string)).toBe(true);
    expectOnly(folder, 'passwd');
  });
});

describe('many at once', () => {
  test('a thousand setUser are all in the file, by a handful of commits', async () => {
    const commits = countCommits();
    const names = Array.from({ length: 1000 }, (_, n) => `user${n}`);
    const outcomes = await Promise.all(names.map(name => file.setUser(name, `password of ${name}`)));
    expect(new Set(outcomes)).toEqual(new Set(['added']));
    expect((await file.users()).sort()).toEqual([...names].sort());
    expect(commits.count).toBeLessThan(100);
    for (const name of ['user0', 'user499', 'user999']) {
      expect(await file.verify(name, `password of ${name}`)).toBe(true);
    }
    expectOnly(folder, 'passwd');
  });

  test('callers share a queue, whatever path they came by', async () => {
    await mkdir(join(folder, 'sub'));
    await symlink('../passwd', join(folder, 'sub/link'));
    await symlink('sub', join(folder, 'folder'));
    const paths = [path, join(folder, 'sub/link'), join(folder, 'folder/link'), `${folder}/sub/../passwd`];
    const files = paths.flatMap(each => [
      new PasswordFile(each, quick),
      new PasswordFile(pathToFileURL(each), quick),
    ]);
    const commits = countCommits();
    await Promise.all(
      files.flatMap((each, n) => Array.from({ length: 20 }, (_, m) => each.setHash(`user${n}-${m}`, HASH))),
    );
    expect(await file.users()).toHaveLength(160);
    expect(commits.count).toBeLessThan(20);
  });

  test('one that fails takes nobody else with it', async () => {
    await file.setHash('alice', HASH);
    const outcomes = await Promise.allSettled([
      file.setHash('bob', HASH),
      file.update(draft => {
        draft.set('bob', OTHER_HASH).set('eve', HASH).delete('alice');
        throw new Error('no');
      }),
      file.addUser('alice', 'secret'),
      file.setHash('carol', HASH),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled']);
    expect(await read()).toBe(`alice:${HASH}\nbob:${HASH}\ncarol:${HASH}\n`);
  });

  test('each sees those before it', async () => {
    const outcomes = await Promise.all([
      file.setHash('alice', HASH),
      file.setHash('alice', HASH),
      file.setHash('alice', OTHER_HASH),
      file.removeUser('alice'),
      file.removeUser('alice'),
      file.update(draft => draft.has('alice')),
      file.setHash('alice', HASH),
    ]);
    expect(outcomes).toEqual(['added', 'unchanged', 'updated', true, false, false, 'added']);
  });
});

describe('removeUser and removeUsers', () => {
  beforeEach(() => writeFile(path, `alice:${HASH}\nbob:${HASH}\n alice:x\ncarol:${HASH}\n`));

  test('take all lines of the name out', async () => {
    expect(await file.removeUser('alice')).toBe(true);
    expect(await read()).toBe(`bob:${HASH}\ncarol:${HASH}\n`);
    expect(await file.removeUser('alice')).toBe(false);
  });

  test('tell who was there', async () => {
    const commits = countCommits();
    expect(await file.removeUsers(new Set(['carol', 'nobody', 'alice']))).toEqual(['carol', 'alice']);
    expect(commits.count).toBe(1);
    expect(await read()).toBe(`bob:${HASH}\n`);
  });

  test('take a name that comes twice once', async () => {
    expect(await file.removeUsers(['bob', 'bob'])).toEqual(['bob']);
  });

  test('leave the file as it is where nobody goes', async () => {
    const before = await identity();
    expect(await file.removeUsers(['nobody'])).toEqual([]);
    expect(await file.removeUsers([])).toEqual([]);
    expect(await identity()).toEqual(before);
  });

  test('do not take a string for a list of names', async () => {
    await writeFile(path, `b:${HASH}\no:${HASH}\n`);
    await expect(file.removeUsers('bob')).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('removeUser'),
    });
    expect(await file.users()).toEqual(['b', 'o']);
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
  ])('takes %s', async (_what, from) => {
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

  test('tells how far it is', async () => {
    const many = Array.from({ length: 100 }, (_, n): [string, string] => [`user${n}`, 'secret']);
    const told: Array<[number, number]> = [];
    await file.setUsers(many, { onProgress: (done, total) => told.push([done, total]) });
    expect(told).toEqual(many.map((_, n) => [n + 1, 100]));
  });

  test.each<[string, (then: Error) => Parameters<typeof file.setUsers>]>([
    [
      'what hands out the entries',
      error => [
        (function* () {
          yield ['dave', 'secret'] as const;
          throw error;
        })(),
      ],
    ],
    [
      'what hands them out with time',
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
  ])('changes nothing where %s throws', async (_what, args) => {
    const error = new Error('no');
    const before = await identity();
    await expect(file.setUsers(...args(error))).rejects.toBe(error);
    expect(await identity()).toEqual(before);
  });

  test('changes nothing where one of them cannot work', async () => {
    const before = await identity();
    await expect(file.setUsers([...entries(), ['dave', '']])).rejects.toMatchObject({
      code: 'ERR_INVALID_PASSWORD',
    });
    await expect(file.setUsers([...entries(), ['#', 'x']])).rejects.toMatchObject({
      code: 'ERR_INVALID_USERNAME',
    });
    expect(await identity()).toEqual(before);
  });

  test('changes what was found unchanged, should somebody else change it in the meantime', async () => {
    steps.before = call => {
      // It has had its first look at the file, and is about to become the only writer.
      if (call !== 'mkdir') return;
      steps.before = undefined;
      writeFileSync(path, `alice:${OTHER_HASH}\nbob:${HASH}\n`);
    };
    expect(await file.setUsers([['alice', 'secret']])).toEqual({ added: 0, updated: 1, unchanged: 0 });
    expect(await file.verify('alice', 'secret')).toBe(true);
  });
});

describe('provision', () => {
  test('makes a login that works', async () => {
    const { username, password } = await file.provision();
    expect(username).toMatch(/^device_[a-z0-9]{8}$/);
    expect(await file.users()).toEqual([username]);
    expect(await file.verify(username, password)).toBe(true);
  });

  test('takes the options of generateCredentials', async () => {
    const { username, password } = await file.provision({
      username: { prefix: 'meter/', length: 12 },
      password: { length: 40 },
    });
    expect(username).toMatch(/^meter\/.{12}$/);
    expect(password).toHaveLength(40);
    await expect(file.provision({ password: { length: 1 } })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
  });

  test('makes a name that is new in the file, and says so when there is none left', async () => {
    const few = { username: { prefix: 'x', length: 1, alphabet: 'ab' } };
    const names = [(await file.provision(few)).username, (await file.provision(few)).username];
    expect(names.sort()).toEqual(['xa', 'xb']);
    await expect(file.provision(few)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(/were all taken\. Allow more of them: a longer username\.length\.$/),
    });
  });
});

describe('verify, hasUser, users and getHash', () => {
  test('see the file as it is', async () => {
    await writeFile(path, `# users\nalice:${HASH}\n\nbob: ${OTHER_HASH} \r\nwhat\n`);
    expect(await file.users()).toEqual(['alice', 'bob']);
    expect(await file.hasUser('bob')).toBe(true);
    expect(await file.getHash('bob')).toBe(OTHER_HASH);
    expect(await file.verify('bob', 'other secret')).toBe(true);
    expect(await file.verify('bob', 'secret')).toBe(false);
  });

  test('users tells each name once and in order, and none that no client can send', async () => {
    await writeFile(path, `bob:x\nalice:y\n bob :z\n#carol:x\n\xff:x\n:::\n`, 'latin1');
    expect(await file.users()).toEqual(['bob', 'alice']);
  });

  test('never see an old file, however quickly it is overwritten', async () => {
    // In place and of the same size: only the time of the change shows it, and clocks are coarse.
    for (let round = 0; round < 100; round++) {
      const hash = round % 2 === 0 ? HASH : OTHER_HASH;
      await writeFile(path, `alice:${hash}\n`);
      expect(await file.getHash('alice'), `in round ${round}`).toBe(hash);
      expect(await file.verify('alice', 'secret'), `in round ${round}`).toBe(hash === HASH);
    }
  });

  test('never see an old file, however quickly it is replaced', async () => {
    for (let round = 0; round < 100; round++) {
      const hash = round % 2 === 0 ? HASH : OTHER_HASH;
      await writeFile(`${path}.new`, `alice:${hash}\n`);
      await rename(`${path}.new`, path);
      expect(await file.getHash('alice'), `in round ${round}`).toBe(hash);
    }
    await rm(path);
    expect(await file.hasUser('alice')).toBe(false);
  });

  test('see a whole file, should it grow or shrink while it is read', async () => {
    const many = Array.from({ length: 60_000 }, (_, n) => `user${n}:${HASH}\n`).join('');
    await writeFile(path, many);
    const growing = file.hasUser('zoe');
    // The first of several reads is under way.
    await nextTurn();
    appendFileSync(path, `zoe:${HASH}\n`);
    expect(await growing).toBe(true);
    await writeFile(path, many);
    const shrinking = file.users();
    await nextTurn();
    truncateSync(path, many.indexOf('user100:'));
    expect(await shrinking).toHaveLength(100);
  });

  test('see where a symbolic link leads to now', async () => {
    await writeFile(join(folder, 'one'), `alice:${HASH}\n`);
    await writeFile(join(folder, 'two'), `bob:${HASH}\n`);
    await symlink('one', path);
    expect(await file.users()).toEqual(['alice']);
    await rm(path);
    await symlink('two', path);
    expect(await file.users()).toEqual(['bob']);
  });

  test('verify lets in nobody without a password, and takes it as the broker does', async () => {
    await file.setHash('alice', HASH);
    expect(await file.verify('alice', '')).toBe(false);
    expect(await file.verify('alice', 'secret\0more')).toBe(true);
    expect(await file.verify('alice', Buffer.from('secret'))).toBe(true);
    await expect(file.verify('alice', undefined as unknown as string)).rejects.toMatchObject({
      code: 'ERR_INVALID_PASSWORD',
    });
  });

  test.each(['2.0', '2.1'] as const)(
    'verify does not throw over a line of the file, broker %s',
    async broker => {
      const argon2id = `$argon2id$v=19$m=47104,t=1,p=1$${'A'.repeat(86)}$${'A'.repeat(86)}`;
      const lines = [
        'alice:',
        'bob:secret',
        'carol:$7$101$x$y',
        `dave:${argon2id}`,
        'eve:$7$',
        'frank:$2b$10$x',
        'gina',
      ];
      for (const line of lines) {
        await writeFile(path, `${line}\n`);
        const name = line.split(':')[0] as string;
        expect(await new PasswordFile(path, { broker }).verify(name, 'secret'), line).toBe(false);
      }
    },
  );

  test('do not wait for a writer', async () => {
    await file.setHash('alice', HASH);
    await hold();
    expect(await file.users()).toEqual(['alice']);
    expect(await file.verify('alice', 'secret')).toBe(true);
  });
});

describe('setHash', () => {
  test('adds, updates, and leaves alone', async () => {
    expect(await file.setHash('alice', HASH)).toBe('added');
    const before = await identity();
    expect(await file.setHash('alice', HASH)).toBe('unchanged');
    expect(await identity()).toEqual(before);
    expect(await file.setHash('alice', OTHER_HASH)).toBe('updated');
    expect(await read()).toBe(`alice:${OTHER_HASH}\n`);
  });

  test('mends a doubled name even where the hash stands there already', async () => {
    await writeFile(path, `alice:${OTHER_HASH}\nalice:${HASH}\n`);
    expect(await file.setHash('alice', HASH)).toBe('updated');
    expect(await read()).toBe(`alice:${HASH}\n`);
  });
});

describe('update', () => {
  beforeEach(() => writeFile(path, `alice:${HASH}\nbob:${HASH}\nbob:${OTHER_HASH}\n`));

  test('makes any number of edits in one commit, and returns what its function returns', async () => {
    const commits = countCommits();
    const result = await file.update(draft => {
      expect([...draft.keys()]).toEqual(['alice', 'bob']);
      expect([draft.has('alice'), draft.has('carol')]).toEqual([true, false]);
      expect([draft.get('bob'), draft.get('carol')]).toEqual([OTHER_HASH, undefined]);
      expect(draft.set('carol', HASH).set('alice', OTHER_HASH)).toBe(draft);
      expect([draft.delete('bob'), draft.delete('bob')]).toEqual([true, false]);
      return [...draft.keys()];
    });
    expect(result).toEqual(['alice', 'carol']);
    expect(await read()).toBe(`alice:${OTHER_HASH}\ncarol:${HASH}\n`);
    expect(commits.count).toBe(1);
  });

  test('leaves the file as it is where nothing changes', async () => {
    const before = await identity();
    await file.update(draft => draft.set('alice', HASH));
    await file.update(draft => draft.set('zoe', HASH).delete('zoe'));
    expect(await identity()).toEqual(before);
  });

  test('changes nothing where its function throws, and rejects with the same', async () => {
    const before = await identity();
    const error = new Error('no');
    const edit = file.update(draft => {
      draft.set('carol', HASH).delete('alice');
      throw error;
    });
    await expect(edit).rejects.toBe(error);
    expect(await identity()).toEqual(before);
  });

  test.each<[string, (draft: PasswordDraft) => unknown]>([
    ['an async function', async draft => draft.set('carol', HASH)],
    [
      'an async function that throws',
      async draft => {
        draft.set('carol', HASH);
        throw new Error('nobody catches this');
      },
    ],
    // biome-ignore lint/suspicious/noThenProperty: that is the point
    ['a thenable', draft => ({ draft: draft.set('carol', HASH), then: () => undefined })],
  ])('refuses %s, and changes nothing', async (_what, edit) => {
    const before = await identity();
    await expect(file.update(edit)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(
        /returned a promise, and nothing was changed\. Do what has to be awaited .* before/,
      ),
    });
    expect(await identity()).toEqual(before);
  });

  test('refuses what cannot work', async () => {
    const before = await identity();
    const wrong: Array<[(draft: PasswordDraft) => unknown, string]> = [
      [draft => draft.set('a:b', HASH), 'ERR_INVALID_USERNAME'],
      [draft => draft.set('carol', 'secret'), 'ERR_INVALID_HASH'],
      [draft => draft.set('carol', `${HASH}\n`), 'ERR_INVALID_HASH'],
      [draft => draft.has(undefined as unknown as string), 'ERR_INVALID_USERNAME'],
      [draft => draft.delete(null as unknown as string), 'ERR_INVALID_USERNAME'],
    ];
    for (const [edit, code] of wrong) {
      const call = file.update(draft => [draft.set('zoe', HASH), edit(draft)]);
      await expect(call).rejects.toMatchObject({ code });
    }
    expect(await identity()).toEqual(before);
  });

  test('the draft is closed when its function has returned', async () => {
    let draft: PasswordDraft | undefined;
    let keys: Iterator<string> | undefined;
    await file.update(open => {
      draft = open;
      keys = open.keys()[Symbol.iterator]();
      keys.next();
    });
    const closed = expect.objectContaining({
      code: 'ERR_INVALID_ARGUMENT',
      message: 'This draft is closed: it can be used only until the function given to update() returns.',
    });
    const before = await identity();
    expect(() => draft?.has('alice')).toThrow(closed);
    expect(() => draft?.get('alice')).toThrow(closed);
    expect(() => draft?.set('carol', HASH)).toThrow(closed);
    expect(() => draft?.delete('alice')).toThrow(closed);
    expect(() => [...(draft?.keys() ?? [])]).toThrow(closed);
    expect(() => keys?.next()).toThrow(closed);
    expect(await identity()).toEqual(before);
  });

  test('the draft of one is not the draft of another', async () => {
    let first: PasswordDraft | undefined;
    const outcomes = await Promise.allSettled([
      file.update(draft => {
        first = draft;
      }),
      file.update(() => first?.set('eve', HASH)),
      file.setHash('carol', HASH),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await file.users()).toEqual(['alice', 'bob', 'carol']);
  });

  test('a call made in its function waits for its turn', async () => {
    let inner: Promise<unknown> | undefined;
    await file.update(draft => {
      inner = file.update(next => next.get('carol'));
      draft.set('carol', HASH);
    });
    expect(await inner).toBe(HASH);
  });

  test('is one step among concurrent ones', async () => {
    await file.setHash('counter', hashPasswordSync('x', { iterations: 1 }));
    const raise = () =>
      file.update(draft => {
        const [, , iterations = '', ...rest] = (draft.get('counter') as string).split('$');
        draft.set('counter', ['', '7', Number(iterations) + 1, ...rest].join('$'));
      });
    await Promise.all(Array.from({ length: 200 }, raise));
    expect(await file.getHash('counter')).toMatch(/^\$7\$201\$/);
  });
});

const OTHER_WRITER = 'what no writer of this library made';

/** Another writer that is not to be had anything of, until it is removed. */
async function hold(): Promise<void> {
  await mkdir(`${path}.writer`);
  await writeFile(join(`${path}.writer`, OTHER_WRITER), '');
}

describe('a signal', () => {
  const reason = new Error('the caller has gone');

  test.each(CALLS)('that is aborted already ends %s', async (_name, _writes, call) => {
    await writeFile(path, `alice:${HASH}\n`);
    const before = await identity();
    await expect(call(file, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(await identity()).toEqual(before);
    expectOnly(folder, 'passwd');
  });

  test.each(WRITES)('ends the waiting of %s for another writer', async (_name, _writes, call) => {
    await writeFile(path, `alice:${HASH}\n`);
    await hold();
    const before = await identity();
    const controller = new AbortController();
    const left = new Promise<void>(resolve => {
      steps.before = name => {
        // It looks who is in its way.
        if (name === 'list') queueMicrotask(() => controller.abort(reason));
        // And leaves.
        if (name === 'rmdir') setImmediate(resolve);
      };
    });
    await expect(call(file, controller.signal)).rejects.toBe(reason);
    await left;
    expect(await identity()).toEqual(before);
    expectOnly(folder, 'passwd', 'passwd.writer');
  });

  test.each(CALLS)('of a call that is over is let go by %s', async (_name, _writes, call) => {
    await writeFile(path, `alice:${HASH}\n`);
    const { signal } = new AbortController();
    await call(file, signal);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('takes only its own edit out', async () => {
    await hold();
    const controller = new AbortController();
    const calls = [
      file.setHash('alice', HASH),
      file.setHash('bob', HASH, { signal: controller.signal }),
      file.setHash('carol', HASH),
    ];
    steps.before = name => {
      if (name !== 'list') return;
      steps.before = undefined;
      queueMicrotask(() => controller.abort(reason));
    };
    await expect(calls[1]).rejects.toBe(reason);
    await rm(join(`${path}.writer`, OTHER_WRITER));
    expect(await Promise.all([calls[0], calls[2]])).toEqual(['added', 'added']);
    expect(await file.users()).toEqual(['alice', 'carol']);
  });

  test('takes an edit out that waits behind one that is being written', async () => {
    const controller = new AbortController();
    let waiting: Promise<unknown> | undefined;
    steps.before = name => {
      if (name !== 'sync stage') return;
      steps.before = undefined;
      waiting = expect(file.setHash('bob', HASH, { signal: controller.signal })).rejects.toBe(reason);
      controller.abort(reason);
    };
    expect(await file.setHash('alice', HASH)).toBe('added');
    await waiting;
    expect(await file.setHash('carol', HASH)).toBe('added');
    expect(await file.users()).toEqual(['alice', 'carol']);
  });

  test('takes an edit out whose turn in a commit has not come', async () => {
    const controller = new AbortController();
    const called = vi.fn();
    const outcomes = await Promise.allSettled([
      // While this is written, the others gather for the next commit.
      file.setHash('alice', HASH),
      file.update(() => controller.abort(reason)),
      file.setHash('bob', HASH, { signal: controller.signal }),
      file.update(called, { signal: controller.signal }),
      file.setHash('carol', HASH),
    ]);
    expect(outcomes.slice(2, 4)).toEqual(Array(2).fill({ status: 'rejected', reason }));
    expect(called).not.toHaveBeenCalled();
    expect(await file.users()).toEqual(['alice', 'carol']);
  });

  test('ends setUsers while it hashes', async () => {
    const many = Array.from({ length: 1000 }, (_, n): [string, string] => [`user${n}`, 'secret']);
    const controller = new AbortController();
    let hashed = 0;
    const call = file.setUsers(many, {
      signal: controller.signal,
      onProgress() {
        if (++hashed === 50) controller.abort(reason);
      },
    });
    await expect(call).rejects.toBe(reason);
    expect(hashed).toBeLessThan(1000);
    expectOnly(folder);
  });

  test('ends setUsers while it waits for entries, which are told', async () => {
    const controller = new AbortController();
    let told = false;
    const entries = (async function* () {
      try {
        yield ['alice', 'secret'] as const;
        controller.abort(reason);
        yield ['bob', 'secret'] as const;
      } finally {
        told = true;
      }
    })();
    await expect(file.setUsers(entries, { signal: controller.signal })).rejects.toBe(reason);
    expect(told).toBe(true);
    expectOnly(folder);
  });

  test('ends setUsers while no entry comes', async () => {
    const controller = new AbortController();
    const never: AsyncIterable<[string, string]> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
    };
    const call = file.setUsers(never, { signal: controller.signal });
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('that comes in the middle of a long edit undoes all of it', async () => {
    const names = Array.from({ length: 60_000 }, (_, n) => `user${n}`);
    await writeFile(path, names.map(name => `${name}:x\n`).join(''));
    const before = await identity();
    const controller = new AbortController();
    // The folder is swept before the edits are made; they take longer than one turn of the event loop.
    steps.before = name => {
      if (name === 'list') setImmediate(() => controller.abort(reason));
    };
    await expect(file.removeUsers(names, { signal: controller.signal })).rejects.toBe(reason);
    await file.removeUser('nobody');
    expect(await identity()).toEqual(before);
  });

  test('that comes while the file is being written lets the edit stand', async () => {
    const controller = new AbortController();
    steps.before = name => {
      if (name === 'sync stage') controller.abort(reason);
    };
    expect(await file.setHash('alice', HASH, { signal: controller.signal })).toBe('added');
    expect(await file.users()).toEqual(['alice']);
  });
});

describe('symbolic links', () => {
  beforeEach(() => mkdir(join(folder, 'data')));
  const data = (name: string) => join(folder, 'data', name);

  test.each([
    ['relative', 'data/target'],
    ['with dots', './data/../data/target'],
    ['absolute', undefined],
  ])('%s: the target is replaced, the link stays', async (_what, to) => {
    await writeFile(data('target'), `alice:${HASH}\n`);
    const link = to ?? data('target');
    await symlink(link, path);
    const { ino } = await stat(data('target'));
    expect(await file.setHash('bob', HASH)).toBe('added');
    expect(await readlink(path)).toBe(link);
    expect((await lstat(data('target'))).isFile()).toBe(true);
    expect((await stat(data('target'))).ino).not.toBe(ino);
    expect(await file.users()).toEqual(['alice', 'bob']);
    expectOnly(folder, 'data', 'passwd');
    expectOnly(join(folder, 'data'), 'target');
  });

  test('a chain, over links of folders', async () => {
    await writeFile(data('target'), `alice:${HASH}\n`);
    await symlink('data', join(folder, 'folder'));
    await symlink('folder/second', path);
    await symlink('../folder/../data/target', data('second'));
    await file.setHash('bob', HASH);
    expect(await readFile(data('target'), 'utf8')).toBe(`alice:${HASH}\nbob:${HASH}\n`);
    expectOnly(join(folder, 'data'), 'second', 'target');
    expectOnly(folder, 'data', 'folder', 'passwd');
  });

  test('a dangling one: the target is made', async () => {
    await symlink('data/target', path);
    expect(await file.users()).toEqual([]);
    expect(await file.setHash('alice', HASH)).toBe('added');
    expect(await readFile(data('target'), 'utf8')).toBe(`alice:${HASH}\n`);
    expect(await readlink(path)).toBe('data/target');
  });

  test.each(CALLS)('one into a folder that is missing is an error to %s', async (_name, _writes, call) => {
    await symlink('nowhere/target', path);
    await expect(call(file)).rejects.toMatchObject({
      code: 'ERR_FOLDER_MISSING',
      message: expect.stringContaining(join(folder, 'nowhere')),
    });
  });

  test.each(CALLS)('a circle is an error to %s', async (_name, _writes, call) => {
    await symlink('data/other', path);
    await symlink('../passwd', data('other'));
    await expect(call(file)).rejects.toMatchObject({
      code: 'ERR_NOT_REPLACEABLE',
      message: `${path} is a symbolic link that leads in a circle.`,
    });
    expectOnly(folder, 'data', 'passwd');
    expectOnly(join(folder, 'data'), 'other');
  });
});

describe('owner and mode', () => {
  test.each([0o600, 0o640, 0o644, 0o660, 0o400, 0o666].map(mode => [mode.toString(8), mode] as const))(
    'mode %s is kept',
    async (_mode, mode) => {
      await writeFile(path, `alice:${HASH}\n`);
      await chmod(path, mode);
      await file.setHash('bob', HASH);
      expect((await stat(path)).mode & 0o7777).toBe(mode);
    },
  );

  test.each([
    ['none', 0],
    ['077', 0o077],
  ] as const)('a new file gets its mode whatever the umask: %s', async (_umask, umask) => {
    const before = process.umask(umask);
    try {
      await file.create();
      await new PasswordFile(`${path}2`, { create: { mode: 0o644 } }).create();
    } finally {
      process.umask(before);
    }
    expect((await stat(path)).mode & 0o7777).toBe(0o600);
    expect((await stat(`${path}2`)).mode & 0o7777).toBe(0o644);
  });

  test('create does not touch a file that is there', async () => {
    await writeFile(path, `alice:${HASH}\n`, { mode: 0o640 });
    await new PasswordFile(path, { create: { mode: 0o644 } }).setHash('bob', HASH);
    expect((await stat(path)).mode & 0o7777).toBe(0o640);
  });

  needs(root).test('owner and group are kept', async () => {
    await writeFile(path, `alice:${HASH}\n`);
    await chown(path, 1234, 2345);
    await file.setHash('bob', HASH);
    expect(await stat(path)).toMatchObject({ uid: 1234, gid: 2345 });
  });

  needs(root).test('a new file is the folder’s owner’s, or whose create says', async () => {
    await chown(folder, 1234, 2345);
    await file.create();
    expect(await stat(path)).toMatchObject({ uid: 1234, gid: 2345 });
    await new PasswordFile(`${path}2`, { create: { uid: 3456 } }).create();
    expect(await stat(`${path}2`)).toMatchObject({ uid: 3456, gid: 2345 });
    await new PasswordFile(`${path}3`, { create: { uid: 0, gid: 0 } }).create();
    expect(await stat(`${path}3`)).toMatchObject({ uid: 0, gid: 0 });
  });
});

test.each(READS)('%s reads no file that is none', async (_name, _writes, call) => {
  await mkdir(path);
  await expect(call(file)).rejects.toMatchObject({ code: 'ERR_NOT_REPLACEABLE' });
});

test('what setUser writes is what hashPassword makes', async () => {
  await file.setUser('alice', 'secret');
  expect(await verifyPassword('secret', (await file.getHash('alice')) as string)).toBe(true);
});

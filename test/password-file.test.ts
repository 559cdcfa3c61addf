import { AsyncLocalStorage } from 'node:async_hooks';
import { mkdirSync, rmdirSync } from 'node:fs';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { verifyPassword } from '../src/hash/hash.js';
import { PasswordFile } from '../src/password-file.js';
import { detached } from './support/detached.js';
import { expectOnly } from './support/directory.js';
import {
  CALLS,
  countCommits,
  HASH,
  identityOf,
  newFile,
  OTHER_HASH,
  quick,
} from './support/password-file.js';
import { linux, needs } from './support/require.js';

let directory: string;
let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ directory, path, file } = newFile());
});

const read = () => readFile(path, 'utf8');
const identity = () => identityOf(path);

describe('new PasswordFile', () => {
  test('does no I/O', async () => {
    new PasswordFile(join(directory, 'no/such/directory/passwd'));
    expectOnly(directory);
  });

  test('takes a file: URL', async () => {
    const odd = join(directory, 'pass wd#1');
    await new PasswordFile(pathToFileURL(odd), quick).setHash('alice', HASH);
    expect(await readFile(odd, 'utf8')).toBe(`alice:${HASH}\n`);
  });

  test('takes a path relative to the working directory', async () => {
    const before = process.cwd();
    try {
      process.chdir(directory);
      await new PasswordFile('passwd', quick).setHash('alice', HASH);
    } finally {
      process.chdir(before);
    }
    expect(await read()).toBe(`alice:${HASH}\n`);
  });

  test('names the file by its path from the root in errors', async () => {
    const before = process.cwd();
    onTestFinished(() => process.chdir(before));
    process.chdir(directory);
    const missing = new PasswordFile('./passwd', { missing: 'error' });
    await expect(missing.users()).rejects.toMatchObject({ code: 'ERR_FILE_MISSING', path });
  });

  test('keeps a relative path as it was when the instance was made, whatever the working directory becomes', async () => {
    const before = process.cwd();
    onTestFinished(() => process.chdir(before));
    process.chdir(directory);
    const relative = new PasswordFile(`../${basename(directory)}/passwd`, quick);
    const edited = relative.setUser('alice', 'secret');
    process.chdir(before);
    expect(await edited).toBe('added');
    expect(await relative.users()).toEqual(['alice']);
    expect(await file.users()).toEqual(['alice']);
  });

  needs(linux).test(
    'fails with ERR_DIRECTORY_MISSING for a relative path in a working directory that was removed',
    () => {
      const before = process.cwd();
      const removed = join(directory, 'removed');
      mkdirSync(removed);
      process.chdir(removed);
      onTestFinished(() => process.chdir(before));
      rmdirSync(removed);
      expect(() => new PasswordFile('passwd')).toThrow(
        expect.objectContaining({
          code: 'ERR_DIRECTORY_MISSING',
          message: 'The directory . does not exist. Make or mount it first.',
        }),
      );
    },
  );

  test.each<[string, unknown]>([
    ['no path', undefined],
    ['an empty path', ''],
    ['a path with a NUL', '/tmp/pass\0wd'],
    ['a path with a slash at its end', '/tmp/passwd/'],
    ['a number', 5],
    ['an http: URL', new URL('http://localhost/passwd')],
    ['a file: URL with a host', new URL('file://elsewhere/passwd')],
    ['a URL with an escaped slash', new URL('file:///tmp%2Fpasswd')],
    ['a URL with a NUL', new URL('file:///tmp/pass%00wd')],
  ])('refuses %s', (_what, wrong) => {
    const message =
      'path must be a file: URL or a string that is not empty, has no NUL and does not end with a slash. Is the variable that should hold it set?';
    const refusal = { code: 'ERR_INVALID_ARGUMENT', message };
    expect(() => new PasswordFile(wrong as string)).toThrow(expect.objectContaining(refusal));
  });

  const millis = /^lock\.timeout must be a whole number from 0 to 2147483647\.$/;
  test.each<[object, RegExp]>([
    [{ broker: '1.6' }, /^broker must be one of "2\.0", "2\.1"\.$/],
    [{ broker: 2.1 }, /^broker must be/],
    [{ missing: 'create' }, /^missing must be one of "empty", "error"\.$/],
    [{ allowOwnerChange: 'yes' }, /^allowOwnerChange must be one of true, false\.$/],
    [{ hash: { algorithm: 'bcrypt' } }, /^hash\.algorithm must be one of "pbkdf2-sha512", "sha512"\.$/],
    [{ hash: { iterations: 0 } }, /^hash\.iterations must be a whole number from 1 to 2147483647\.$/],
    [{ hash: { iterations: 2 ** 31 } }, /^hash\.iterations must be/],
    [{ hash: { saltBytes: 16 } }, /^hash\.saltBytes must be one of 12, 64\.$/],
    [{ lock: { timeout: -1 } }, millis],
    [{ lock: { timeout: Number.POSITIVE_INFINITY } }, millis],
    [{ lock: { timeout: '30s' } }, millis],
    [{ lock: { stale: 999 } }, /^lock\.stale must be a whole number from 1000 to 2147483647\.$/],
    [{ create: { uid: -1 } }, /^create\.uid must be a whole number from 0 to 4294967294\.$/],
    [{ create: { gid: 'mosquitto' } }, /^create\.gid must be a whole number/],
    [{ create: { mode: 0o10000 } }, /^create\.mode must be a whole number from 0 to 4095\.$/],
  ])('refuses %j', (options, message) => {
    const refusal = { code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(message) };
    expect(() => new PasswordFile(path, options)).toThrow(expect.objectContaining(refusal));
  });

  test('treats options that are undefined like options that are not given', async () => {
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
  test('is empty to reads, which do not create it', async () => {
    expect(await file.users()).toEqual([]);
    expect(await file.hasUser('alice')).toBe(false);
    expect(await file.getHash('alice')).toBeUndefined();
    expect(await file.verify('alice', 'secret')).toBe(false);
    expectOnly(directory);
  });

  test('is created by an edit that adds a user', async () => {
    expect(await file.setUser('alice', 'secret')).toBe('added');
    expect(await file.users()).toEqual(['alice']);
    expectOnly(directory, 'passwd');
  });

  test('is not created by an edit that changes nothing', async () => {
    expect(await file.removeUser('alice')).toBe(false);
    expect(await file.removeUsers(['alice'])).toEqual([]);
    expect(await file.setUsers([])).toEqual({ added: 0, updated: 0, unchanged: 0 });
    expect(await file.update(draft => draft.has('alice'))).toBe(false);
    expectOnly(directory);
  });

  test.each(CALLS.filter(([name]) => name !== 'create'))(
    "is ERR_FILE_MISSING for %s with missing: 'error'",
    async (_name, _writes, call) => {
      const strict = new PasswordFile(path, { ...quick, missing: 'error' });
      await expect(call(strict)).rejects.toMatchObject({
        code: 'ERR_FILE_MISSING',
        path,
        message: `There is no file ${path}. Make it with create() (on the command line -c), or check the path and the mounts.`,
      });
      expectOnly(directory);
    },
  );

  test("is created by create() for a later edit that is called at the same time, with missing: 'error'", async () => {
    const strict = new PasswordFile(path, { ...quick, missing: 'error' });
    const outcomes = await Promise.allSettled([
      strict.setHash('alice', HASH),
      strict.create(),
      strict.setHash('bob', HASH),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    expect(await strict.users()).toEqual(['bob']);
  });

  test.each(CALLS)('in a missing directory is ERR_DIRECTORY_MISSING for %s', async (_name, _writes, call) => {
    const lost = new PasswordFile(join(directory, 'sub/passwd'), quick);
    await expect(call(lost)).rejects.toMatchObject({
      code: 'ERR_DIRECTORY_MISSING',
      message: `The directory ${join(directory, 'sub')} does not exist. Make or mount it first.`,
    });
    expectOnly(directory);
  });
});

describe('create', () => {
  test('creates an empty file', async () => {
    expect(await file.create()).toBe(true);
    expect(await read()).toBe('');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expectOnly(directory, 'passwd');
  });

  test('leaves an existing file as it is', async () => {
    await writeFile(path, 'anything');
    const before = await identity();
    expect(await file.create()).toBe(false);
    expect(await identity()).toEqual(before);
  });

  test('creates the file exactly once, and only that call of many at once resolves with true', async () => {
    const made = await Promise.all(Array.from({ length: 100 }, () => file.create()));
    expect(made.filter(Boolean)).toHaveLength(1);
  });
});

describe('invalid names and passwords', () => {
  const name = { code: 'ERR_INVALID_USERNAME', username: 'a' };
  const password = { code: 'ERR_INVALID_PASSWORD' };

  test('are refused without any change in the directory', async () => {
    const onItsOwn = { ...name, message: expect.stringMatching(/^The user name contains/) };
    await expect(file.setUser('a:b', 'secret')).rejects.toMatchObject(onItsOwn);
    await expect(file.addUser('a:b', 'secret')).rejects.toMatchObject(name);
    await expect(file.setUsers([['a:b', 'secret']])).rejects.toMatchObject(name);
    await expect(file.setHash('a:b', HASH)).rejects.toMatchObject(name);
    await expect(file.setUser('alice', undefined as unknown as string)).rejects.toMatchObject(password);
    await expect(file.addUser('alice', '')).rejects.toMatchObject(password);
    await expect(file.setUsers([['alice', 'a\0b']])).rejects.toMatchObject(password);
    await expect(file.setUser('alice', detached())).rejects.toMatchObject(password);
    await expect(file.addUser('alice', detached())).rejects.toMatchObject(password);
    await expect(file.setHash('alice', 'secret')).rejects.toMatchObject({ code: 'ERR_INVALID_HASH' });
    await expect(file.setHash(HASH, 'alice')).rejects.toSatisfy(error => !inspect(error).includes(HASH));
    expectOnly(directory);
  });

  test('are refused with an error that has no other fields than those with a value', async () => {
    const error = await file.setUser('alice', '').catch((thrown: object) => thrown);
    expect(Object.keys(error).sort()).toEqual(['code', 'name', 'username']);
  });

  test('are refused with the user in the error', async () => {
    const entries: Array<[string, string]> = [
      ['alice', 'secret'],
      ['bob', ''],
    ];
    await expect(file.setUsers(entries)).rejects.toMatchObject({ ...password, username: 'bob' });
    expectOnly(directory);
  });

  test('are accepted by look-ups and removals', async () => {
    await writeFile(path, `al\x01ice:${HASH}\nbob:${HASH}\n`);
    expect(await file.hasUser('al\x01ice')).toBe(true);
    expect(await file.getHash('al\x01ice')).toBe(HASH);
    expect(await file.hasUser('a:b')).toBe(false);
    expect(await file.verify('a:b', 'secret')).toBe(false);
    expect(await file.verify('bob', detached())).toBe(false);
    expect(await file.removeUser('a:b')).toBe(false);
    expect(await file.removeUser('al\x01ice')).toBe(true);
    expect(await read()).toBe(`bob:${HASH}\n`);
  });

  test.each(['hasUser', 'getHash', 'verify', 'removeUser'] as const)(
    '%s takes only a string as a name',
    async method => {
      const call =
        method === 'verify' ? file.verify(undefined as never, 'secret') : file[method](undefined as never);
      await expect(call).rejects.toMatchObject({ code: 'ERR_INVALID_USERNAME' });
    },
  );
});

describe('addUser', () => {
  test('adds a user', async () => {
    await file.addUser('alice', 'secret');
    expect(await file.verify('alice', 'secret')).toBe(true);
  });

  test('refuses an existing name, also with blanks round it, and changes nothing', async () => {
    await writeFile(path, ` alice :${HASH}\n`);
    const before = await identity();
    await expect(file.addUser('alice', 'other')).rejects.toMatchObject({
      code: 'ERR_USER_EXISTS',
      username: 'alice',
      path,
      message: 'The user "alice" exists. Pick another name, or use setUser to change it.',
    });
    expect(await identity()).toEqual(before);
  });

  test('adds the user exactly once if a thousand calls with the same name come at once', async () => {
    const passwords = Array.from({ length: 1000 }, (_, n) => `password ${n}`);
    const outcomes = await Promise.allSettled(passwords.map(password => file.addUser('alice', password)));
    const winners = passwords.filter((_, n) => outcomes[n]?.status === 'fulfilled');
    expect(winners).toHaveLength(1);
    const codes = outcomes.map(outcome => (outcome.status === 'rejected' ? outcome.reason.code : 'added'));
    expect(new Set(codes)).toEqual(new Set(['added', 'ERR_USER_EXISTS']));
    expect((await read()).match(/\n/g)).toHaveLength(1);
    expect(await file.verify('alice', winners[0] as string)).toBe(true);
    expectOnly(directory, 'passwd');
  });
});

describe('edits of one file at once', () => {
  test('share commits: a thousand calls of setUser need fewer than 100', async () => {
    const commits = countCommits();
    const names = Array.from({ length: 1000 }, (_, n) => `user${n}`);
    const outcomes = await Promise.all(names.map(name => file.setUser(name, `password of ${name}`)));
    expect(new Set(outcomes)).toEqual(new Set(['added']));
    expect((await file.users()).sort()).toEqual([...names].sort());
    expect(commits.count).toBeLessThan(100);
    for (const name of ['user0', 'user499', 'user999']) {
      expect(await file.verify(name, `password of ${name}`)).toBe(true);
    }
    expectOnly(directory, 'passwd');
  });

  test('share commits whatever path they have for the file', async () => {
    await mkdir(join(directory, 'sub'));
    await symlink('../passwd', join(directory, 'sub/link'));
    await symlink('sub', join(directory, 'directory'));
    const paths = [
      path,
      join(directory, 'sub/link'),
      join(directory, 'directory/link'),
      `${directory}/sub/../passwd`,
    ];
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

  test('fail alone, without effect on the others of their commit', async () => {
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

  test('each see the ones before them', async () => {
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

  test('of update run their functions in the AsyncLocalStorage of their own callers', async () => {
    const request = new AsyncLocalStorage<number>();
    const updates = [1, 2, 3, 4].map(id => request.run(id, () => file.update(() => request.getStore())));
    expect(await Promise.all(updates)).toEqual([1, 2, 3, 4]);
  });
});

describe('removeUser and removeUsers', () => {
  beforeEach(() => writeFile(path, `alice:${HASH}\nbob:${HASH}\n alice:x\ncarol:${HASH}\n`));

  test('remove all lines of the name', async () => {
    expect(await file.removeUser('alice')).toBe(true);
    expect(await read()).toBe(`bob:${HASH}\ncarol:${HASH}\n`);
    expect(await file.removeUser('alice')).toBe(false);
  });

  test('may call each other in a subclass', async () => {
    class Audited extends PasswordFile {
      override async removeUsers(names: Iterable<string>): Promise<string[]> {
        const removed: string[] = [];
        for (const name of names) if (await this.removeUser(name)) removed.push(name);
        return removed;
      }
    }
    expect(await new Audited(path).removeUsers(['alice', 'nobody'])).toEqual(['alice']);
  });

  test('return whom they removed', async () => {
    const commits = countCommits();
    expect(await file.removeUsers(new Set(['carol', 'nobody', 'alice']))).toEqual(['carol', 'alice']);
    expect(commits.count).toBe(1);
    expect(await read()).toBe(`bob:${HASH}\n`);
  });

  test('report a name once that is given twice', async () => {
    expect(await file.removeUsers(['bob', 'bob'])).toEqual(['bob']);
  });

  test('leave the file as it is if no name is in it', async () => {
    const before = await identity();
    expect(await file.removeUsers(['nobody'])).toEqual([]);
    expect(await file.removeUsers([])).toEqual([]);
    expect(await identity()).toEqual(before);
  });

  test.each(['an array', 'a Set'])('remove all users of %s that is emptied after the call', async what => {
    const list = ['alice', ...Array.from({ length: 100 }, (_, i) => `user${i}`), 'bob'];
    const names = what === 'an array' ? list : new Set(list);
    let now = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (now += 1000));
    // Reading the names takes so long that it yields before it comes to bob.
    const removing = file.removeUsers(names);
    clock.mockRestore();
    if (Array.isArray(names)) names.length = 0;
    else names.clear();
    expect(await removing).toEqual(['alice', 'bob']);
  });

  test('yield to the event loop while the names are read, and end at an abort', async () => {
    const stop = new AbortController();
    setImmediate(() => stop.abort(new Error('enough')));
    const ends: number[] = [];
    const names = (function* (): Generator<string> {
      let read = 0;
      try {
        while (read++ < 1e7) yield 'alice';
      } finally {
        ends.push(read);
      }
    })();
    await expect(file.removeUsers(names, { signal: stop.signal })).rejects.toThrow('enough');
    expect(ends).toEqual([expect.any(Number)]);
    expect(ends[0]).toBeLessThan(1e7);
    expect(await file.hasUser('alice')).toBe(true);
  });

  test('refuse a string instead of a list of names', async () => {
    await writeFile(path, `b:${HASH}\no:${HASH}\n`);
    await expect(file.removeUsers('bob')).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('removeUser'),
    });
    expect(await file.users()).toEqual(['b', 'o']);
  });
});

describe('provision', () => {
  test('adds a user whose password verifies', async () => {
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

  test('generates a name that is new in the file, and fails if no name is left', async () => {
    const few = { username: { prefix: 'x', length: 1, alphabet: 'ab' } };
    const names = [(await file.provision(few)).username, (await file.provision(few)).username];
    expect(names.sort()).toEqual(['xa', 'xb']);
    await expect(file.provision(few)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(/were all taken\. Raise username\.length\.$/),
    });
  });
});

test('a name with a lone surrogate is not taken for the name with U+FFFD in its place', async () => {
  await writeFile(path, `a\ufffd:${HASH}\nbob:${HASH}\n`);
  const name = 'a\ud800';
  expect([await file.hasUser(name), await file.getHash(name)]).toEqual([false, undefined]);
  expect([await file.removeUser(name), await file.removeUsers([name])]).toEqual([false, []]);
  expect(await file.update(draft => [draft.has(name), draft.delete(name)])).toEqual([false, false]);
  expect(await file.users()).toEqual(['a\ufffd', 'bob']);
});

test('a name that is longer than any client can send is no user, and its line stays as it is', async () => {
  const [longest, tooLong] = [65_535, 65_536].map(length => 'x'.repeat(length)) as [string, string];
  await writeFile(path, `${tooLong}:${HASH}\n${longest}:${HASH}\n`);
  expect(await file.users()).toEqual([longest]);
  expect([await file.hasUser(tooLong), await file.getHash(tooLong)]).toEqual([false, undefined]);
  expect(await file.removeUsers([tooLong, longest])).toEqual([longest]);
  expect(await readFile(path, 'utf8')).toBe(`${tooLong}:${HASH}\n`);
});

describe('setHash', () => {
  test.each([
    ['ERR_INVALID_HASH', 'secret'],
    ['ERR_INVALID_HASH', undefined as never],
    ['ERR_COST_LIMIT', HASH.replace('1', '1000001')],
  ])('rejects with %s, user name and path because of a hash: %#', async (code, hash) => {
    await expect(file.setHash('alice', hash)).rejects.toMatchObject({ code, username: 'alice', path });
  });

  test("reports 'added', 'updated' or 'unchanged'", async () => {
    expect(await file.setHash('alice', HASH)).toBe('added');
    const before = await identity();
    expect(await file.setHash('alice', HASH)).toBe('unchanged');
    expect(await identity()).toEqual(before);
    expect(await file.setHash('alice', OTHER_HASH)).toBe('updated');
    expect(await read()).toBe(`alice:${OTHER_HASH}\n`);
  });

  test('removes further lines of a duplicate name even if one of them has the hash already', async () => {
    await writeFile(path, `alice:${OTHER_HASH}\nalice:${HASH}\n`);
    expect(await file.setHash('alice', HASH)).toBe('updated');
    expect(await read()).toBe(`alice:${HASH}\n`);
  });
});

test('verifyPassword accepts the hash that setUser writes', async () => {
  await file.setUser('alice', 'secret');
  expect(await verifyPassword('secret', (await file.getHash('alice')) as string)).toBe(true);
});

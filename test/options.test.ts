import { readFile, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  checkPasswordFile,
  confirmLogin,
  exportDynamicSecurity,
  generateCredentials,
  generatePassword,
  generateUsername,
  hashPassword,
  hashPasswordSync,
  PasswordFile,
  reloadBroker,
  verifyPassword,
  verifyPasswordSync,
} from '../src/index.js';
import { HASH, newFile, quick } from './support/password-file.js';

let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ path, file } = newFile());
});

const login = { host: '127.0.0.1', port: 1, username: 'alice', password: 'secret', timeout: 1 };

/** Each call that takes options, with these added to those that it needs. */
const CALLS: Array<[name: string, call: (options: never) => unknown]> = [
  ['hashPassword', options => hashPassword('secret', options)],
  ['hashPasswordSync', options => hashPasswordSync('secret', options)],
  ['verifyPassword', options => verifyPassword('secret', HASH, options)],
  ['verifyPasswordSync', options => verifyPasswordSync('secret', HASH, options)],
  ['generateCredentials', options => generateCredentials(options)],
  ['generateCredentials: username', username => generateCredentials({ username })],
  ['generateCredentials: password', password => generateCredentials({ password })],
  ['generateUsername', options => generateUsername(options)],
  ['generatePassword', options => generatePassword(options)],
  ['checkPasswordFile', (options: object) => checkPasswordFile(Buffer.of(), { broker: '2.1', ...options })],
  ['confirmLogin', (options: object) => confirmLogin({ ...login, ...options })],
  ['reloadBroker', options => reloadBroker({ command: ['true'] }, options)],
  ['reloadBroker: target', (target: object) => reloadBroker({ command: ['true'], ...target })],
  ['new PasswordFile', options => new PasswordFile(path, options)],
  ['new PasswordFile: hash', hash => new PasswordFile(path, { hash })],
  ['new PasswordFile: create', create => new PasswordFile(path, { create })],
  ['new PasswordFile: lock', lock => new PasswordFile(path, { lock })],
  [
    'new PasswordFile: reload',
    (r: object) => new PasswordFile(path, { reload: { command: ['true'], ...r } }),
  ],
  ['create', options => file.create(options)],
  ['setUser', options => file.setUser('alice', 'secret', options)],
  ['addUser', options => file.addUser('alice', 'secret', options)],
  ['removeUser', options => file.removeUser('alice', options)],
  ['setUsers', options => file.setUsers([], options)],
  ['removeUsers', options => file.removeUsers([], options)],
  ['provision', options => file.provision(options)],
  ['provision: username', username => file.provision({ username })],
  ['provision: password', password => file.provision({ password })],
  ['verify', options => file.verify('alice', 'secret', options)],
  ['hasUser', options => file.hasUser('alice', options)],
  ['users', options => file.users(options)],
  ['getHash', options => file.getHash('alice', options)],
  ['setHash', options => file.setHash('alice', HASH, options)],
  ['setHashes', options => file.setHashes([], options)],
  ['entries', options => file.entries(options)],
  ['update', options => file.update(() => undefined, options)],
  ['upgrade', options => file.upgrade(options)],
  ['check', options => file.check(options)],
  ['check: brokerUser', (user: object) => file.check({ brokerUser: { uid: 1, gid: 1, ...user } })],
  ['exportDynamicSecurity', options => exportDynamicSecurity([], options)],
  ['reloaded', options => new PasswordFile(path, { reload: { command: ['true'] } }).reloaded(options)],
];

describe.each(CALLS)('%s', (_name, call) => {
  test('refuses an unknown option and names the known ones', async () => {
    const options = { misspelt: 1 } as never;
    await expect((async () => call(options))()).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringMatching(/^There is no option "(\w+\.)*misspelt"\. The options here are \w+/),
    });
  });
});

test('the calls of these tests include each method of PasswordFile that takes options', () => {
  const methods = Object.getOwnPropertyNames(PasswordFile.prototype);
  const withOptions = methods.filter(name => !['constructor', 'close'].includes(name));
  expect(CALLS.map(([name]) => name)).toEqual(expect.arrayContaining(withOptions));
});

test('confirmLogin passes any options in tls to node:tls', async () => {
  const tls = { rejectUnauthorized: false, whatever: 1 } as object;
  await expect(confirmLogin({ ...login, tls })).rejects.toMatchObject({ code: 'ERR_LOGIN_FAILED' });
});

describe('options of a PasswordFile', () => {
  afterEach(() => {
    for (const key of ['mode', 'create', 'iterations', 'hash', 'missing', 'salt'])
      delete (Object.prototype as Record<string, unknown>)[key];
  });

  test('are copied by the constructor, so that later changes of the objects have no effect', async () => {
    const options = { create: { mode: 0o600 }, hash: { iterations: 1 }, lock: { timeout: 30_000 } };
    const copied = new PasswordFile(path, options);
    options.create.mode = 0o666;
    options.hash.iterations = 2;
    options.lock.timeout = 0;
    await copied.setUser('alice', 'secret');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readFile(path, 'utf8')).toMatch(/^alice:\$7\$1\$/);
  });

  test.each([640, 600, 644, 660, 0o240, 0])(
    'may not ask for a file of mode %d, which its owner could not read',
    mode => {
      const message = 'create.mode must be permission bits by which the owner may read, such as 0o640.';
      expect(() => new PasswordFile('/nowhere/passwd', { create: { mode } })).toThrow(message);
    },
  );

  test('may not ask for hashes that its broker cannot read', () => {
    const hash = { saltBytes: 64 } as const;
    expect(() => new PasswordFile('/nowhere/passwd', { broker: '2.0', hash })).toThrow(
      'Mosquitto 2.0 cannot read hashes with hash.saltBytes 64. Use 12, or broker 2.1.',
    );
    expect(() => new PasswordFile('/nowhere/passwd', { broker: '2.1', hash })).not.toThrow();
    expect(
      () => new PasswordFile('/nowhere/passwd', { broker: '2.0', hash: { saltBytes: 12 } }),
    ).not.toThrow();
  });

  test('are own properties only, not those of a polluted Object.prototype', async () => {
    const polluted = {
      mode: 0o666,
      create: { mode: 0o666 },
      iterations: 2,
      missing: 'error',
      salt: Buffer.alloc(12),
    };
    Object.assign(Object.prototype, polluted, { hash: { iterations: 2 } });
    await new PasswordFile(path).setUser('alice', 'secret');
    await new PasswordFile(path, { create: {}, hash: {} }).setUsers([['bob', 'secret']], {});
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readFile(path, 'utf8')).toMatch(/^alice:\$7\$101\$(?!A{16}).*\nbob:\$7\$101\$(?!A{16})/);
    expect(await hashPassword('secret')).toMatch(/^\$7\$101\$(?!A{16})/);
    expect(await hashPassword('secret', {})).toMatch(/^\$7\$101\$(?!A{16})/);
  });
});

describe('arguments', () => {
  const refusal = (message: RegExp) => ({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(message),
  });

  test.each([{ a: 'b' }, undefined, null, 7, 'alice', () => undefined])(
    'setUsers refuses %j instead of an iterable of pairs',
    async entries => {
      await expect(file.setUsers(entries as never)).rejects.toMatchObject(refusal(/must be an iterable/));
    },
  );

  test.each<[string, unknown[]]>([
    ['a hole', Object.assign([], { 0: ['alice', 'secret'], 2: ['bob', 'secret'] })],
    ['names alone', ['alice', 'bob']],
    ['null', [null]],
    ['objects', [{ username: 'alice', password: 'secret' }]],
    ['rows of three', [['alice', 'secret', 'role']]],
    ['rows of one', [['alice']]],
  ])('setUsers refuses %s among the pairs, and changes nothing', async (_what, entries) => {
    await writeFile(path, `carol:${HASH}\n`);
    await expect(file.setUsers(entries as never)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
    expect(await file.users()).toEqual(['carol']);
  });

  test.each([undefined, null, 7, {}, 'alice'])('removeUsers refuses %j', async names => {
    await expect(file.removeUsers(names as never)).rejects.toMatchObject(
      refusal(/^removeUsers takes user names/),
    );
  });

  test('removeUsers refuses undefined among the names', async () => {
    await expect(file.removeUsers(['alice', undefined as never])).rejects.toMatchObject({
      code: 'ERR_INVALID_USERNAME',
    });
  });

  test.each([undefined, null, 'edit', {}])('update refuses %j', async edit => {
    await expect(file.update(edit as never)).rejects.toMatchObject(refusal(/^update takes a function/));
  });

  test('an unset environment variable compiles as a password, and is ERR_INVALID_PASSWORD', async () => {
    const password = process.env.PASSWORD_THAT_NOBODY_SET;
    const calls = [
      file.setUser('alice', password),
      file.addUser('alice', password),
      file.setUsers([['alice', password]]),
      file.verify('alice', password),
      hashPassword(password),
      verifyPassword(password, HASH),
      confirmLogin({ host: '127.0.0.1', port: 1, username: 'alice', password }),
    ];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: {
          code: 'ERR_INVALID_PASSWORD',
          message: expect.stringMatching(/Is the variable that should hold it set\?$/),
        },
      });
    }
  });
});

describe('the iterator of the entries of setUsers', () => {
  /** An iterator whose second entry never comes. */
  function waiting() {
    let returned = 0;
    let reached = (): void => {};
    const second = new Promise<void>(resolve => {
      reached = resolve;
    });
    let calls = 0;
    const iterator = {
      next(): Promise<IteratorResult<readonly [string, string]>> {
        if (++calls === 1) return Promise.resolve({ done: false, value: ['alice', 'secret'] });
        reached();
        return new Promise(() => {});
      },
      async return() {
        returned++;
        return { done: true as const, value: undefined };
      },
    };
    const entries = { [Symbol.asyncIterator]: () => iterator } as AsyncIterable<readonly [string, string]>;
    return { entries, second, count: () => returned };
  }

  test('is closed by an abort while the next entry is awaited', async () => {
    const { entries, second, count } = waiting();
    const controller = new AbortController();
    const set = file.setUsers(entries, { signal: controller.signal });
    await second;
    controller.abort(new Error('enough'));
    await expect(set).rejects.toThrow('enough');
    expect(count()).toBe(1);
  });

  test('is closed by the first invalid entry', async () => {
    let closed = 0;
    function* entries(): Generator<[string, string]> {
      try {
        yield ['alice', 'secret'];
        yield ['bob', ''];
        yield ['carol', 'secret'];
      } finally {
        closed++;
      }
    }
    await expect(file.setUsers(entries())).rejects.toMatchObject({ username: 'bob' });
    expect(closed).toBe(1);
  });

  test('may yield entries with getters, which are read once', async () => {
    let reads = 0;
    const entry = ['alice', ''] as [string, string];
    Object.defineProperty(entry, 1, { get: () => (++reads === 1 ? 'secret' : 'other') });
    await new PasswordFile(path, quick).setUsers([entry]);
    expect(await file.verify('alice', 'secret')).toBe(true);
  });
});

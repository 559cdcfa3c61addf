import fs, { appendFileSync, truncateSync } from 'node:fs';
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { PasswordFile } from '../../src/password-file.js';
import { spyOnBuiltin } from '../support/builtins.js';
import { HASH, hold, newFile, OTHER_HASH, READS } from '../support/password-file.js';

let directory: string;
let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ directory, path, file } = newFile());
});

describe('verify, hasUser, users and getHash', () => {
  test('return what the file contains', async () => {
    await writeFile(path, `# users\nalice:${HASH}\n\nbob: ${OTHER_HASH} \r\nwhat\n`);
    expect(await file.users()).toEqual(['alice', 'bob']);
    expect(await file.hasUser('bob')).toBe(true);
    expect(await file.getHash('bob')).toBe(OTHER_HASH);
    expect(await file.verify('bob', 'other secret')).toBe(true);
    expect(await file.verify('bob', 'secret')).toBe(false);
  });

  test('list each name once and in order, and none that no client can send', async () => {
    await writeFile(path, `bob:x\nalice:y\n bob :z\n#carol:x\n\xff:x\n:::\n`, 'latin1');
    expect(await file.users()).toEqual(['bob', 'alice']);
  });

  test('never return an old version of a file, however quickly it is overwritten', async () => {
    // It is overwritten in place with the same size: only the time of the change shows it, and clocks are coarse.
    for (let round = 0; round < 100; round++) {
      const hash = round % 2 === 0 ? HASH : OTHER_HASH;
      await writeFile(path, `alice:${hash}\n`);
      expect(await file.getHash('alice'), `in round ${round}`).toBe(hash);
      expect(await file.verify('alice', 'secret'), `in round ${round}`).toBe(hash === HASH);
    }
  });

  test('never return an old version of a file, however quickly it is replaced', async () => {
    for (let round = 0; round < 100; round++) {
      const hash = round % 2 === 0 ? HASH : OTHER_HASH;
      await writeFile(`${path}.new`, `alice:${hash}\n`);
      await rename(`${path}.new`, path);
      expect(await file.getHash('alice'), `in round ${round}`).toBe(hash);
    }
    await rm(path);
    expect(await file.hasUser('alice')).toBe(false);
  });

  test('read a file again that another host replaces while it is read, which NFS reports as ESTALE', async () => {
    await writeFile(path, `alice:${HASH}\n`);
    const cause = Object.assign(new Error('no such file'), { code: '', errno: -constants.errno.ESTALE });
    const read = spyOnBuiltin(fs, 'readSync').mockImplementationOnce(() => {
      throw cause;
    });
    expect(await file.users()).toEqual(['alice']);
    read.mockImplementation(() => {
      throw cause;
    });
    await expect(new PasswordFile(path).users()).rejects.toMatchObject({ code: 'ERR_READ_FAILED', cause });
  });

  test('read a file again that grows or shrinks while it is read', async () => {
    const many = Array.from({ length: 36_000 }, (_, n) => `user${n}:${HASH}\n`).join('');
    await writeFile(path, many);
    const growing = file.hasUser('zoe');
    // The first of several reads is under way.
    await yieldToEventLoop();
    appendFileSync(path, `zoe:${HASH}\n`);
    expect(await growing).toBe(true);
    await writeFile(path, many);
    const shrinking = file.users();
    await yieldToEventLoop();
    truncateSync(path, many.indexOf('user100:'));
    expect(await shrinking).toHaveLength(100);
  });

  test.each([
    ['small', 1_000, 'readSync, which does not wait for a busy thread pool', 'readSync', 'read'],
    ['large', 36_000, 'read, which does not block the event loop', 'read', 'readSync'],
  ] as const)('read a %s file of %i users by %s', async (_size, users, _what, used, unused) => {
    await writeFile(path, Array.from({ length: users }, (_, n) => `user${n}:${HASH}\n`).join(''));
    const spies = { read: spyOnBuiltin(fs, 'read'), readSync: spyOnBuiltin(fs, 'readSync') };
    expect(await file.users()).toHaveLength(users);
    expect(spies[used]).toHaveBeenCalled();
    expect(spies[unused]).not.toHaveBeenCalled();
  });

  test('follow a symbolic link at each call', async () => {
    await writeFile(join(directory, 'one'), `alice:${HASH}\n`);
    await writeFile(join(directory, 'two'), `bob:${HASH}\n`);
    await symlink('one', path);
    expect(await file.users()).toEqual(['alice']);
    await rm(path);
    await symlink('two', path);
    expect(await file.users()).toEqual(['bob']);
  });

  test('refuse an empty password, and ignore what follows a NUL in one', async () => {
    await file.setHash('alice', HASH);
    expect(await file.verify('alice', '')).toBe(false);
    expect(await file.verify('alice', 'secret\0more')).toBe(true);
    expect(await file.verify('alice', Buffer.from('secret'))).toBe(true);
    await expect(file.verify('alice', undefined as unknown as string)).rejects.toMatchObject({
      code: 'ERR_INVALID_PASSWORD',
    });
  });

  test.each(['2.0', '2.1'] as const)('return false for a line that broker %s does not read', async broker => {
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
  });

  test('do not wait for a writer', async () => {
    await file.setHash('alice', HASH);
    await hold(path);
    expect(await file.users()).toEqual(['alice']);
    expect(await file.verify('alice', 'secret')).toBe(true);
  });
});

test.each(READS)(
  '%s fails with ERR_NOT_REPLACEABLE if the path is a directory',
  async (_name, _writes, call) => {
    await mkdir(path);
    await expect(call(file)).rejects.toMatchObject({ code: 'ERR_NOT_REPLACEABLE' });
  },
);

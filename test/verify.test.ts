import { renameSync, writeFileSync } from 'node:fs';
import { unlink, writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { hashPasswordSync } from '../src/hash/hash.js';
import { PasswordFile } from '../src/password-file.js';
import { yieldToEventLoop } from '../src/util/event-loop.js';
import { newFile } from './support/password-file.js';

/** More than the limiter begins at once. */
const MANY = 400;

const passwordOf = (i: number) => `password of ${i}`;
const lineOf = (i: number) => `user${i}:${hashPasswordSync(passwordOf(i))}\n`;

let path: string;
let file: PasswordFile;
beforeEach(() => {
  ({ path, file } = newFile());
});

describe('a thousand calls of verify at once', () => {
  test('each report on their own user and password', async () => {
    await writeFile(path, Array.from({ length: MANY }, (_, i) => (i % 3 === 0 ? '' : lineOf(i))).join(''));
    const verified = await Promise.all(
      Array.from({ length: MANY }, (_, i) => file.verify(`user${i}`, passwordOf(i % 3 === 1 ? i : i + 1))),
    );
    expect(verified).toEqual(Array.from({ length: MANY }, (_, i) => i % 3 === 1));
  });

  test('all resolve with false if the names are not in the file', async () => {
    await writeFile(path, lineOf(0));
    const verified = await Promise.all(
      Array.from({ length: MANY }, (_, i) => file.verify(`nobody${i}`, 'secret')),
    );
    expect(verified).toEqual(Array.from({ length: MANY }, () => false));
  });

  test('see a change that was made before them, while earlier calls are under way', async () => {
    await writeFile(path, lineOf(0));
    const earlier = Array.from({ length: MANY }, () => file.verify('user0', passwordOf(0)));
    expect(await Promise.race(earlier)).toBe(true);
    writeFileSync(path, lineOf(1));
    const later = Array.from({ length: MANY }, () => file.verify('user1', passwordOf(1)));
    expect(await Promise.all(later)).toEqual(Array.from({ length: MANY }, () => true));
    await Promise.all(earlier);
  });

  test('fail with ERR_FILE_MISSING while the file is missing, and later calls work again', async () => {
    await writeFile(path, lineOf(0));
    const strict = new PasswordFile(path, { missing: 'error' });
    expect(await strict.verify('user0', passwordOf(0))).toBe(true);
    await unlink(path);
    const refused = await Promise.allSettled(
      Array.from({ length: MANY }, () => strict.verify('user0', passwordOf(0))),
    );
    expect(new Set(refused.map(each => each.status === 'rejected' && each.reason.code))).toEqual(
      new Set(['ERR_FILE_MISSING']),
    );
    await writeFile(path, lineOf(0));
    expect(await strict.verify('user0', passwordOf(0))).toBe(true);
  });

  test('can be aborted while they wait for their turn', async () => {
    await writeFile(path, lineOf(0));
    let settled = 0;
    const others = Array.from({ length: MANY }, () =>
      file.verify('user0', passwordOf(0)).finally(() => settled++),
    );
    const controller = new AbortController();
    const givenUp = file.verify('user0', passwordOf(0), { signal: controller.signal });
    await others[0];
    controller.abort(new Error('enough'));
    await expect(givenUp).rejects.toThrow('enough');
    expect(settled).toBeLessThan(MANY);
    expect(await Promise.all(others)).not.toContain(false);
  });

  test('fail with ERR_INVALID_PASSWORD only for those that have no valid password', async () => {
    await writeFile(path, lineOf(0));
    const settled = await Promise.allSettled(
      Array.from({ length: MANY }, (_, i) =>
        file.verify('user0', i % 2 === 0 ? passwordOf(0) : (7 as never)),
      ),
    );
    const answers = settled.map(each => (each.status === 'fulfilled' ? each.value : each.reason.code));
    expect(answers).toEqual(answers.map((_, i) => (i % 2 === 0 ? true : 'ERR_INVALID_PASSWORD')));
  });
});

describe('a hash of a form that no tool writes', () => {
  const hash = hashPasswordSync('secret');
  const [, , , salt, key] = hash.split('$');
  const sha512 = hashPasswordSync('secret', { algorithm: 'sha512' });

  describe.each(['2.0', '2.1'] as const)('is read alike by verify and check, with broker %s', broker => {
    test.each<[form: string, hash: string, readBy: Array<'2.0' | '2.1'>]>([
      ['several $', `$7$$101$$$${salt}$$${key}`, ['2.0', '2.1']],
      ['several $ before the algorithm', `$$7$101$${salt}$${key}`, ['2.0']],
      ['no $ before the algorithm', hash.slice(1), ['2.0']],
      ['no $ before the algorithm $6$', sha512.slice(1), ['2.0']],
      ['several $ in $6$', sha512.replace('$6$', '$6$$'), ['2.0', '2.1']],
      ['a further field', `${hash}$more`, ['2.0', '2.1']],
      ['a further field in $6$', `${sha512}$more`, ['2.0', '2.1']],
      ['text after the iterations', `$7$101x$${salt}$${key}`, ['2.0', '2.1']],
      ['a sign and a blank before the iterations', `$7$ +101$${salt}$${key}`, ['2.0', '2.1']],
      ['a leading zero', `$7$0101$${salt}$${key}`, ['2.0', '2.1']],
      ['iterations that are cut to 32 bits', `$7$${2 ** 32 + 101}$${salt}$${key}`, ['2.0', '2.1']],
      ['spare bits in the key', hash.replace(/.==$/, other => `${successor(other)}==`), ['2.0', '2.1']],
      ['text after the padding', `${hash}x`, []],
      ['a negative number of iterations', `$7$-101$${salt}$${key}`, []],
      ['half the padding', hash.slice(0, -1), []],
    ])('%s', async (_form, stored, readBy) => {
      await writeFile(path, `alice:${stored}\n`);
      const reading = new PasswordFile(path, { broker });
      const isRead = readBy.includes(broker);
      expect((await reading.check()).users).toEqual(isRead ? ['alice'] : []);
      expect(await reading.verify('alice', 'secret')).toBe(isRead);
      expect(await reading.verify('alice', 'Secret')).toBe(false);
    });
  });

  /** The character of base64 after the first one of the text, which differs from it only in the spare bits. */
  function successor(text: string): string {
    return String.fromCharCode(text.charCodeAt(0) + 1);
  }
});

test('a call of verify during a read uses the file that has replaced the one being read', async () => {
  const other = `${path}.other`;
  // Large enough to be read in pieces.
  const line = lineOf(0);
  await writeFile(path, line + Array.from({ length: 36_000 }, (_, i) => `other${i}${line}`).join(''));
  await writeFile(other, lineOf(1));
  const earlier = file.verify('user0', passwordOf(0));
  await yieldToEventLoop();
  renameSync(other, path);
  expect(await file.verify('user1', passwordOf(1))).toBe(true);
  expect(await earlier).toBe(true);
});

test('verify uses the password as it was at the call, although its bytes are wiped later', async () => {
  await writeFile(path, lineOf(0));
  const password = Buffer.from(passwordOf(0));
  const verified = file.verify('user0', password);
  password.fill(0);
  expect(await verified).toBe(true);
});

import crypto from 'node:crypto';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { PasswordFileError } from '../../src/errors.js';
import {
  assertHash,
  canonicalHashEnd,
  formatHash,
  MAX_ITERATIONS,
  type ParsedHash,
  parseHash,
  tryParseHash,
} from '../../src/hash/encoding.js';
import { hashPassword, hashPasswordSync, verifyPassword, verifyPasswordSync } from '../../src/hash/hash.js';
import { spyOnBuiltin } from '../support/builtins.js';
import { codePoint } from '../support/code-point.js';
import { detached } from '../support/detached.js';
import { expectToVerify } from '../support/expect-to-verify.js';
import {
  argon2idGoldens,
  decode,
  goldens,
  passwordGiven,
  versions,
  writtenLines,
} from '../support/goldens.js';

describe.each(versions)('passwords verify with the lines that mosquitto_passwd %s wrote', version => {
  const calls = goldens.filter(golden => golden.version === version);

  test.each(['hash', 'hash sha512', 'hash with -I', 'user name', 'random'])(
    'in the calls "%s"',
    async what => {
      const rows = calls.filter(call => call.what === what);
      const lines = writtenLines(rows);
      expect(lines.length).toBe(rows.length);
      expect(lines.length).toBeGreaterThan(5);
      await expectToVerify(lines);
    },
  );

  test('in all other calls', async () => {
    const rows = calls.filter(({ what }) => !/^(hash|user name|random)/.test(what));
    const lines = writtenLines(rows);
    // After a last line without a line feed the tool writes no line of its own; 2.0 writes none to standard output.
    const written = rows.filter(row => passwordGiven(row) !== undefined).length;
    expect(written - lines.length).toBe(version.startsWith('2.0.') ? 2 : 1);
    await expectToVerify(lines);
  });

  test('and formatHash returns each hash that parseHash parsed', () => {
    const texts = calls.flatMap(({ before, file }) => [decode(before), decode(file)]);
    const hashes = texts.join('\n').match(/(?<=^[^:\n]*:)\$[67]\$[^:\s]{90,}(?=\r?$)/gm) ?? [];
    expect(hashes.length).toBeGreaterThan(150);
    for (const hash of hashes) expect(formatHash(parseHash(hash))).toBe(hash);
  });
});

describe('an argon2id hash that mosquitto_passwd 2.1.2 built with argon2 wrote', () => {
  const lines = argon2idGoldens.map(({ password, line }) => ({ password, hash: line.slice(6).trimEnd() }));

  test('is parsed by parseHash, and returned by formatHash as it was', () => {
    expect(lines.length).toBe(8);
    for (const { hash } of lines) expect(formatHash(parseHash(hash))).toBe(hash);
    expect(parseHash(lines[0]?.hash ?? '')).toMatchObject({
      algorithm: 'argon2id',
      memory: 47_104,
      passes: 1,
      parallelism: 1,
    });
  });

  if ('argon2' in crypto) {
    test('verifies', async () => {
      for (const { password, hash } of lines) {
        expect(await verifyPassword(password, hash), password).toBe(true);
        expect(verifyPasswordSync(password, hash), password).toBe(true);
        expect(await verifyPassword(`${password} `, hash), password).toBe(false);
        expect(verifyPasswordSync(`${password} `, hash), password).toBe(false);
      }
    });
  } else {
    test('is refused by a Node without argon2, in an error that names the version that has it', async () => {
      for (const { password, hash } of lines) {
        const refusal = {
          code: 'ERR_UNSUPPORTED_HASH',
          message: expect.stringMatching(
            /Node 24\.7 and later.*Update Node, or give the user a new password/,
          ),
        };
        await expect(verifyPassword(password, hash)).rejects.toMatchObject(refusal);
        expect(() => verifyPasswordSync(password, hash)).toThrow(expect.objectContaining(refusal));
      }
    });
  }

  test('is not made by hashPassword', async () => {
    const algorithm = 'argon2id' as 'sha512';
    await expect(hashPassword('secret', { algorithm })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: 'algorithm must be one of "pbkdf2-sha512", "sha512".',
    });
  });
});

describe('a new hash', () => {
  test('has the form that every 2.x broker reads: 101 iterations and a salt of 12 bytes', async () => {
    expect(await hashPassword('secret')).toMatch(/^\$7\$101\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==$/);
  });

  test('has another salt each time', async () => {
    const hashes = await Promise.all(
      Array.from({ length: 20 }, () => hashPassword('secret', { iterations: 1 })),
    );
    expect(new Set(hashes.map(hash => hash.split('$')[3])).size).toBe(20);
  });

  test('has a salt of 12 bytes even if it is the first one of a process', async () => {
    vi.resetModules();
    const loaded = await import('../../src/hash/hash.js');
    expect(loaded.hashPasswordSync('secret')).toMatch(/^\$7\$101\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==$/);
  });

  test('has the algorithm, iterations and salt that the options say', async () => {
    expect(await hashPassword('secret', { iterations: 1000 })).toMatch(/^\$7\$1000\$/);
    expect(await hashPassword('secret', { salt: new Uint8Array(64) })).toMatch(/^\$7\$101\$A{85}[A]==\$/);
    expect(await hashPassword('secret', { algorithm: 'sha512' })).toMatch(
      /^\$6\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==$/,
    );
    expect(await hashPassword('secret', { saltBytes: 64 })).toMatch(/^\$7\$101\$[A-Za-z0-9+/]{86}==\$/);
    const unset = { algorithm: undefined, iterations: undefined, salt: undefined };
    expect(await hashPassword('secret', unset)).toMatch(/^\$7\$101\$/);
  });

  test('is the same for a string and for its UTF-8 bytes', async () => {
    const salt = new Uint8Array(12);
    const hash = await hashPassword('pässwörd', { salt });
    expect(await hashPassword(new TextEncoder().encode('pässwörd'), { salt })).toBe(hash);
    expect(await hashPassword(Buffer.from('pässwörd'), { salt })).toBe(hash);
    const part = new TextEncoder().encode('--pässwörd--').subarray(2, -2);
    expect(await hashPassword(part, { salt: new Uint8Array(99).subarray(7, 19) })).toBe(hash);
  });

  test('can be of bytes that are no UTF-8', async () => {
    const password = new Uint8Array([0xff, 0xfe, 0x80]);
    const hash = await hashPassword(password);
    expect(await verifyPassword(password, hash)).toBe(true);
    expect(await verifyPassword('\ufffd\ufffd\ufffd', hash)).toBe(false);
  });

  test.each([
    [6, 'secret'],
    [65_535, 'x'.repeat(65_535)],
  ])(
    'is not changed by a later change of the caller’s salt and password of %i bytes',
    async (_length, text) => {
      const password = Buffer.from(text);
      const salt = Buffer.alloc(12, 7);
      const others = Array.from({ length: 500 }, () => hashPassword('other'));
      const hashing = hashPassword(password, { salt });
      const verifying = verifyPassword(password, hashPasswordSync(text));
      password.fill(0);
      salt.fill(0);
      expect(await hashing).toBe(hashPasswordSync(text, { salt: Buffer.alloc(12, 7) }));
      expect(await verifying).toBe(true);
      await Promise.all(others);
    },
  );

  test('can be of bytes from another realm, but not of a Proxy of bytes', async () => {
    const bytes = runInNewContext('new Uint8Array([115, 101, 99, 114, 101, 116])');
    expect(await verifyPassword('secret', await hashPassword(bytes))).toBe(true);
    const refusal = { code: 'ERR_INVALID_PASSWORD' };
    const proxy = new Proxy(Buffer.from('secret'), {});
    await expect(hashPassword(proxy)).rejects.toMatchObject(refusal);
    await expect(hashPassword(Object.create(Uint8Array.prototype))).rejects.toMatchObject(refusal);
  });

  test('is of the password without Unicode normalisation', async () => {
    const hash = await hashPassword('\u00e9');
    expect(await verifyPassword('e\u0301', hash)).toBe(false);
  });

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['a number', 12345],
    ['an empty string', ''],
    ['detached bytes', detached()],
    ['a string with a NUL', 'before\0after'],
    ['a string with half of a surrogate pair', 'pass\ud800word'],
    ['a string of 65,536 bytes', 'x'.repeat(65_536)],
  ])('is refused for a password that is %s', async (_what, password) => {
    const refusal = { code: 'ERR_INVALID_PASSWORD' };
    await expect(hashPassword(password as string)).rejects.toMatchObject(refusal);
    expect(() => hashPasswordSync(password as string)).toThrow(expect.objectContaining(refusal));
  });

  const salts = /^salt must be a Uint8Array of 12 or 64 bytes\.$/;
  const iterations = /^iterations must be a whole number from 1 to 2147483647\.$/;
  test.each<[string, object, RegExp]>([
    ['0 iterations', { iterations: 0 }, iterations],
    ['negative iterations', { iterations: -1 }, iterations],
    ['1.5 iterations', { iterations: 1.5 }, iterations],
    ['more iterations than a C int holds', { iterations: 2 ** 31 }, iterations],
    ['NaN iterations', { iterations: Number.NaN }, iterations],
    ['iterations in a string', { iterations: '101' }, iterations],
    ['a salt of 11 bytes', { salt: new Uint8Array(11) }, salts],
    ['a salt of 16 bytes', { salt: new Uint8Array(16) }, salts],
    ['an empty salt', { salt: new Uint8Array() }, salts],
    ['a salt in a string', { salt: 'twelve bytes' }, salts],
    [
      'an unknown algorithm',
      { algorithm: 'bcrypt' },
      /^algorithm must be one of "pbkdf2-sha512", "sha512"\.$/,
    ],
    [
      'both salt and saltBytes',
      { salt: new Uint8Array(12), saltBytes: 12 },
      /^Give either salt or saltBytes\.$/,
    ],
    ['saltBytes 16', { saltBytes: 16 }, /^saltBytes must be one of 12, 64\.$/],
    [
      'a misspelt option',
      { iteration: 1 },
      /^There is no option "iteration"\. The options here are algorithm, /,
    ],
  ])('is refused with %s', async (_what, options, message) => {
    const refusal = { code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(message) };
    await expect(hashPassword('secret', options)).rejects.toMatchObject(refusal);
    expect(() => hashPasswordSync('secret', options)).toThrow(expect.objectContaining(refusal));
  });
});

/** Bytes whose slices are arrays. */
class Odd extends Uint8Array {
  static get [Symbol.species]() {
    return Array;
  }
}
const SECRET = Buffer.from('secret\0more');

describe('verifyPassword', () => {
  const hash = hashPasswordSync('secret');

  test.each<[string, string | Uint8Array, boolean]>([
    ['accepts the password', 'secret', true],
    ['accepts the bytes of the password', Buffer.from('secret'), true],
    ['refuses the password in another case', 'Secret', false],
    ['refuses the beginning of the password', 'secre', false],
    ['refuses the password and a blank', 'secret ', false],
    // pw__memcmp_const after strlen(): the broker compares what is before the first NUL.
    ['ignores characters after a NUL', 'secret\0and more', true],
    ['ignores bytes after a NUL', Buffer.from('secret\0\xff', 'latin1'), true],
    ['refuses a NUL before the password', '\0secret', false],
    ['refuses an empty string', '', false],
    ['refuses an empty Uint8Array', new Uint8Array(), false],
    ['refuses detached bytes', detached(), false],
    ['ignores what follows a NUL in bytes of a class with another species', new Odd(SECRET), true],
    ['refuses half of a surrogate pair after the password', 'secret\udc00', false],
    ['refuses more than 65,535 bytes, even after a NUL', `secret\0${'x'.repeat(65_535)}`, false],
  ])('%s', async (_what, password, verifies) => {
    expect(await verifyPassword(password, hash)).toBe(verifies);
    expect(verifyPasswordSync(password, hash)).toBe(verifies);
  });

  test.each<[string, string | Buffer]>([
    ['string', 'x'.repeat(65_535)],
    ['Buffer', Buffer.alloc(65_535, 'x')],
  ])('compares all of the 65,535 bytes that MQTT can carry, in a %s', async (_what, longest) => {
    const stored = hashPasswordSync(longest, { iterations: 1 });
    expect(await verifyPassword(longest, stored)).toBe(true);
    expect(verifyPasswordSync(longest, stored)).toBe(true);
    expect(verifyPasswordSync(longest.slice(1), stored)).toBe(false);
  });

  test.each([undefined, null, 5])('rejects %s in place of a password', async password => {
    const refusal = { code: 'ERR_INVALID_PASSWORD' };
    await expect(verifyPassword(password as unknown as string, hash)).rejects.toMatchObject(refusal);
    expect(() => verifyPasswordSync(password as unknown as string, hash)).toThrow(
      expect.objectContaining(refusal),
    );
  });

  test('rejects a malformed hash', async () => {
    const refusal = { code: 'ERR_INVALID_HASH' };
    await expect(verifyPassword('secret', `${hash}\r`)).rejects.toMatchObject(refusal);
    expect(() => verifyPasswordSync('secret', `${hash}\r`)).toThrow(expect.objectContaining(refusal));
  });

  test('compares keys by timingSafeEqual', async () => {
    const compare = spyOnBuiltin(crypto, 'timingSafeEqual');
    await verifyPassword('secret', hash);
    await verifyPassword('wrong', hash);
    verifyPasswordSync('wrong', hashPasswordSync('secret', { algorithm: 'sha512' }));
    expect(compare).toHaveBeenCalledTimes(3);
  });
});

test('hashPassword and verifyPassword reject with an error of the thread pool', async () => {
  const hash = hashPasswordSync('secret');
  const failing: typeof crypto.pbkdf2 = (_password, _salt, _iterations, _length, _digest, done) =>
    done(new Error('no memory'), Buffer.alloc(64));
  const pbkdf2 = spyOnBuiltin(crypto, 'pbkdf2');
  pbkdf2.mockImplementationOnce(failing);
  await expect(hashPassword('secret')).rejects.toThrow('no memory');
  pbkdf2.mockImplementationOnce(failing);
  await expect(verifyPassword('secret', hash)).rejects.toThrow('no memory');
  expect(await verifyPassword('secret', hash)).toBe(true);
});

describe('threads', () => {
  test('hashPassword and verifyPassword compute on the thread pool', async () => {
    const [onPool, here] = [spyOnBuiltin(crypto, 'pbkdf2'), spyOnBuiltin(crypto, 'pbkdf2Sync')];
    await verifyPassword('secret', await hashPassword('secret'));
    expect(onPool).toHaveBeenCalledTimes(2);
    expect(here).not.toHaveBeenCalled();
  });

  test('hashPasswordSync and verifyPasswordSync compute on the calling thread', () => {
    const [onPool, here] = [spyOnBuiltin(crypto, 'pbkdf2'), spyOnBuiltin(crypto, 'pbkdf2Sync')];
    verifyPasswordSync('secret', hashPasswordSync('secret'));
    expect(here).toHaveBeenCalledTimes(2);
    expect(onPool).not.toHaveBeenCalled();
  });
});

describe('parseHash', () => {
  const salt = Buffer.alloc(12, 1).toString('base64');
  const key = Buffer.alloc(64, 2).toString('base64');
  const longSalt = Buffer.alloc(64, 3).toString('base64');
  const bare = (text: string) => text.replaceAll('=', '');
  const argon2id = `$argon2id$v=19$m=47104,t=1,p=1$${bare(longSalt)}$${bare(key)}`;

  test('returns algorithm, iterations, salt and key of a hash', () => {
    expect(parseHash(`$7$101$${salt}$${key}`)).toEqual({
      algorithm: 'pbkdf2-sha512',
      iterations: 101,
      salt: new Uint8Array(12).fill(1),
      key: new Uint8Array(64).fill(2),
    });
    expect(parseHash(`$6$${longSalt}$${key}`)).toEqual({
      algorithm: 'sha512',
      salt: new Uint8Array(64).fill(3),
      key: new Uint8Array(64).fill(2),
    });
    expect(parseHash(argon2id)).toEqual({
      algorithm: 'argon2id',
      memory: 47_104,
      passes: 1,
      parallelism: 1,
      salt: new Uint8Array(64).fill(3),
      key: new Uint8Array(64).fill(2),
    });
  });

  test.each([
    ['1 iteration', `$7$1$${salt}$${key}`],
    ['2^31 − 1 iterations and a salt of 64 bytes', `$7$2147483647$${longSalt}$${key}`],
    ['2^32 − 1 passes of argon2id', argon2id.replace('t=1', 't=4294967295')],
  ])('accepts %s', (_what, hash) => {
    expect(formatHash(parseHash(hash))).toBe(hash);
  });

  test('returns arrays that share no memory with others', () => {
    const parsed = parseHash(`$7$101$${salt}$${key}`);
    expect(Object.getPrototypeOf(parsed.salt)).toBe(Uint8Array.prototype);
    expect(parsed.salt.buffer.byteLength).toBe(12);
    expect(parsed.key.buffer.byteLength).toBe(64);
  });

  const form =
    /has none of the forms \$7\$iterations\$salt\$key \(1 to 2147483647 iterations\), \$6\$salt\$key and \$argon2id\$v=19\$m=…,t=…,p=…\$salt\$key \(m: at least 8 KiB for each lane p; no padding\), where numbers have no leading zero, and the salt \(12 or 64 bytes\) and the key \(64 bytes\) are canonical base64\. Use a hash that mosquitto_passwd or hashPassword wrote\.$/;
  test.each<[string, unknown, RegExp]>([
    [
      'undefined',
      undefined,
      /is undefined, not a string\. Use a hash that mosquitto_passwd or hashPassword wrote\.$/,
    ],
    ['null', null, /is null, not a string/],
    ['bytes', Buffer.from('$7$'), /is object, not a string/],
    ['an empty string', '', form],
    ['a plain password', 'secret', form],
    ['a blank before the hash', ` $7$101$${salt}$${key}`, form],
    ['a $ alone', '$', form],
    ['bcrypt', '$2b$12$abcdefghijklmnopqrstuv', form],
    ['argon2i', argon2id.replace('argon2id', 'argon2i'), form],
    ['$7$ without a key', `$7$101$${salt}`, form],
    ['$7$ with a further field', `$7$101$${salt}$${key}$`, form],
    ['$6$ with iterations', `$6$101$${salt}$${key}`, form],
    ['text before $6$', `x$6$${salt}$${key}`, form],
    ['text before argon2id', `x${argon2id}`, form],
    ['$7$ with empty iterations', `$7$$${salt}$${key}`, form],
    ['0 iterations', `$7$0$${salt}$${key}`, form],
    ['negative iterations', `$7$-1$${salt}$${key}`, form],
    ['iterations with a plus sign', `$7$+101$${salt}$${key}`, form],
    ['iterations with a leading zero', `$7$0101$${salt}$${key}`, form],
    ['a blank in the iterations', `$7$ 101$${salt}$${key}`, form],
    ['hexadecimal iterations', `$7$0x65$${salt}$${key}`, form],
    ['iterations with an exponent', `$7$1e2$${salt}$${key}`, form],
    ['fractional iterations', `$7$1.0$${salt}$${key}`, form],
    ['iterations in Arabic digits', `$7$\u0661\u0660\u0661$${salt}$${key}`, form],
    ['2^31 iterations', `$7$2147483648$${salt}$${key}`, form],
    ['2^32 + 101 iterations', `$7$4294967397$${salt}$${key}`, form],
    ['iterations of 21 digits', `$7$100000000000000000000$${salt}$${key}`, form],
    ['an empty salt', `$7$101$$${key}`, form],
    ['a salt of 11 bytes', `$7$101$${Buffer.alloc(11).toString('base64')}$${key}`, form],
    ['a salt of 63 bytes', `$6$${Buffer.alloc(63).toString('base64')}$${key}`, form],
    ['a salt of 65 bytes', `$6$${Buffer.alloc(65).toString('base64')}$${key}`, form],
    ['a salt without padding', `$7$101$${bare(longSalt)}$${key}`, form],
    ['a URL-safe salt', `$7$101$${'-_'.repeat(8)}$${key}`, form],
    ['a line feed in the salt', `$7$101$${salt.slice(0, 8)}\n${salt.slice(8)}$${key}`, form],
    ['text after the salt', `$7$101$${salt}=$${key}`, form],
    ['a key without padding', `$7$101$${salt}$${bare(key)}`, form],
    ['a key with half its padding', `$7$101$${salt}$${key.slice(0, -1)}`, form],
    ['unused bits of the key that are not 0', `$7$101$${salt}$${key.slice(0, -3)}h==`, form],
    ['a carriage return after the key', `$7$101$${salt}$${key}\r`, form],
    ['a line feed after the key', `$6$${salt}$${key}\n`, form],
    ['an empty key', `$7$101$${salt}$`, form],
    ['a key of 63 bytes', `$7$101$${salt}$${Buffer.alloc(63).toString('base64')}`, form],
    ['a key of 65 bytes', `$6$${salt}$${Buffer.alloc(65).toString('base64')}`, form],
    ['argon2id without a version', argon2id.replace('v=19$', ''), form],
    ['another version of argon2', argon2id.replace('v=19', 'v=16'), form],
    ['parameters of argon2id in another order', argon2id.replace('m=47104,t=1', 't=1,m=47104'), form],
    ['a further parameter of argon2id', argon2id.replace('t=1,', 't=1,keyid=x,'), form],
    ['a further parameter of argon2id at the end', argon2id.replace('p=1', 'p=1,keyid=x'), form],
    ['a further parameter of argon2id at the beginning', argon2id.replace('m=4', 'keyid=x,m=4'), form],
    ['text after the memory', argon2id.replace('47104', '47104k'), form],
    ['text after the passes', argon2id.replace('t=1', 't=1.'), form],
    ['text after the lanes', argon2id.replace('p=1', 'p=1x'), form],
    ['0 KiB of memory', argon2id.replace('m=47104', 'm=0'), form],
    ['memory with a leading zero', argon2id.replace('m=4', 'm=04'), form],
    ['7 KiB of memory', argon2id.replace('47104', '7'), form],
    ['0 passes', argon2id.replace('t=1', 't=0'), form],
    ['0 lanes', argon2id.replace('p=1', 'p=0'), form],
    ['2^32 KiB of memory', argon2id.replace('m=47104', 'm=4294967296'), form],
    ['2^32 passes', argon2id.replace('t=1', 't=4294967296'), form],
    ['2^24 lanes', argon2id.replace('m=47104,t=1,p=1', 'm=4294967295,t=1,p=16777216'), form],
    ['a padded argon2id salt', argon2id.replace(bare(longSalt), longSalt), form],
    ['a padded argon2id key', `${argon2id}==`, form],
  ])('refuses %s', (_what, hash, message) => {
    const refusal = expect.objectContaining({
      name: 'PasswordFileError',
      code: 'ERR_INVALID_HASH',
      message: expect.stringMatching(message),
    });
    expect(() => parseHash(hash as string)).toThrow(refusal);
    expect(() => assertHash(hash as string, MAX_ITERATIONS)).toThrow(refusal);
    const bytes = Buffer.from(hash === null ? '' : ((hash as string | undefined) ?? ''));
    expect(canonicalHashEnd(bytes, 0, MAX_ITERATIONS)).not.toBe(bytes.length);
  });

  test.each([
    [12, salt],
    [64, longSalt],
  ])(
    'accepts the same bytes as canonicalHashEnd in each place of a hash with a salt of %i bytes',
    (_length, saltText) => {
      const hash = `$7$101$${saltText}$${key}`;
      const others = [...hash].flatMap((_, at) =>
        [...'$/019:=ABQagwz{'].map(byte => `${hash.slice(0, at)}${byte}${hash.slice(at + 1)}`),
      );
      const ends = others.map(other => canonicalHashEnd(Buffer.from(other), 0, MAX_ITERATIONS));
      expect(ends).toEqual(others.map(other => (tryParseHash(other) === undefined ? -1 : other.length)));
      expect(ends.filter(end => end > 0).length).toBeGreaterThan(800);
    },
  );

  test('canonicalHashEnd accepts as many iterations as are allowed, and refuses one more', () => {
    const bytes = Buffer.from(`$7$101$${salt}$${key}`);
    expect([100, 101].map(limit => canonicalHashEnd(bytes, 0, limit))).toEqual([-1, bytes.length]);
  });
});

describe('formatHash', () => {
  const salt = new Uint8Array(12);
  const key = new Uint8Array(64);
  test.each<[string, unknown, RegExp]>([
    [
      'a hash without an algorithm',
      { salt, key },
      /none of the algorithms pbkdf2-sha512, sha512 and argon2id/,
    ],
    ['a hash without a salt', { algorithm: 'sha512', key }, /a salt that is not a Uint8Array/],
    ['undefined', undefined, /a salt that is not a Uint8Array/],
    ['null', null, /a salt that is not a Uint8Array/],
    ['detached bytes', { algorithm: 'sha512', salt: detached(), key }, /none of the forms/],
    [
      'iterations that are a Symbol',
      { algorithm: 'pbkdf2-sha512', iterations: Symbol('101'), salt, key },
      /none of the forms/,
    ],
    [
      'a memory that is a Symbol',
      { algorithm: 'argon2id', memory: Symbol('8'), passes: 1, parallelism: 1, salt, key },
      /none of the forms/,
    ],
    [
      'a key in a string',
      { algorithm: 'sha512', salt, key: 'x'.repeat(64) },
      /a key that is not a Uint8Array/,
    ],
    [
      'a salt of 8 bytes',
      { algorithm: 'sha512', salt: new Uint8Array(8), key },
      /none of the forms .* the salt \(12 or 64 bytes\)/,
    ],
    [
      'a key of 32 bytes',
      { algorithm: 'sha512', salt, key: new Uint8Array(32) },
      /none of the forms .* the key \(64 bytes\)/,
    ],
    [
      'a PBKDF2 hash without iterations',
      { algorithm: 'pbkdf2-sha512', salt, key },
      /the forms \$7\$\S+ \(1 to 2147483647 iterations\)/,
    ],
    [
      '0 iterations',
      { algorithm: 'pbkdf2-sha512', iterations: 0, salt, key },
      /the forms \$7\$\S+ \(1 to 2147483647 iterations\)/,
    ],
    [
      '1e21 iterations',
      { algorithm: 'pbkdf2-sha512', iterations: 1e21, salt, key },
      /the forms \$7\$\S+ \(1 to 2147483647 iterations\)/,
    ],
    [
      'less than 8 KiB of memory for each lane',
      { algorithm: 'argon2id', memory: 15, passes: 1, parallelism: 2, salt, key },
      /\$argon2id\$\S+ \(m: at least 8 KiB for each lane p;/,
    ],
  ])('refuses %s', (_what, parsed, message) => {
    const refusal = { code: 'ERR_INVALID_HASH', message: expect.stringMatching(message) };
    expect(() => formatHash(parsed as ParsedHash)).toThrow(expect.objectContaining(refusal));
  });
});

describe('properties', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 }).filter(each => !each.includes('\0'));
  const octets = fc.uint8Array({ minLength: 1, maxLength: 200, min: 1 });
  const password = fc.oneof(text, octets);
  const bytes = (length: number) =>
    fc.oneof(
      fc
        .nat()
        .map(
          seed => new Uint8Array(crypto.createHash('sha512').update(`${seed}`).digest().subarray(0, length)),
        ),
      fc.constantFrom(0, 0x3f, 0xff).map(byte => new Uint8Array(length).fill(byte)),
    );
  const salt = fc.oneof(bytes(12), bytes(64));
  const key = bytes(64);
  const options = fc.record(
    {
      algorithm: fc.constantFrom('pbkdf2-sha512' as const, 'sha512' as const),
      iterations: fc.integer({ min: 1, max: 20 }),
      salt,
    },
    { requiredKeys: [] },
  );
  const parsed: fc.Arbitrary<ParsedHash> = fc.oneof(
    fc.record({
      algorithm: fc.constant('pbkdf2-sha512' as const),
      iterations: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
      salt,
      key,
    }),
    fc.record({ algorithm: fc.constant('sha512' as const), salt, key }),
    fc
      .record({
        algorithm: fc.constant('argon2id' as const),
        memory: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
        passes: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
        parallelism: fc.integer({ min: 1, max: 2 ** 24 - 1 }),
        salt,
        key,
      })
      .map(hash => ({ ...hash, memory: Math.max(hash.memory, 8 * hash.parallelism) })),
  );

  test('a hash verifies with its password, and not with another one', async () => {
    await fc.assert(
      fc.asyncProperty(password, password, options, async (right, other, how) => {
        const hash = await hashPassword(right, how);
        expect(await verifyPassword(right, hash)).toBe(true);
        const same = Buffer.from(right).equals(Buffer.from(other));
        expect(await verifyPassword(other, hash)).toBe(same);
      }),
    );
  });

  test('the Sync functions and the async ones have the same results', async () => {
    await fc.assert(
      fc.asyncProperty(password, password, options, salt, async (right, other, how, fixed) => {
        const hash = hashPasswordSync(right, { ...how, salt: fixed });
        expect(await hashPassword(right, { ...how, salt: fixed })).toBe(hash);
        expect(verifyPasswordSync(right, hash)).toBe(true);
        expect(verifyPasswordSync(other, hash)).toBe(await verifyPassword(other, hash));
      }),
    );
  });

  test('parseHash is the inverse of formatHash', () => {
    fc.assert(
      fc.property(parsed, each => {
        expect(parseHash(formatHash(each))).toEqual(each);
      }),
    );
  });

  const broken = fc
    .tuple(parsed.map(formatHash), fc.nat(), fc.nat(3), fc.string({ maxLength: 3 }))
    .map(
      ([hash, at, gone, put]) =>
        hash.slice(0, at % hash.length) + put + hash.slice((at % hash.length) + gone),
    );

  test('canonicalHashEnd finds exactly the $7$ hashes that parseHash accepts, up to a cost', () => {
    const limit = fc.constantFrom(1, 101, 999_999_999, MAX_ITERATIONS);
    const hash = fc.oneof(parsed.map(formatHash), broken);
    fc.assert(
      fc.property(hash, limit, fc.string({ maxLength: 3 }), (each, maxIterations, around) => {
        const read = tryParseHash(each);
        const isCanonical = read?.algorithm === 'pbkdf2-sha512' && read.iterations <= maxIterations;
        const bytes = Buffer.from(around + each + around);
        const from = Buffer.byteLength(around);
        expect(canonicalHashEnd(bytes, from, maxIterations) === bytes.length - from).toBe(isCanonical);
      }),
      { numRuns: 500 },
    );
  });

  test('any string is parsed and formatted the same, or refused in a message that does not show it', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: codePoint }), broken), hash => {
        try {
          expect(formatHash(parseHash(hash))).toBe(hash);
        } catch (error) {
          expect(error).toBeInstanceOf(PasswordFileError);
          const { code, message } = error as PasswordFileError;
          expect(code).toBe('ERR_INVALID_HASH');
          if (hash.length > 12) expect(message).not.toContain(hash);
          for (const field of hash.split('$')) if (field.length > 20) expect(message).not.toContain(field);
        }
      }),
      { numRuns: 250 },
    );
  });
});

import { describe, expect, test } from 'vitest';
import { looksLikeHash, readBrokerHash } from '../../src/check/stored-hash.js';

const salt = Buffer.alloc(12, 1).toString('base64');
const longSalt = Buffer.alloc(64, 3).toString('base64');
const key = Buffer.alloc(64, 2).toString('base64');
const pbkdf2 = (iterations: number, bytes = Buffer.alloc(12, 1)) => ({
  algorithm: 'pbkdf2-sha512',
  iterations,
  salt: new Uint8Array(bytes),
  key: new Uint8Array(64).fill(2),
});
const sha512 = { algorithm: 'sha512', salt: new Uint8Array(12).fill(1), key: new Uint8Array(64).fill(2) };
/** How 2.1 judges a hash that only 2.0 reads, because it does not begin with `$7$` or `$6$`. */
const on21 = 'UNSUPPORTED_HASH.type';

describe('readBrokerHash reads as 2.0 and 2.1 do', () => {
  test.each<[string, string, unknown, unknown?]>([
    ['a canonical hash', `$7$101$${salt}$${key}`, pbkdf2(101)],
    [
      'a canonical hash with a salt of 64 bytes',
      `$7$101$${longSalt}$${key}`,
      'LONG_SALT.refused',
      pbkdf2(101, Buffer.alloc(64, 3)),
    ],
    [
      'a hash with a salt of 64 bytes and a $ at the end',
      `$7$101$${longSalt}$${key}$`,
      'LONG_SALT.refused',
      pbkdf2(101, Buffer.alloc(64, 3)),
    ],
    ['a $7$ hash with runs of $ in it', `$7$$101$$$${salt}$$${key}`, pbkdf2(101)],
    ['a $6$ hash with runs of $ in it', `$6$$${salt}$$${key}`, sha512],
    ['a hash with runs of $ at both ends', `$$7$101$${salt}$${key}$$`, pbkdf2(101), on21],
    ['a $7$ hash without the first $', `7$101$${salt}$${key}`, pbkdf2(101), on21],
    ['a $6$ hash without the first $', `6$${salt}$${key}`, sha512, on21],
    ['a hash with further fields', `$7$101$${salt}$${key}$x$y`, pbkdf2(101)],
    ['a hash with stray bits in the key', `$7$101$${salt}$${key.slice(0, -3)}h==`, pbkdf2(101)],
    ['iterations with blanks, a sign, zeros and text', `$7$ \t+007x$${salt}$${key}`, pbkdf2(7)],
    ['iterations that C cuts to 32 bits', `$7$4294967297$${salt}$${key}`, pbkdf2(1)],
    ['iterations of 18 digits', `$7$${2n ** 58n + 7n}$${salt}$${key}`, pbkdf2(7)],
    ['iterations of 19 digits', `$7$${2n ** 60n + 7n}$${salt}$${key}`, 'MALFORMED_HASH.iterations'],
    ['text before the iterations', `$7$x101$${salt}$${key}`, 'MALFORMED_HASH.iterations'],
    ['text in place of iterations', `$7$x$${salt}$${key}`, 'MALFORMED_HASH.iterations'],
    ['0 iterations', `$7$0$${salt}$${key}`, 'MALFORMED_HASH.iterations'],
    ['$7$ alone', '$7$', 'MALFORMED_HASH.fields'],
    ['a $7$ hash without salt and key', '$7$101', 'MALFORMED_HASH.fields'],
    ['a $7$ hash without a key', `$7$101$${salt}`, 'MALFORMED_HASH.fields'],
    ['a $6$ hash without a key', `$6$${salt}`, 'MALFORMED_HASH.fields'],
    ['a $7$ hash with a $ and no key', `$7$101$${salt}$`, 'MALFORMED_HASH.fields'],
    ['a $6$ hash with a $ and no key', `$6$${salt}$`, 'MALFORMED_HASH.fields'],
    ['a $6$ hash without a salt', `$6$$${key}`, 'MALFORMED_HASH.fields'],
    ['a salt that is no base64', `$7$101$${salt}%$${key}`, 'MALFORMED_HASH.salt'],
    ['a salt of 2 bytes', `$7$101$AQI=$${key}`, 'MALFORMED_HASH.salt'],
    ['a key of 62 bytes', `$7$101$${salt}$${Buffer.alloc(62).toString('base64')}`, 'MALFORMED_HASH.key'],
    ['an argon2id hash', `$argon2id$v=19$m=47104,t=1,p=1$${salt}$x`, 'UNSUPPORTED_HASH.argon2id'],
    ['a bcrypt hash', '$2b$12$abcdefghijklmnopqrstuv', 'UNSUPPORTED_HASH.type'],
    ['plain text', 'secret', 'PLAIN_TEXT'],
    ['an empty field', '', 'MISSING_HASH'],
    ['a field of 65,535 characters', `$7$101$${salt}$${key}$`.padEnd(65_535, 'x'), pbkdf2(101)],
    ['a field of 65,536 characters', `$7$101$${salt}$${key}$`.padEnd(65_536, 'x'), 'LONG_HASH'],
  ])('%s', (_what, field, expected20, expected21 = expected20) => {
    const read = ['2.0', '2.1'] as const;
    const [on20, on21] = read
      .map(release => readBrokerHash(field, release))
      .map(({ hash, fault }) => hash ?? fault);
    expect([on20, on21]).toEqual([expected20, expected21]);
  });
});

test.each([
  ['$7', true],
  ['$$5x', true],
  ['$argon2', true],
  ['$$argon2', true],
  ['6$', true],
  [`pw$${'Ab0+/'.repeat(12)}`, true],
  [`pw$${'Ab0+/'.repeat(12).slice(1)}`, false],
  [`pw$${'Ab0%/'.repeat(20)}`, false],
  ['a$7$b', false],
  ['x7$', false],
  ['5$', false],
  ['7', false],
  ['2024-secret', false],
  ['argon2', false],
  ['$secret', false],
  ['', false],
])('%j looks like a hash: %s', (field, expected) => {
  expect(looksLikeHash(field)).toBe(expected);
});

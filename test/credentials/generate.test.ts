import crypto from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { generateCredentials, generatePassword, generateUsername } from '../../src/credentials/generate.js';
import { assertPassword, assertUsername } from '../../src/credentials/rules.js';
import { spyOnBuiltin } from '../support/builtins.js';

/** Replaces `randomInt` until the test has ended, and records its calls. */
function draw(numbers: (max: number) => number) {
  const drawing = spyOnBuiltin(crypto as { randomInt(max: number): number }, 'randomInt');
  return drawing.mockImplementation(numbers);
}

describe('generateCredentials', () => {
  test('makes a user name of device_ and 8 characters, and a password of 32', () => {
    const { username, password } = generateCredentials();
    expect(username).toMatch(/^device_[a-z0-9]{8}$/);
    expect(password).toMatch(/^[A-Za-z0-9_-]{32}$/);
  });

  test('makes 200 different user names and passwords in 200 calls', () => {
    const many = Array.from({ length: 200 }, () => generateCredentials());
    expect(new Set(many.map(({ username }) => username)).size).toBe(200);
    expect(new Set(many.map(({ password }) => password)).size).toBe(200);
  });

  test('follows its options for the user name and the password', () => {
    const { username, password } = generateCredentials({
      username: { prefix: 'meter/', length: 3, alphabet: 'xy' },
      password: { length: 200, alphabet: 'ab' },
    });
    expect(username).toMatch(/^meter\/[xy]{3}$/);
    expect(password).toMatch(/^[ab]{200}$/);
  });

  test('uses the default where an option is undefined', () => {
    const { username, password } = generateCredentials({
      username: { prefix: undefined, length: undefined, alphabet: undefined },
      password: { length: undefined, alphabet: undefined },
    });
    expect(username).toMatch(/^device_[a-z0-9]{8}$/);
    expect(password).toMatch(/^[A-Za-z0-9_-]{32}$/);
  });
});

describe('randomness', () => {
  const nameAlphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';
  const passwordAlphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

  // crypto.randomInt has no modulo bias. So there is none if each character is one call of it over the whole alphabet.
  test.each([
    ['a user name', () => generateUsername({ prefix: '', length: 36 }), nameAlphabet],
    ['a password', () => generatePassword({ length: 64 }), passwordAlphabet],
    ['a password of a given alphabet', () => generatePassword({ length: 128, alphabet: '€🙂' }), '€🙂'],
  ])('of %s: each character is one draw from the whole alphabet', (_what, generate, alphabet) => {
    const characters = [...alphabet];
    let next = 0;
    const { mock } = draw(max => next++ % max);
    const drawn = [...generate()];
    expect(drawn).toEqual(drawn.map((_, n) => characters[n % characters.length]));
    expect(drawn.length).toBeGreaterThanOrEqual(characters.length);
    expect(mock.calls).toEqual(drawn.map(() => [characters.length]));
  });
});

describe('generateUsername', () => {
  test.each<[string, object, string, RegExp]>([
    ['a prefix that is no string', { prefix: 5 }, 'ERR_INVALID_ARGUMENT', /^prefix must be a string\.$/],
    [
      'a length of 0',
      { length: 0 },
      'ERR_INVALID_ARGUMENT',
      /^length must be a whole number from 1 to 1024\.$/,
    ],
    ['a length of 8.5', { length: 8.5 }, 'ERR_INVALID_ARGUMENT', /^length must be/],
    ['a length of 1025', { length: 1025 }, 'ERR_INVALID_ARGUMENT', /^length must be/],
    ['a length in a string', { length: '8' }, 'ERR_INVALID_ARGUMENT', /^length must be/],
    [
      'an alphabet of one character',
      { alphabet: 'a' },
      'ERR_INVALID_ARGUMENT',
      /at least two characters, each standing in it once/,
    ],
    [
      'an alphabet that has a character twice',
      { alphabet: 'abca' },
      'ERR_INVALID_ARGUMENT',
      /each standing in it once/,
    ],
    [
      'an alphabet in an array',
      { alphabet: ['a', 'b'] },
      'ERR_INVALID_ARGUMENT',
      /^alphabet must be a string/,
    ],
    ['a colon in the prefix', { prefix: 'device:' }, 'ERR_INVALID_USERNAME', /contains ':'/],
    ["the prefix '#'", { prefix: '#' }, 'ERR_INVALID_USERNAME', /starts with '#'/],
    [
      'a prefix that starts with a blank',
      { prefix: ' ' },
      'ERR_INVALID_USERNAME',
      /starts or ends with a blank/,
    ],
    [
      'a prefix that MQTT cannot carry',
      { prefix: 'x'.repeat(65_535) },
      'ERR_INVALID_USERNAME',
      /longer than 65535 bytes/,
    ],
    [
      'a prefix with which the name is longer than MQTT can carry',
      { prefix: 'x'.repeat(65_528) },
      'ERR_INVALID_USERNAME',
      /longer than 65535 bytes/,
    ],
  ])('refuses %s', (_what, options, code, message) => {
    const refusal = { code, message: expect.stringMatching(message) };
    expect(() => generateUsername(options)).toThrow(expect.objectContaining(refusal));
  });

  // Not only when the character is drawn.
  test.each<[string, object, RegExp]>([
    ['a colon', { alphabet: 'abc:' }, /contains ':'/],
    ['a blank, which may come last', { alphabet: 'abc ' }, /starts or ends with a blank/],
    ['a # that may come first', { alphabet: 'abc#', prefix: '' }, /starts with '#'/],
    ['a control character', { alphabet: 'abc\u0085' }, /contains a control character/],
    ['half of a surrogate pair', { alphabet: 'ab\ud83d' }, /contains half of a surrogate pair/],
  ])('refuses an alphabet with %s, whatever is drawn', (_what, options, message) => {
    draw(() => 0);
    const refusal = { code: 'ERR_INVALID_USERNAME', message: expect.stringMatching(message) };
    expect(() => generateUsername(options)).toThrow(expect.objectContaining(refusal));
  });

  test('accepts an alphabet with a # if a prefix precedes it', () => {
    expect(generateUsername({ alphabet: '#+', prefix: 'a' })).toMatch(/^a[#+]{8}$/);
  });

  test('makes names that a client can log in with', () => {
    const prefix = fc
      .string({ maxLength: 10, unit: fc.constantFrom(...'abé/.-_ 設') })
      .map(each => each.trimStart());
    const length = fc.integer({ min: 1, max: 1024 });
    fc.assert(
      fc.property(fc.record({ prefix, length }, { requiredKeys: [] }), options => {
        const name = generateUsername(options);
        assertUsername(name);
        expect(name.startsWith(options.prefix ?? 'device_')).toBe(true);
        expect(name.length).toBe((options.prefix ?? 'device_').length + (options.length ?? 8));
      }),
    );
  });
});

describe('generatePassword', () => {
  test.each<[string, object, string, RegExp]>([
    ['a length of NaN', { length: Number.NaN }, 'ERR_INVALID_ARGUMENT', /^length must be/],
    ['a length of Infinity', { length: Number.POSITIVE_INFINITY }, 'ERR_INVALID_ARGUMENT', /^length must be/],
    ['an empty alphabet', { alphabet: '' }, 'ERR_INVALID_ARGUMENT', /at least two characters/],
  ])('refuses %s', (_what, options, code, message) => {
    const refusal = { code, message: expect.stringMatching(message) };
    expect(() => generatePassword(options)).toThrow(expect.objectContaining(refusal));
  });

  test.each<[string, object, RegExp]>([
    ['a NUL', { alphabet: 'abcdefg\0', length: 64 }, /contains a NUL/],
    [
      'half of a surrogate pair',
      { alphabet: 'abcdef\ud83d', length: 64 },
      /contains half of a surrogate pair/,
    ],
  ])('refuses an alphabet with %s, whatever is drawn', (_what, options, message) => {
    draw(() => 0);
    const refusal = { code: 'ERR_INVALID_PASSWORD', message: expect.stringMatching(message) };
    expect(() => generatePassword(options)).toThrow(expect.objectContaining(refusal));
  });

  test('refuses a password of less than 128 bits, and says how many characters it needs', () => {
    expect(() => generatePassword({ length: 21 })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        message: '21 characters of this alphabet are 126 bits, fewer than 128. Use at least 22 characters.',
      }),
    );
    expect(generatePassword({ length: 22 })).toHaveLength(22);
    expect(() => generatePassword({ length: 31, alphabet: '0123456789abcdef' })).toThrow(
      'Use at least 32 characters.',
    );
    expect(generatePassword({ length: 32, alphabet: '0123456789abcdef' })).toHaveLength(32);
  });

  test('requires 128 bits with every alphabet', () => {
    const letters = String.fromCharCode(...Array.from({ length: 1000 }, (_, n) => 0x100 + n));
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 1000 }), size => {
        const alphabet = letters.slice(0, size);
        let length = 1;
        while (BigInt(size) ** BigInt(length) < 2n ** 128n) length++;
        expect(generatePassword({ alphabet, length })).toHaveLength(length);
        expect(() => generatePassword({ alphabet, length: length - 1 })).toThrow(
          `at least ${length} characters`,
        );
      }),
      { numRuns: 300 },
    );
  });

  test('makes passwords that a client can log in with', () => {
    const length = fc.integer({ min: 128, max: 1024 });
    const alphabet = fc
      .uniqueArray(fc.integer({ min: 1, max: 0xd7ff }), { minLength: 2, maxLength: 40 })
      .map(points => String.fromCharCode(...points));
    fc.assert(
      fc.property(
        fc.oneof(fc.record({ length, alphabet }), fc.constant({ length: undefined, alphabet: undefined })),
        options => {
          const password = generatePassword(options);
          assertPassword(password);
          expect(password).toHaveLength(options.length ?? 32);
          if (options.alphabet !== undefined)
            expect(new Set(options.alphabet)).toEqual(new Set(options.alphabet + password));
        },
      ),
    );
  });
});

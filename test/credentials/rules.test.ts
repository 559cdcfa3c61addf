import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assertPassword, assertUsername, comparedPassword, ownCopy } from '../../src/credentials/rules.js';
import { PasswordFileError } from '../../src/errors.js';
import { codePoint } from '../support/code-point.js';

function errorOf(call: () => void): PasswordFileError {
  try {
    call();
  } catch (error) {
    expect(error).toBeInstanceOf(PasswordFileError);
    return error as PasswordFileError;
  }
  throw new Error('nothing was thrown');
}

describe('assertUsername', () => {
  test.each([
    'alice',
    'device_k3x0q9ab',
    'sensor/tenant-1/42',
    'user@example.com',
    'a b',
    'a#b',
    'with+plus',
    '$sys',
    'back\\slash',
    '"quoted"',
    'ålicé',
    '設備',
    '🙂',
    '\u00a0no-break spaces are no blanks to C\u00a0',
    '\u200b',
    '\ufffd',
  ])('accepts %j', name => {
    expect(() => assertUsername(name)).not.toThrow();
  });

  test.each([
    [65_535, 'x'.repeat(65_535)],
    [32_767, 'é'.repeat(32_767)],
  ])('accepts %i characters in up to 65,535 bytes', (_length, name) => {
    expect(() => assertUsername(name)).not.toThrow();
  });

  const colon =
    /^The user name contains ':', which ends the name in the password file\. Use '\/', '\.', '-' or '_' in its place\.$/;
  const comment = /^The user name starts with '#'\. .*comment\. Start the name with another character\.$/;
  const blank =
    /^The user name starts or ends with a blank\. .*would be another name there\. Trim it first\.$/;
  const surrogate =
    /^The user name contains half of a surrogate pair\. It has no UTF-8 form\. Cut strings between characters\.$/;
  const character =
    /^The user name contains a control character or a Unicode noncharacter\. The broker drops the connection.* Remove it\.$/;
  const long = /^The user name is longer than 65535 bytes\. MQTT cannot carry it\. Use a shorter name\.$/;

  test.each<[string, RegExp]>([
    [
      '',
      /^The user name is empty\. Mosquitto 2\.1 refuses the whole file over such a line\. Give every user a name\.$/,
    ],
    ['service:pulse', colon],
    ['device:tenant:id', colon],
    [':', colon],
    ['#alice', comment],
    ['#', comment],
    [' alice', blank],
    ['alice ', blank],
    ['\talice', blank],
    ['alice\n', blank],
    ['alice\r', blank],
    ['\valice', blank],
    ['alice\f', blank],
    [' ', blank],
    ['al\ud800ice', surrogate],
    ['\udc00', surrogate],
    ['alice\ud83d', surrogate],
    ['al\0ice', character],
    ['al\tice', character],
    ['al\nice', character],
    ['al\u001fice', character],
    ['al\u007fice', character],
    ['al\u0080ice', character],
    ['al\u0085ice', character],
    ['al\u009fice', character],
    ['al\ufdd0ice', character],
    ['al\ufdefice', character],
    ['al\ufffeice', character],
    ['al\uffffice', character],
    ['al\u{1fffe}ice', character],
    ['al\u{10ffff}ice', character],
  ])('refuses %j', (name, message) => {
    const error = errorOf(() => assertUsername(name));
    expect(error.code).toBe('ERR_INVALID_USERNAME');
    expect(error.message).toMatch(message);
  });

  test.each([
    [65_536, 'x'.repeat(65_536)],
    [32_768, 'é'.repeat(32_768)],
  ])('refuses %i characters in 65,536 bytes', (_length, name) => {
    const error = errorOf(() => assertUsername(name));
    expect(error.code).toBe('ERR_INVALID_USERNAME');
    expect(error.message).toMatch(long);
  });

  test.each([
    ['alice:PASSWORD', 'alice'],
    ['alice\tPASSWORD', 'alice'],
    ['alice\nPASSWORD', 'alice'],
    [' alice\u0085PASSWORD', ' alice'],
    [':PASSWORD', undefined],
    ['#alice', '#alice'],
    ['alice ', 'alice '],
    ['', undefined],
  ])(
    'fails for %j with an error that has only the name, not what may be a password after it',
    (name, username) => {
      const error = errorOf(() => assertUsername(name));
      expect(error.username).toBe(username);
      expect(inspect(error, { showHidden: true, depth: null })).not.toContain('PASSWORD');
    },
  );

  test.each([
    [undefined, 'undefined'],
    [null, 'null'],
    [42, 'number'],
    [Buffer.from('alice'), 'object'],
  ])('refuses %o, which is no string', (name, type) => {
    const error = errorOf(() => assertUsername(name));
    expect(error.code).toBe('ERR_INVALID_USERNAME');
    expect(error.message).toBe(
      `The user name is ${type}, not a string. Is the variable that should hold it set?`,
    );
  });

  /** The rules of `mosquitto_validate_utf8` in lib/utf8_mosq.c, and those of the line format. */
  function canLogIn(name: string): boolean {
    const bytes = Buffer.from(name);
    if (bytes.length === 0 || bytes.length > 65_535 || bytes.toString() !== name) return false;
    if (name.startsWith('#') || name.includes(':')) return false;
    for (const character of name) {
      const point = character.codePointAt(0) as number;
      if (point <= 0x1f || (point >= 0x7f && point <= 0x9f)) return false;
      if ((point >= 0xfdd0 && point <= 0xfdef) || (point & 0xfffe) === 0xfffe) return false;
    }
    return !name.startsWith(' ') && !name.endsWith(' ');
  }

  test('refuses exactly the names that the broker cannot let in', () => {
    const odd = fc.constantFrom(
      ' ',
      ':',
      '#',
      '\0',
      '\u0085',
      '\ud800',
      '\ufffe',
      '\u{2ffff}',
      '\u00a0',
      '\ufdd0',
    );
    const name = fc.oneof(
      fc.string({ unit: codePoint, maxLength: 6 }),
      fc.string({ unit: fc.oneof(odd, fc.constantFrom('a', 'é', '🙂')), maxLength: 4 }),
      fc.tuple(fc.integer({ min: 0, max: 0x10_ffff })).map(([point]) => `a${String.fromCodePoint(point)}b`),
    );
    fc.assert(
      fc.property(name, each => {
        let taken = true;
        try {
          assertUsername(each);
        } catch {
          taken = false;
        }
        expect(taken).toBe(canLogIn(each));
      }),
      { numRuns: 300 },
    );
  });
});

describe('assertPassword', () => {
  test.each<[string, string | Uint8Array]>([
    ['a word', 'secret'],
    ['blanks at both ends', '  secret  '],
    ['blanks alone', '   '],
    ['colons', 'p:a:s:s'],
    ['what looks like a hash', '$7$101$x'],
    ['control characters', 'tab\tline\nescape\u001b'],
    ['noncharacters', '\uffff'],
    ['non-ASCII letters', 'pässwörd'],
    ['bytes that are no UTF-8', new Uint8Array([0xff, 0x80])],
    ['65,535 bytes', `${'é'.repeat(32_767)}x`],
  ])('accepts %s', (_what, password) => {
    expect(() => assertPassword(password)).not.toThrow();
  });

  const unset = (type: string) =>
    `The password is ${type}, not a string or Uint8Array. Is the variable that should hold it set?`;
  const empty = 'The password is empty. No client can log in with an empty password.';
  const nul = 'The password contains a NUL, and the broker compares only what stands before it. Remove it.';
  const long = 'The password is longer than 65535 bytes, which MQTT cannot carry. Use a shorter one.';
  test.each<[string, unknown, string]>([
    ['undefined', undefined, unset('undefined')],
    ['null', null, unset('null')],
    ['a number', 12345678, unset('number')],
    ['an array', [1, 2, 3], unset('object')],
    ['an object that calls itself bytes', { [Symbol.toStringTag]: 'Uint8Array', length: 6 }, unset('object')],
    ['an empty string', '', empty],
    ['an empty Uint8Array', new Uint8Array(), empty],
    ['a string with a NUL', 'before\0after', nul],
    ['bytes with a NUL', new Uint8Array([1, 0, 2]), nul],
    [
      'a string with half of a surrogate pair',
      'hunter2\ud83d',
      'The password contains half of a surrogate pair, which has no UTF-8 form. Pass bytes, or a well-formed string.',
    ],
    ['65,536 characters', 'x'.repeat(65_536), long],
    ['32,768 characters that are 65,536 bytes of UTF-8', 'é'.repeat(32_768), long],
    ['65,536 bytes', new Uint8Array(65_536).fill(1), long],
  ])('refuses %s', (_what, password, message) => {
    const error = errorOf(() => assertPassword(password));
    expect(error.code).toBe('ERR_INVALID_PASSWORD');
    expect(error.message).toBe(message);
  });

  test('shows no part of the password in its error', () => {
    const word = fc.string({ minLength: 12, unit: fc.constantFrom(...'XYZ0123456789') });
    const wrong = fc.constantFrom('\0', '\ud800', 'x'.repeat(65_536));
    fc.assert(
      fc.property(word, wrong, (secret, fault) => {
        const { message, username, cause } = errorOf(() => assertPassword(secret + fault));
        expect(message).not.toContain(secret);
        expect([username, cause]).toEqual([undefined, undefined]);
      }),
    );
  });
});

describe('comparedPassword', () => {
  test.each<[string, string | Uint8Array, string | undefined]>([
    ['all of a password without a NUL', 'secret', 'secret'],
    ['the characters before a NUL', 'secret\0more', 'secret'],
    ['the bytes before a NUL', new TextEncoder().encode('secret\0more'), 'secret'],
    ['undefined for a password that starts with a NUL', '\0', undefined],
    ['undefined for an empty password', '', undefined],
    ['undefined for half of a surrogate pair', 'lone \ud800', undefined],
    ['all of 65,535 bytes', 'x'.repeat(65_535), 'x'.repeat(65_535)],
    ['undefined for 65,536 bytes', 'x'.repeat(65_536), undefined],
  ])('is %s', (_what, password, compared) => {
    const bytes = comparedPassword(password);
    expect(bytes && Buffer.from(bytes).toString()).toBe(compared);
  });
});

test.each([1, 2, 65_535])('ownCopy of a password of %i bytes does not change with it', length => {
  const password = new Uint8Array(length).fill(1);
  const own = ownCopy(password);
  password.fill(2);
  expect(own).toEqual(new Uint8Array(length).fill(1));
});

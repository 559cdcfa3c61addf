import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import verdicts from '../../fixtures/broker-verdicts.json' with { type: 'json' };
import { type CheckReport, checkLines, checkPasswordFile } from '../../src/check/check.js';
import { type BrokerRelease, type LoadedHash, readBrokerHash } from '../../src/check/stored-hash.js';
import { Draft, edited } from '../../src/document/draft.js';
import type { Finding } from '../../src/errors.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { runYielding } from '../../src/util/event-loop.js';
import { brokerUsers, letsIn } from '../support/broker-users.js';
import { codePoint } from '../support/code-point.js';
import { detached } from '../support/detached.js';
import { indexed } from '../support/indexed.js';

interface Verdict {
  start: string | number;
  reload: string;
  log: string[];
  logins?: (number | null)[];
}

interface Row {
  id: string;
  file: string;
  probes: [name: string, password: string][];
  brokers: Record<'2.0.11' | '2.0.21' | '2.1.2', Verdict>;
}

const ROWS = verdicts as unknown as Row[];
const RELEASES = ['2.0', '2.1'] as const;
const VERSIONS = { '2.0': ['2.0.11', '2.0.21'], '2.1': ['2.1.2'] } as const;

const SALT = Buffer.from('AQIDBAUGBwgJCgsM', 'base64');
const GOOD = hashPasswordSync('pw', { salt: SALT });
const KEY = GOOD.slice(-88);
const LAST = hashPasswordSync('last', { salt: SALT });
const LONG_SALT = hashPasswordSync('pw', { salt: Buffer.alloc(64, 1) });

function check(text: string | Uint8Array, broker: BrokerRelease): CheckReport {
  return checkPasswordFile(typeof text === 'string' ? Buffer.from(text, 'latin1') : text, { broker });
}

describe('check and verify agree with what three real brokers did with 285 files', () => {
  /** Files with blanks in base64. 2.1.2 was recorded with an OpenSSL that ignores them; others do not. */
  const LOADED_BY_SOME_OPENSSL = 'b64-space b64-tab-salt fuzz-1-45 fuzz-1-78 fuzz-1-99 fuzz-1-108'.split(' ');

  test.each(ROWS)('$id', async ({ id, file, probes, brokers }) => {
    const bytes = Buffer.from(file, 'base64');
    for (const release of RELEASES) {
      const did = VERSIONS[release].map(version => brokers[version]);
      const report = check(bytes, release);
      const loads = did.every(({ start, reload }) => start === 'ok' && reload === 'alive');
      expect(report.loads).toBe(loads && !(release === '2.1' && LOADED_BY_SOME_OPENSSL.includes(id)));
      if (!report.loads) {
        expect(report.users).toEqual([]);
        continue;
      }
      const users = brokerUsers(bytes, release);
      for (const [i, [name, password]] of probes.entries()) {
        if (isSlow(users.hashOf(name))) continue;
        const isIn = did.every(({ logins }) => logins?.[i] === 0);
        expect([name, await letsIn(users, name, password)]).toEqual([name, isIn]);
        if (isIn) expect(report.users).toContain(name);
        if (did.some(({ logins }) => logins?.[i] === null)) expect(report.users).not.toContain(name);
      }
      for (const name of removed(did, report)) expect(report.users).not.toContain(name);
      expect(report.users).toEqual([...new Set(report.users)]);
      for (const name of report.users) expect(users.hashOf(name)).toBeDefined();
    }
  });

  /** One row has ten million iterations. */
  function isSlow(hash: LoadedHash | undefined): boolean {
    return hash?.algorithm === 'pbkdf2-sha512' && hash.iterations > 100_000;
  }

  /** The users that a broker of 2.0 logged to remove, except those of duplicate names, whom another line may let in. */
  function removed(did: Verdict[], { findings }: CheckReport): string[] {
    const duplicate = findings
      .filter(({ code }) => code === 'DUPLICATE_NAME')
      .map(({ username }) => username);
    const log = did.flatMap(({ log }) => log).join('\n');
    const names = [...log.matchAll(/for user (.*), removing entry/g)].map(([, name]) => `${name}`);
    return names.filter(name => !duplicate.includes(name));
  }

  test('and no finding shows what follows a colon in them', () => {
    for (const { file } of ROWS) {
      const bytes = Buffer.from(file, 'base64');
      const secrets = bytes
        .toString('latin1')
        .split('\n')
        .flatMap(line => line.split(':').slice(1));
      for (const release of RELEASES) {
        const reported = JSON.stringify(check(bytes, release).findings);
        const shown = secrets
          .map(text => text.trim())
          .filter(text => text.length > 5 && reported.includes(text));
        expect(shown).toEqual([]);
      }
    }
  });
});

describe('check and verify agree with what real brokers did with other files', () => {
  test('2.0 uses the last line of a duplicate name, with up to 85 other users', async () => {
    for (const [other, count] of [
      ['user', 0],
      ['user', 80],
      ['tenant/device-', 85],
    ] as const) {
      const first = hashPasswordSync('first', { iterations: 1 });
      const last = hashPasswordSync('last', { iterations: 1 });
      const others = Array.from({ length: count }, (_, i) => `${other}${i}:${first}\n`);
      const users = brokerUsers(Buffer.from(`dup:${first}\ndup:${last}\n${others.join('')}`), '2.0');
      expect(await letsIn(users, 'dup', 'last')).toBe(true);
      expect(await letsIn(users, 'dup', 'first')).toBe(false);
    }
  });

  test('2.0 loses a line with a NUL and the rest of the file, 2.1 that line alone', () => {
    const file = `alice:${GOOD}\nbob:${GOOD}\0\ncarol:${GOOD}`;
    for (const end of ['', '\n', '\0']) {
      expect(check(file + end, '2.0').users).toEqual(['alice']);
      expect(check(file + end, '2.1').users).toEqual(['alice', 'carol']);
      const users = brokerUsers(Buffer.from(file + end), '2.0');
      expect(['alice', 'bob', 'carol'].map(name => users.hashOf(name) !== undefined)).toEqual([
        true,
        false,
        false,
      ]);
    }
  });

  test('2.1 drops lines with a NUL in a file that starts with one, 2.0 drops all lines', () => {
    expect(check(`\0\nalice:${GOOD}\0\nbob:${GOOD}\n`, '2.1').users).toEqual(['bob']);
    expect(check(`\0\nbob:${GOOD}\n`, '2.0').users).toEqual([]);
  });

  test('2.0 reads a short last line that starts with a NUL', () => {
    const codes = check('\0x', '2.0').findings.map(({ code }) => code);
    expect(codes).toEqual(['NUL_BYTE', 'NO_COLON', 'NO_FINAL_NEWLINE']);
  });

  test('2.0 drops a user whose salt has 64 bytes, whatever the next line is', () => {
    const hash = hashPasswordSync('pw', { salt: Buffer.alloc(64, 1) });
    for (const next of ['#'.repeat(200), '#$'.repeat(100), `#${'#$'.repeat(100)}`])
      expect(check(`alice:${hash}\n${next}\n`, '2.0').users).toEqual([]);
  });

  test('2.0 and 2.1 read a short last line without line feed up to its NUL', () => {
    for (const release of RELEASES) {
      expect(check(`alice:${GOOD}\0junk`, release).users).toEqual(['alice']);
      expect(check(`alice:${GOOD}\0junk\n`, release).users).toEqual([]);
      expect(check(`alice:plain\0${GOOD}`, release).loads).toBe(release === '2.0');
    }
  });

  test('check reports for 2.1 that it refuses a file with a NUL in a line of 255 bytes or more', () => {
    for (const [length, loads] of [
      [254, true],
      [255, false],
    ] as const) {
      const { findings, ...report } = check(`alice:${GOOD}\n${'a\0'.padEnd(length, 'x')}\n`, '2.1');
      expect(report).toEqual({ loads, users: loads ? ['alice'] : [] });
      expect(findings).toMatchObject([{ line: 2, severity: 'error', code: 'NUL_BYTE' }]);
    }
  });

  test.each([
    ['a NUL within a line', `alice:${GOOD}\n#x\0y\nalice:${LAST}\n`],
    ['a NUL that ends a line', `alice:${GOOD}\n#x\0\nalice:${LAST}\n`],
    [
      'a line with a NUL, in a file that ends with a line feed',
      `alice:${GOOD}\nalice:${LAST}\0\nbob:${GOOD}\n`,
    ],
  ])('2.0 does not use a further line of a name after %s', (_what, file) => {
    expect(check(file, '2.0').users).toEqual(['alice']);
    expect(brokerUsers(Buffer.from(file), '2.0').hashOf('alice')?.key).toEqual(
      new Uint8Array(Buffer.from(KEY, 'base64')),
    );
  });

  test.each([
    ['after a NUL that begins a longer line', `alice:${GOOD}\n\0x\nalice:${LAST}\n`],
    ['with a NUL, in a file without a final line feed', `alice:${GOOD}\nalice:${LAST}\0\nbob:${GOOD}`],
    ['after a NUL that is a line', `alice:${GOOD}\n\0\nalice:${LAST}\n`],
    ['that is the last one and may be lost', `alice:${GOOD}\n${`alice:${LAST}:`.padEnd(255, 'x')}`],
    // 2.0 reads 101 iterations.
    ['with negative iterations', `alice:${GOOD}\nalice:${LAST.replace('$101$', '$-4294967195$')}\n`],
    // OpenSSL 1.1.1 reads them.
    ['with a byte after the key', `alice:${GOOD}\nalice:${LAST}7\n`],
    ['with a byte after the salt', `alice:${GOOD}\nalice:${LAST.replace(/\$(?=[^$]*$)/, '=$')}\n`],
  ])('2.0 is not sure to let in a name that has a further line %s', (_what, file) => {
    expect(check(file, '2.0').users).not.toContain('alice');
    expect(brokerUsers(Buffer.from(file), '2.0').hashOf('alice')).toBeUndefined();
  });
});

describe('a report', () => {
  type Reported = [
    code: string,
    on20: 'error' | 'warning' | null,
    on21: 'refused' | 'error' | 'warning' | null,
  ];
  const CASES: [line: string, ...Reported][] = [
    ['alice:', 'MISSING_HASH', 'error', 'refused'],
    ['alice:  ', 'MISSING_HASH', 'error', 'refused'],
    [':alice', 'MISSING_HASH', 'error', 'refused'],
    ['alice:secret', 'PLAIN_TEXT', 'error', 'refused'],
    ['alice:$argon2id$v=19$m=47104,t=1,p=1$AAAA$AAAA', 'UNSUPPORTED_HASH', 'error', 'refused'],
    ['alice:$5$AAAA$AAAA', 'UNSUPPORTED_HASH', 'error', 'refused'],
    ['alice:$7$101$AQIDBAUGBwgJCgsM', 'MALFORMED_HASH', 'error', 'refused'],
    [`alice:$7$0$AQIDBAUGBwgJCgsM$${KEY}`, 'MALFORMED_HASH', 'error', 'refused'],
    [`alice:$7$101$AQIDBAUGBwgJCgs=$${KEY}`, 'MALFORMED_HASH', 'error', 'refused'],
    [`alice:$7$101$AQIDBAUGBwgJCgsM$${KEY.slice(4)}`, 'MALFORMED_HASH', 'error', 'refused'],
    [`alice:$7$101$AQID BAUGBwgJCgsM$${KEY}`, 'MALFORMED_HASH', 'error', 'refused'],
    [`alice:${GOOD}=`, 'MALFORMED_HASH', 'error', 'refused'],
    [`alice:${GOOD.slice(0, -1)}`, 'MALFORMED_HASH', 'error', 'refused'],
    [`alice:${LONG_SALT}`, 'LONG_SALT', 'error', 'warning'],
    [`alice:${GOOD.slice(1)}`, 'ONLY_2_0_HASH', 'warning', null],
    [`alice:${GOOD.slice(1)}`, 'UNSUPPORTED_HASH', null, 'refused'],
    [`service:alice:${GOOD}`, 'COLON_IN_NAME', 'error', 'refused'],
    [':', 'EMPTY_NAME', 'warning', 'refused'],
    [`  :${GOOD}`, 'EMPTY_NAME', 'warning', 'refused'],
    [`first:${GOOD}`, 'DUPLICATE_NAME', 'warning', 'refused'],
    [` first :${GOOD}`, 'DUPLICATE_NAME', 'warning', 'refused'],
    [`${'n'.repeat(65_536)}:${GOOD}`, 'LONG_NAME', 'error', 'refused'],
    [`alice:${GOOD}$${'x'.repeat(65_536)}`, 'LONG_HASH', 'error', 'refused'],
    [`al\tice:${GOOD}`, 'UNSENDABLE_NAME', 'error', 'error'],
    [`al\xef\xbf\xbeice:${GOOD}`, 'UNSENDABLE_NAME', 'error', 'error'],
    [`al\xe9ice:${GOOD}`, 'UNSENDABLE_NAME', 'error', 'error'],
    [`al\0ice:${GOOD}`, 'NUL_BYTE', 'error', 'error'],
    ['# a\0b', 'NUL_BYTE', 'error', 'error'],
    [`alice:$7$$101$AQIDBAUGBwgJCgsM$${KEY}`, 'ODD_HASH', 'warning', 'warning'],
    [`alice:$7$101x$AQIDBAUGBwgJCgsM$${KEY}`, 'ODD_HASH', 'warning', 'warning'],
    [`alice:${GOOD}$extra`, 'ODD_HASH', 'warning', 'warning'],
    [`alice:${GOOD.replace(/.==$/, 'h==')}`, 'ODD_HASH', 'warning', 'warning'],
    [`alice:$6$AQIDBAUGBwgJCgsM$${KEY}`, 'WEAK_HASH', 'warning', 'warning'],
    [`slow:$7$1000001$AQIDBAUGBwgJCgsM$${KEY}`, 'SLOW_HASH', 'error', 'error'],
    [`slow:$7$2147483647$AQIDBAUGBwgJCgsM$${KEY}`, 'SLOW_HASH', 'error', 'error'],
    [`a+b:${GOOD}`, 'PATTERN_ACL_NAME', 'warning', 'warning'],
    [`a#b:${GOOD}`, 'PATTERN_ACL_NAME', 'warning', 'warning'],
    [` #b:${GOOD}`, 'HASH_SIGN_NAME', 'warning', 'warning'],
    [`#b:${GOOD}`, 'COMMENTED_OUT', 'warning', 'warning'],
    ['alice', 'NO_COLON', 'warning', 'warning'],
    [`alice::${GOOD}`, 'EXTRA_COLON', 'warning', 'warning'],
    [`:alice:${GOOD}`, 'EXTRA_COLON', 'warning', 'warning'],
    [`alice:${GOOD}:more`, 'FURTHER_FIELD', 'warning', 'warning'],
    [`alice: ${GOOD}`, 'BLANKS', 'warning', 'warning'],
    [`alice:${GOOD} `, 'BLANKS', 'warning', 'warning'],
    [`\talice:${GOOD}`, 'BLANKS', 'warning', 'warning'],
    [`alice:${GOOD}\r`, 'CR_LF', 'warning', 'warning'],
    [`\xef\xbb\xbfalice:${GOOD}`, 'BYTE_ORDER_MARK', 'warning', 'warning'],
  ];

  const TITLED = CASES.map(([line, code, ...on]) => [line.slice(0, 200), code, line, ...on] as const);
  test.each(TITLED)('of a file with the line %j has the finding %s', (_start, code, line, on20, on21) => {
    const file = `first:${GOOD}\n${line}\nlast:${GOOD}\n`;
    for (const [release, on] of [
      ['2.0', on20],
      ['2.1', on21],
    ] as const) {
      const { findings, loads, users } = check(file, release);
      const found = findings.find(finding => finding.code === code);
      if (on === null) {
        expect(found).toBeUndefined();
        continue;
      }
      expect(found).toMatchObject({ line: 2, severity: on === 'refused' ? 'error' : on });
      expect(found?.message).toMatch(/^[A-Z].*\.$/);
      expect(loads).toBe(on !== 'refused');
      if (loads) expect(users).toContain('first');
      if (on === 'error') expect(users).not.toContain('alice');
      if (loads && code !== 'NUL_BYTE') expect(users).toContain('last');
    }
  });

  test.each(['\xef\xbb\xbe', '\xef\xba\xbf', '\xee\xbb\xbf'])(
    'of a file that begins with %j, nearly a byte order mark, has no finding of one',
    start => {
      const { findings } = check(`${start}alice:${GOOD}\n`, '2.1');
      expect(findings).toEqual([]);
    },
  );

  test.each([
    ['', []],
    ['\n', []],
    ['# comment\n\n  \t\r\n', ['CR_LF']],
    [`alice:${GOOD}\nbob:${GOOD}\n`, []],
    [`Zo\xc3\xab:${GOOD}\n`, []],
    [`alice:${GOOD}`, ['NO_FINAL_NEWLINE']],
    [`a:${GOOD}\r\nb:${GOOD}\r\n`, ['CR_LF']],
    [`a:${LONG_SALT}\nb:${LONG_SALT}\nc:${LONG_SALT}\n`, ['LONG_SALT']],
  ])('of the file %j for 2.1 says that it loads, with the findings %j', (file, codes) => {
    const { loads, findings } = check(file, '2.1');
    expect(loads).toBe(true);
    expect(findings.map(({ code }) => code)).toEqual(codes);
  });

  test.each<[what: string, file: string, on20: string, on21?: string]>([
    ['a file of one byte', 'x', 'NO_COLON NO_FINAL_NEWLINE'],
    ['a file that ends with a CR', 'alice:x\r', 'PLAIN_TEXT NO_FINAL_NEWLINE'],
    ['blanks in place of a hash', 'alice:  \n', 'MISSING_HASH'],
    ['a comment with a hash and no name', `#:${GOOD}\n`, 'COMMENTED_OUT'],
    ['a comment with a user', `#alice: ${GOOD}\n`, 'COMMENTED_OUT'],
    ['a comment with a colon before a user', `# at 10:30 #alice:${GOOD}\n`, ''],
    ['a further field with a blank', `alice:${GOOD}:two words\n`, 'FURTHER_FIELD'],
    ['a colon in a name', `service:alice: ${GOOD}\n`, 'FURTHER_FIELD COLON_IN_NAME'],
    [
      'a hash without $ whose iterations are 7',
      `alice:7$7$AQIDBAUGBwgJCgsM$${KEY}\n`,
      'ONLY_2_0_HASH',
      'UNSUPPORTED_HASH',
    ],
    ['a million iterations', `alice:${GOOD.replace('101', '1000000')}$x\n`, 'ODD_HASH'],
    ['a name of 65,535 bytes', ` ${'n'.repeat(65_535)}:${GOOD}\n bob:${GOOD}\n`, 'BLANKS BLANKS'],
    ['a NUL within a line', `alice:${GOOD}\n#x\0\nbob:x\n`, 'NUL_BYTE', 'NUL_BYTE PLAIN_TEXT'],
    ['a NUL at the start', '\0\nbob:x\n', 'NUL_BYTE', 'NUL_BYTE PLAIN_TEXT'],
  ])('of %s has the expected findings and no others', (_what, file, on20, on21 = on20) => {
    const codes = RELEASES.map(release =>
      check(file, release)
        .findings.map(({ code }) => code)
        .join(' '),
    );
    expect(codes).toEqual([on20, on21]);
  });

  test('says what brokers do if 2.1 refuses the file, and only then', () => {
    const messages = (file: string) => check(file, '2.1').findings.map(({ message }) => message);
    expect(messages('alice:x\n')).toEqual([
      expect.stringContaining('2.0 drops this user, 2.1 refuses the whole file'),
    ]);
    expect(messages(`alice:${GOOD}\nalice:${GOOD}\n`)).toEqual([
      expect.stringContaining(
        '2.0 uses one of the lines (in small files the last), 2.1 refuses the whole file',
      ),
    ]);
    expect(messages('alice\n')).toEqual([expect.not.stringContaining('refuses')]);
  });

  test('names the user of a finding, unless the name may be a hash or a password', () => {
    expect(check(`${KEY.slice(0, 59)}:x\n`, '2.1').findings[0]).toHaveProperty('username');
    expect(check('alice:x\n', '2.1').findings[0]).toMatchObject({ username: 'alice' });
    for (const line of [
      ':secret',
      `:${GOOD}`,
      `${GOOD}:`,
      `${KEY}:x`,
      `${KEY.slice(0, 60)}:x`,
      `-${KEY.slice(0, 60)}:x`,
    ]) {
      for (const found of check(`${line}\n`, '2.1').findings) expect(found).not.toHaveProperty('username');
    }
    for (const found of check(' :'.padEnd(255, 'y'), '2.1').findings) {
      expect(found).not.toHaveProperty('username');
    }
  });

  test.each(['\n', '\r\n'])(
    'leaves out a user with a byte after the hash, after a line that ends with %j',
    ending => {
      for (const byte of ['x', '=', ' ', '\r']) {
        const { users } = check(`first:${GOOD}${ending}alice:${GOOD}${byte}\nlast:${GOOD}\n`, '2.0');
        expect(users).toEqual(byte.trim() === '' ? ['first', 'alice', 'last'] : ['first', 'last']);
      }
    },
  );

  test('does not take names with equal hashes for duplicates', () => {
    // Both are 0x5e4daa9d in FNV-1a.
    const { findings, users } = check(`costarring:${GOOD}\nliquid:${GOOD}\nliquor:${GOOD}\n`, '2.1');
    expect(findings).toEqual([]);
    expect(users).toEqual(['costarring', 'liquid', 'liquor']);
  });

  test('of a duplicate name for 2.0 has the user if 2.0 can read any of the lines', () => {
    const { users, findings } = check(`bob:bad\nalice:${GOOD}\nbob:${GOOD}\nalice:bad\nbob:${GOOD}\n`, '2.0');
    expect(users).toEqual(['bob', 'alice']);
    expect(findings.filter(({ code }) => code === 'DUPLICATE_NAME').map(({ line }) => line)).toEqual([
      3, 4, 5,
    ]);
  });

  test('of a duplicate name for 2.0 has the user if a line follows that it is sure to read', () => {
    const file = `alice:${GOOD}\nalice:${GOOD}7\nalice:${LAST}\nalice:$7$101\n`;
    expect(check(file, '2.0').users).toEqual(['alice']);
    const users = brokerUsers(Buffer.from(file), '2.0');
    expect(users.hashOf('alice')).toEqual(readBrokerHash(LAST, '2.0').hash);
  });

  test('of a duplicate name for 2.1 says that the file does not load, and verify lets nobody in', () => {
    const file = `bob:${GOOD}\nbob:${GOOD}\n`;
    expect(check(file, '2.1').loads).toBe(false);
    expect(brokerUsers(Buffer.from(file), '2.1').hashOf('bob')).toBeUndefined();
  });

  test('of a hash with over a million iterations says that it is slow, but loads and lets the user in', () => {
    for (const iterations of [1_000_000, 1_000_001]) {
      const { loads, users, findings } = check(`alice:${GOOD.replace('101', `${iterations}`)}\n`, '2.1');
      expect({ loads, users }).toEqual({ loads: true, users: ['alice'] });
      expect(findings.map(({ code }) => code)).toEqual(iterations > 1_000_000 ? ['SLOW_HASH'] : []);
    }
  });

  test('of iterations over 2^63 - 1 says that the file does not load, whatever their lowest bits', () => {
    expect(check(`alice:${GOOD.replace('101', `${2n ** 63n + 101n}`)}\n`, '2.1').loads).toBe(false);
    expect(check(`alice:${GOOD.replace('101', `${2n ** 32n + 101n}`)}\n`, '2.1').loads).toBe(true);
  });

  test.each([255, 1255])('says that a last line of %i bytes without line feed may be lost', length => {
    const entry = `${'n'.repeat(length - GOOD.length - 1)}:${GOOD}`;
    for (const before of ['', `#${'c'.repeat(2000)}\n`]) {
      for (const release of RELEASES) {
        const { loads, users, findings } = check(before + entry, release);
        expect({ loads, users }).toEqual({ loads: true, users: [] });
        expect(findings.map(({ code }) => code)).toEqual(['LOST_LAST_LINE', 'NO_FINAL_NEWLINE']);
        expect(
          brokerUsers(Buffer.from(before + entry), release).hashOf('n'.repeat(length - GOOD.length - 1)),
        ).toBe(undefined);
        expect(check(`${before}n${entry}`, release).users).toHaveLength(1);
        expect(check(`${before}${entry}\n`, release).users).toHaveLength(1);
        expect(check(before + 'x:'.padEnd(length, 'y'), release).loads).toBe(release === '2.0');
      }
    }
  });

  test.each([
    [{ broker: '1.6' }, 'broker'],
    [undefined, 'broker'],
  ])('is refused for the options %j', (options, named) => {
    const call = () => checkPasswordFile(Buffer.from(''), options as never);
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    expect(call).toThrow(named);
  });

  test('takes bytes from another realm', () => {
    const bytes = runInNewContext('new Uint8Array([97, 58, 120, 10])');
    expect(checkPasswordFile(bytes, { broker: '2.1' }).findings).toMatchObject([{ code: 'PLAIN_TEXT' }]);
  });

  test('takes detached bytes for an empty file', () => {
    const report = checkPasswordFile(detached(), { broker: '2.1' });
    expect(report).toEqual(checkPasswordFile(new Uint8Array(), { broker: '2.1' }));
  });

  test('is refused for a string in place of bytes', () => {
    expect(() => checkPasswordFile('alice:x' as never, { broker: '2.1' })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }),
    );
  });
});

describe('properties', () => {
  const release = fc.constantFrom(...RELEASES);
  /** Pieces of which lines are made, good and bad. */
  const piece = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom(':', '$', '#', ' ', '\t', '\r', '\0', '\n', '=', '-', '::', '\xef\xbb\xbf'),
    },
    {
      weight: 3,
      arbitrary: fc.constantFrom('alice', 'bob', '$7$', '$6$', '101', 'AQIDBAUGBwgJCgsM', KEY, GOOD),
    },
    { weight: 1, arbitrary: fc.constantFrom('x'.repeat(255), 'x'.repeat(1000), LONG_SALT) },
    { weight: 1, arbitrary: fc.string({ unit: codePoint, maxLength: 6 }) },
  );
  const line = fc.oneof(
    fc
      .string({ minLength: 1, maxLength: 9, unit: fc.constantFrom(...'abcdé/-+#') })
      .map(name => `${name}:${GOOD}`),
    fc.array(piece, { maxLength: 8 }).map(pieces => pieces.join('')),
  );
  const file = fc.array(line, { maxLength: 12 }).map(lines => Buffer.from(lines.join('\n')));

  test('any bytes have a report whose findings and users are in order', () => {
    fc.assert(
      fc.property(fc.oneof(file, fc.uint8Array({ maxLength: 500 })), release, (bytes, broker) => {
        const { loads, users, findings } = check(bytes, broker);
        const lines = Buffer.from(bytes).toString('latin1').split('\n').length;
        const numbers = findings.map(({ line }) => line);
        expect({ numbers, users }).toEqual({
          numbers: numbers.filter(line => line >= 1 && line <= lines).sort((a, b) => a - b),
          users: [...new Set(users)],
        });
        if (!loads) expect(findings.some(({ severity }) => severity === 'error')).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  test('the users of a report are those for whom verify finds a hash', () => {
    fc.assert(
      fc.property(file, release, (bytes, broker) => {
        const { loads, users } = check(bytes, broker);
        if (!loads) return;
        const byVerify = brokerUsers(bytes, broker);
        const names = [...new Set([...users, 'alice', 'bob', 'a', 'é', '', '\ufffd', '\ud800'])];
        expect(names.filter(name => byVerify.hashOf(name) !== undefined)).toEqual(users);
      }),
      { numRuns: 400 },
    );
  });

  test('findings have the number of their line', () => {
    const lines: Record<string, (i: number) => string> = {
      none: i => `user${i}:${GOOD}`,
      comment: () => '# comment',
      PLAIN_TEXT: i => `user${i}:secret`,
      NO_COLON: i => `user${i}`,
      DUPLICATE_NAME: () => `duplicate:${GOOD}`,
      EMPTY_NAME: () => ':',
      WEAK_HASH: i => `user${i}:$6$AQIDBAUGBwgJCgsM$${KEY}`,
    };
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...Object.keys(lines)), { maxLength: 20 }),
        release,
        (kinds, broker) => {
          const all = ['DUPLICATE_NAME', ...kinds];
          const text = all.map((kind, i) => `${lines[kind]?.(i)}\n`).join('');
          const expected = all.flatMap((kind, i) =>
            i === 0 || kind === 'none' || kind === 'comment' ? [] : [`${i + 1} ${kind}`],
          );
          const reported = check(text, broker).findings.map(({ line, code }: Finding) => `${line} ${code}`);
          expect(reported).toEqual(expected);
        },
      ),
    );
  });

  test('a file that loads still loads after any edits, and lets in the edited users', () => {
    const name = fc.constantFrom('alice', 'bob', 'a', 'ab', 'é', 'new/device');
    const ending = fc.constantFrom('\n', '', '\n:', '\n::', `\nx:${'y'.repeat(253)}`);
    const edit = fc.tuple(name, fc.option(fc.constantFrom(GOOD, LONG_SALT), { nil: undefined }));
    fc.assert(
      fc.property(file, ending, fc.array(edit, { maxLength: 6 }), release, (start, end, edits, broker) => {
        const bytes = Buffer.concat([start, Buffer.from(end)]);
        if (bytes.includes(0)) return;
        const before = check(bytes, broker);
        if (!before.loads) return;
        const draft = new Draft(indexed(bytes));
        for (const [name, hash] of edits) hash === undefined ? draft.delete(name) : draft.set(name, hash);
        const changes = draft.changes();
        let step = changes.next();
        while (!step.done) step = changes.next();
        const after = check(
          Buffer.concat([...edited(bytes, step.value)].map(piece => Buffer.from(piece))),
          broker,
        );
        expect(after.loads).toBe(true);
        const users = new Set(before.users);
        for (const [name, hash] of edits) {
          if (hash === undefined || (hash === LONG_SALT && broker === '2.0')) users.delete(name);
          else users.add(name);
        }
        expect(new Set(after.users)).toEqual(users);
      }),
      { numRuns: 400 },
    );
  });

  test('a check that yields to the event loop has the same report', async () => {
    const bytes = Buffer.from(`alice:${GOOD}\nbob:bad\n`.repeat(500));
    expect(await runYielding(checkLines(bytes, { broker: '2.0' }))).toEqual(check(bytes, '2.0'));
  });
});

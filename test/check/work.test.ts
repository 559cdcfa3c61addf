/** The work of check, verify, edits and upgrade is bounded, whatever a file contains. Counts steps, not time. */
import { writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { checkLines, checkPasswordFile } from '../../src/check/check.js';
import { readBrokerHash } from '../../src/check/stored-hash.js';
import { LineReader } from '../../src/document/line.js';
import type { Finding } from '../../src/errors.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { brokerUsers } from '../support/broker-users.js';
import { draftOf } from '../support/edits.js';
import { newFile } from '../support/password-file.js';

const HASH = hashPasswordSync('pw', { salt: Buffer.alloc(12, 1) });
const KEY = HASH.slice(-88);
const RELEASES = ['2.0', '2.1'] as const;

/** How many characters each call of BigInt has parsed. */
const parsed: number[] = [];

function watchBigInt(): void {
  parsed.length = 0;
  const original = BigInt;
  const watching = (value: string) => {
    parsed.push(String(value).length);
    return original(value);
  };
  vi.stubGlobal('BigInt', Object.assign(watching, { asIntN: original.asIntN }));
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function stepsOf(work: Generator<unknown, unknown>): number {
  let steps = 0;
  while (!work.next().done) steps++;
  return steps;
}

describe('readBrokerHash parses less than 20 of 60,000 digits', () => {
  test.each([
    ['of iterations over a 64-bit integer, of which C makes -1', '1'.repeat(60_000), undefined],
    ['of negative iterations', `-${'1'.repeat(60_000)}`, undefined],
    ['of 101 iterations after leading zeros', `${'0'.repeat(60_000)}101`, 101],
  ])('%s', (_what, digits, iterations) => {
    watchBigInt();
    const reading = readBrokerHash(`$7$${digits}$AQIDBAUGBwgJCgsM$${KEY}`, '2.1');
    expect(Math.max(...parsed)).toBeLessThan(20);
    if (iterations === undefined) expect(reading).toEqual({ fault: 'MALFORMED_HASH.iterations' });
    else expect(reading.hash).toMatchObject({ iterations });
  });
});

describe('the number in a hash that is longer than any broker reads', () => {
  test('is not parsed by check', () => {
    watchBigInt();
    for (const broker of RELEASES) {
      const work = checkLines(Buffer.from(`alice:$7$${'1'.repeat(1_000_000)}\n`), { broker });
      let step = work.next();
      while (!step.done) step = work.next();
      expect(step.value.findings).toMatchObject([{ line: 1, code: 'LONG_HASH' }]);
    }
    expect(parsed).toEqual([]);
  });

  test('is not parsed by upgrade', async () => {
    const { path, file } = newFile();
    await writeFile(path, `alice:$7$${'1'.repeat(1_000_000)}\nbob:${'x'.repeat(1_000_000)}:$7$1\n`, {
      mode: 0o600,
    });
    watchBigInt();
    const skipped: Finding[] = [];
    expect(await file.upgrade({ onSkipped: finding => skipped.push(finding) })).toEqual([]);
    expect(skipped).toMatchObject([
      { line: 1, code: 'LONG_HASH' },
      { line: 2, code: 'LONG_HASH' },
    ]);
    expect(parsed).toEqual([]);
  });

  test('is not parsed by verify', () => {
    watchBigInt();
    for (const release of RELEASES) {
      const users = brokerUsers(Buffer.from(`alice:$7$${'1'.repeat(1_000_000)}\n`), release);
      expect(users.hashOf('alice')).toBeUndefined();
    }
    expect(parsed).toEqual([]);
  });
});

describe('verify', () => {
  test.each(['b:x\0\n', '\0\n', 'b:x\n'])('reads only the lines of the name among 100,000 of %j', line => {
    const bytes = Buffer.from(`${line.repeat(100_000)}alice:${HASH}\n${line}`);
    for (const release of RELEASES) {
      const users = brokerUsers(bytes, release);
      const read = vi.spyOn(LineReader.prototype, 'read');
      expect(users.hashOf('alice') === undefined).toBe(release === '2.0' && line.includes('\0'));
      expect(users.hashOf('nobody')).toBeUndefined();
      expect(read.mock.calls.length).toBeLessThan(10);
      read.mockRestore();
    }
  });

  test('searches less than 1,000 bytes of a large file for the end of the line of the user', () => {
    const bytes = Buffer.from(`alice:${HASH}\n${`bob:${HASH}\n`.repeat(1000)}`);
    for (const release of RELEASES) {
      const users = brokerUsers(bytes, release);
      // The first call may search the whole file for a NUL.
      expect(users.hashOf('alice')).toBeDefined();
      const search = vi.spyOn(bytes, 'indexOf');
      expect(users.hashOf('alice')).toBeDefined();
      const searched = search.mock.calls.map(([, from], i) => {
        const found = search.mock.results[i]?.value as number;
        return (found < 0 ? bytes.length : found) - Number(from ?? 0);
      });
      expect(Math.max(...searched)).toBeLessThan(1000);
      search.mockRestore();
    }
  });

  test('lets nobody in by a name in more than 1,000 lines, and reads no more of them', () => {
    expect(brokerUsers(Buffer.from(`alice:${HASH}\n`.repeat(1000)), '2.0').hashOf('alice')).toBeDefined();
    const users = brokerUsers(Buffer.from(`alice:${HASH}\n`.repeat(1001)), '2.0');
    const read = vi.spyOn(LineReader.prototype, 'read');
    expect(users.hashOf('alice')).toBeUndefined();
    expect(read).toHaveBeenCalledTimes(1000);
  });
});

describe('long work yields:', () => {
  test.each([
    ['a line of 1,024 bytes', `alice:${'x'.repeat(1018)}\n`.repeat(50), 50],
    ['1,024 bytes of shorter lines', '\n'.repeat(64_000), 62],
  ])('check after %s', (_what, text, steps) => {
    for (const broker of RELEASES) expect(stepsOf(checkLines(Buffer.from(text), { broker }))).toBe(steps);
  });

  test('the users that check reports after 256 of them, also if a name is in several lines', () => {
    const users = Array.from({ length: 1000 }, (_, i) => `user${i}:${HASH}\n`).join('');
    const bytes = Buffer.from(`${users}user7:${HASH}\n`);
    // Mosquitto 2.1 refuses the file, so that there are no users.
    const [listing, reading] = RELEASES.map(broker => stepsOf(checkLines(bytes, { broker })));
    expect(Number(listing) - Number(reading)).toBe(4);
  });

  test.each(['\n', 'alice:x\n', '\xff:x\n'])('a list of the names after each line %j', line => {
    expect(stepsOf(draftOf(Buffer.from(line.repeat(1000), 'latin1')).names())).toBeGreaterThanOrEqual(1000);
  });

  test('an edit of a name in 1,000 lines after each of them', () => {
    const draft = draftOf(Buffer.from('alice:x\n'.repeat(1000)));
    draft.delete('alice');
    expect(stepsOf(draft.changes())).toBeGreaterThanOrEqual(1000);
  });

  test('1,000 edits after each of them', () => {
    const draft = draftOf(Buffer.from('alice:x\n'));
    for (let i = 0; i < 1000; i++) draft.set(`user${i}`, HASH);
    expect(stepsOf(draft.changes())).toBeGreaterThanOrEqual(1000);
  });
});

test('checkPasswordFile refuses 2 GiB', () => {
  const bytes = new Uint8Array(2 ** 31);
  for (const broker of RELEASES) {
    expect(() => checkPasswordFile(bytes, { broker })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining(
          'has 2147483648 bytes, and only files of up to 2147483647 bytes are checked',
        ),
      }),
    );
  }
});

describe('a report of more than 100,000 findings', () => {
  const bytes = Buffer.from(`${'no colon\n'.repeat(100_000)}alice:secret\nno colon\n`);

  test.each(RELEASES)('ends with a finding that counts the others, Mosquitto %s', broker => {
    const { loads, findings } = checkPasswordFile(bytes, { broker });
    expect(loads).toBe(broker === '2.0');
    expect(findings).toHaveLength(100_001);
    expect(findings.at(-2)).toMatchObject({ line: 100_000, code: 'NO_COLON' });
    expect(findings.at(-1)).toMatchObject({ line: 100_001, severity: 'error', code: 'MORE_FINDINGS' });
    expect(findings.at(-1)?.message).toContain('1 errors and 1 warnings');
  });

  test('ends with a warning if all the others are warnings', () => {
    const { findings } = checkPasswordFile(Buffer.from('no colon\n'.repeat(100_002)), { broker: '2.1' });
    expect(findings.at(-1)).toMatchObject({ line: 100_001, severity: 'warning' });
    expect(findings.at(-1)?.message).toContain('0 errors and 2 warnings');
  });
});

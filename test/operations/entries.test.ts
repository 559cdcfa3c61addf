import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Finding } from '../../src/errors.js';
import { formatHash } from '../../src/hash/encoding.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { PasswordFile } from '../../src/password-file.js';
import { clockTick } from '../support/clock-tick.js';
import { testDirectory } from '../support/directory.js';
import { collectGarbage } from '../support/garbage.js';

const SALT = new Uint8Array(12).fill(1);
const SALT_64 = new Uint8Array(64).fill(2);
const HASH = hashPasswordSync('secret', { salt: SALT });
const OTHER = hashPasswordSync('other', { salt: SALT });
const SHA512 = hashPasswordSync('secret', { algorithm: 'sha512', salt: SALT });
const LONG_SALT = hashPasswordSync('secret', { salt: SALT_64 });
const ARGON2ID = formatHash({
  algorithm: 'argon2id',
  memory: 47104,
  passes: 1,
  parallelism: 1,
  salt: SALT_64,
  key: SALT_64,
});

let path: string;
let file: PasswordFile;
beforeEach(() => {
  path = join(testDirectory(), 'passwd');
  file = new PasswordFile(path);
});

type Entry = readonly [string, string];

async function gather(entries: AsyncIterable<Entry>): Promise<Entry[]> {
  const gathered: Entry[] = [];
  for await (const entry of entries) gathered.push(entry);
  return gathered;
}

describe('entries', () => {
  test('applies the limit of 65,535 bytes to the length of a name or hash, not to its offset in the file', async () => {
    const longest = `é${'n'.repeat(65_533)}`;
    writeFileSync(
      path,
      `${longest}:${HASH}\nbob:${HASH}\n carol:${OTHER}\ndave:x\neve:${'x'.repeat(65_535)}\n`,
    );
    const skipped: Finding[] = [];
    const entries = file.entries({ onSkipped: finding => skipped.push(finding) });
    expect(await gather(entries)).toEqual([
      [longest, HASH],
      ['bob', HASH],
      ['carol', OTHER],
    ]);
    expect(skipped.map(({ code, line }) => [code, line])).toEqual([
      ['PLAIN_TEXT', 4],
      ['PLAIN_TEXT', 5],
    ]);
  });

  test('yields names and hashes in the order of the file, without blanks and further fields', async () => {
    writeFileSync(
      path,
      `# a: comment\nb:${HASH}\r\n\nno colon\n é : ${SHA512} \n:c::${LONG_SALT}:more\n密码:${ARGON2ID}`,
    );
    expect(await gather(file.entries())).toEqual([
      ['b', HASH],
      ['é', SHA512],
      ['c', LONG_SALT],
      ['密码', ARGON2ID],
    ]);
  });

  test('yields nothing for a missing or empty file', async () => {
    expect(await gather(file.entries())).toEqual([]);
    await file.create();
    expect(await gather(file.entries())).toEqual([]);
    const missing = new PasswordFile(`${path}2`, { missing: 'error' });
    await expect(gather(missing.entries())).rejects.toMatchObject({ code: 'ERR_FILE_MISSING' });
  });

  test.each(['2.0', '2.1'] as const)(
    'yields the last line of a duplicate name for broker %s',
    async broker => {
      writeFileSync(path, `a:${HASH}\nb:${HASH}\n a :${OTHER}\nc:${HASH}\nc:damaged\n`);
      const codes: string[] = [];
      const entries = new PasswordFile(path, { broker }).entries({
        onSkipped: ({ code }) => codes.push(code),
      });
      expect(await gather(entries)).toEqual([
        ['b', HASH],
        ['a', OTHER],
      ]);
      expect(codes).toEqual(['PLAIN_TEXT']);
    },
  );

  test('yields one version of the file, whatever is committed meanwhile', async () => {
    const rows = Array.from({ length: 500 }, (_, i): Entry => [`user${i}`, HASH]);
    await file.setHashes(rows);
    const seen: Entry[] = [];
    for await (const entry of file.entries()) {
      seen.push(entry);
      if (seen.length % 100 !== 0) continue;
      await file.setHash(`user${seen.length + 1}`, OTHER);
      await file.removeUser(`user${seen.length + 2}`);
      await new PasswordFile(path).setHash(`new${seen.length}`, OTHER);
    }
    expect(seen).toEqual(rows);
    expect(await gather(file.entries())).not.toEqual(rows);
  });

  test.each<[string, string, string, string?]>([
    ['plain text', 'alice:secret', 'PLAIN_TEXT', 'alice'],
    ['no hash', 'alice:', 'MISSING_HASH', 'alice'],
    ['a damaged hash', `alice:${HASH.slice(0, -2)}`, 'MALFORMED_HASH', 'alice'],
    ['a hash of another type', `alice:${HASH.replace('$7$', '$8$')}`, 'UNSUPPORTED_HASH', 'alice'],
    [
      'a hash that the broker reads leniently',
      `alice:${HASH.replace('$7$', () => '$7$$')}`,
      'ODD_HASH',
      'alice',
    ],
    [
      'iterations that the broker reads leniently',
      `alice:${HASH.replace('101', '101x')}`,
      'ODD_HASH',
      'alice',
    ],
    ['a costly hash', `alice:${HASH.replace('$101$', '$2000000$')}`, 'SLOW_HASH', 'alice'],
    ['a long hash', `alice:${'x'.repeat(65_536)}`, 'LONG_HASH', 'alice'],
    ['a name with a control character', `al\u0001ice:${HASH}`, 'UNSENDABLE_NAME', 'al\u0001ice'],
    ['a name that is no UTF-8', `al\u00ffice:${HASH}`, 'UNSENDABLE_NAME'],
    ['a name with a number sign in front', ` #alice:${HASH}`, 'HASH_SIGN_NAME', '#alice'],
    ['a long name', `${'x'.repeat(65_536)}:${HASH}`, 'LONG_NAME'],
    ['an empty name', ` :${HASH}`, 'EMPTY_NAME'],
    ['a NUL', `alice:${HASH}\0`, 'NUL_BYTE', 'alice'],
  ])('reports a line with %s to onSkipped', async (what, line, code, username) => {
    const bytes = what === 'a name that is no UTF-8' ? Buffer.from(line, 'latin1') : Buffer.from(line);
    writeFileSync(path, Buffer.concat([Buffer.from(`first:${HASH}\n`), bytes, Buffer.from('\n')]));
    const findings: Finding[] = [];
    const entries = await gather(file.entries({ onSkipped: finding => findings.push(finding) }));
    expect(entries).toEqual([['first', HASH]]);
    expect(findings).toMatchObject([{ line: 2, code }]);
    if (username !== undefined) expect(findings[0]?.username).toBe(username);
    expect(JSON.stringify(findings)).not.toContain('secret');
    expect(await gather(file.entries())).toEqual(entries);
  });

  test('reports the limit that a hash is over to onSkipped', async () => {
    const costly = ARGON2ID.replace('t=1', 't=17');
    writeFileSync(path, `alice:${HASH.replace('$101$', '$2000$')}\nbob:${HASH}\ncarol:${costly}\n`);
    const limited = new PasswordFile(path, { hash: { maxIterations: 1000 } });
    const onSkipped = vi.fn();
    expect(await gather(limited.entries({ onSkipped }))).toEqual([['bob', HASH]]);
    expect(onSkipped.mock.calls).toEqual([
      [
        {
          ...{ line: 1, severity: 'error', code: 'SLOW_HASH', username: 'alice' },
          message:
            'The hash takes 2000 iterations, and maxIterations allows 1000. Use fewer, or raise it (in the library).',
        },
      ],
      [
        {
          ...{ line: 3, severity: 'error', code: 'SLOW_HASH', username: 'carol' },
          message: expect.stringMatching(/^The hash takes 17 passes over 47104 KiB in 1 lanes, and 16 over /),
        },
      ],
    ]);
  });

  test('reports no comment, blank line or line without a colon to onSkipped', async () => {
    writeFileSync(path, `# users\nalice:${HASH}\n\n \nwhat\n#bob:${HASH}\n`);
    const onSkipped = vi.fn();
    expect(await gather(file.entries({ onSkipped }))).toEqual([['alice', HASH]]);
    expect(onSkipped).not.toHaveBeenCalled();
  });

  test('reports each line with a long name to onSkipped', async () => {
    writeFileSync(path, `${'x'.repeat(65_536)}:${HASH}\n`.repeat(2));
    const onSkipped = vi.fn();
    expect(await gather(file.entries({ onSkipped }))).toEqual([]);
    const [first, second] = onSkipped.mock.calls.flat();
    expect([first, second]).toMatchObject([1, 2].map(line => ({ line, code: 'LONG_NAME' })));
    expect(onSkipped).toHaveBeenCalledTimes(2);
  });

  test('yields pairs that setHashes accepts', async () => {
    const kinds = [HASH, SHA512, LONG_SALT, ARGON2ID];
    const names = ['a', 'b c', 'é', '$x', 'x+y', 'x#', '\u00a0', '"', 'n'.repeat(3000)];
    const rows = names.map((name, i): Entry => [name, kinds[i % kinds.length] as string]);
    await file.setHashes(rows);
    const copy = new PasswordFile(`${path}-copy`);
    expect(await copy.setHashes(file.entries(), { removeOthers: true })).toMatchObject({
      added: names.length,
    });
    expect(await gather(copy.entries())).toEqual(rows);
  });

  test('reads the file again for each loop', async () => {
    await file.setHash('a', HASH);
    const entries = file.entries();
    expect(await gather(entries)).toEqual([['a', HASH]]);
    await file.setHash('a', OTHER);
    expect(await gather(entries)).toEqual([['a', OTHER]]);
  });

  test('rejects with the reason of an abort, before the first entry and between two', async () => {
    await file.setHashes([
      ['a', HASH],
      ['b', HASH],
    ]);
    await expect(gather(file.entries({ signal: AbortSignal.abort(new Error('before')) }))).rejects.toThrow(
      'before',
    );
    const stop = new AbortController();
    const seen: string[] = [];
    const loop = async () => {
      for await (const [name] of file.entries({ signal: stop.signal })) {
        seen.push(name);
        stop.abort(new Error('between'));
      }
    };
    await expect(loop()).rejects.toThrow('between');
    expect(seen).toEqual(['a']);
  });

  test('rejects with the reason of an abort while it reads lines that are no entries', async () => {
    writeFileSync(path, 'no colon\n'.repeat(200_000));
    const stop = new AbortController();
    await clockTick(path);
    await file.users();
    const gathering = gather(file.entries({ signal: stop.signal }));
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(gathering).rejects.toThrow('enough');
  });

  test('yields to the event loop while the loop body is slow', async () => {
    await file.setHashes(Array.from({ length: 100 }, (_, i): Entry => [`user${i}`, HASH]));
    let turns = 0;
    let counting: NodeJS.Immediate | undefined;
    const count = () => {
      turns++;
      counting = setImmediate(count);
    };
    for await (const _ of file.entries()) {
      counting ??= setImmediate(count);
      // 1 KiB of entries then takes longer than `Turn` allows.
      const start = performance.now();
      while (performance.now() - start < 2);
    }
    clearImmediate(counting);
    expect(turns).toBeGreaterThan(5);
  });

  test('does not yield to the event loop after each entry', async () => {
    await file.setHashes(Array.from({ length: 1_000 }, (_, i): Entry => [`user${i}`, HASH]));
    await file.users();
    let turns = 0;
    let counting = setImmediate(function count() {
      turns++;
      counting = setImmediate(count);
    });
    onTestFinished(() => clearImmediate(counting));
    expect(await gather(file.entries())).toHaveLength(1_000);
    expect(turns).toBeLessThan(900);
  });

  test('rejects with what onSkipped throws', async () => {
    writeFileSync(path, 'alice:secret\n');
    const onSkipped = () => {
      throw new Error('no more');
    };
    await expect(gather(file.entries({ onSkipped }))).rejects.toThrow('no more');
  });

  test.each<[string, object]>([
    ['an unknown option', { onSkip: () => undefined }],
    ['onSkipped that is no function', { onSkipped: true }],
    ['a signal that is no AbortSignal', { signal: {} }],
  ])('refuses %s', (_, options) => {
    expect(() => file.entries(options)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
  });

  test('frees what it holds when a loop is left early', async () => {
    const size = 8 << 20;
    writeFileSync(path, Buffer.concat([Buffer.from(`a:${HASH}\n`), Buffer.alloc(size, 'x')]));
    const iterator = file.entries()[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toEqual(['a', HASH]);
    // The cache of the instance then holds the new version at most.
    writeFileSync(path, '');
    expect(await file.users()).toEqual([]);
    const collected = async (): Promise<number> => {
      await collectGarbage();
      return process.memoryUsage().arrayBuffers;
    };
    for (let tries = 0; tries < 2; tries++) await collected();
    const held = await collected();
    await iterator.return?.();
    let after = held;
    for (let tries = 0; tries < 50 && after > held - size; tries++) after = await collected();
    expect(after).toBeLessThanOrEqual(held - size);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });
});

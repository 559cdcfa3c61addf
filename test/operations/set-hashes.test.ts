import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { PasswordFile } from '../../src/password-file.js';
import { testDirectory } from '../support/directory.js';

const SALT = new Uint8Array(12).fill(1);
const HASH = hashPasswordSync('secret', { salt: SALT });
const ARGON2ID = `$argon2id$v=19$m=47104,t=1,p=1$${'A'.repeat(22)}$${'B'.repeat(43)}`;
const OTHER = hashPasswordSync('other', { salt: SALT });
const SHA512 = hashPasswordSync('secret', { algorithm: 'sha512', salt: SALT });

let path: string;
let file: PasswordFile;
beforeEach(() => {
  path = join(testDirectory(), 'passwd');
  file = new PasswordFile(path);
});

type Row = readonly [string, string];
const content = (): string => readFileSync(path, 'utf8');
const counts = (added: number, updated = 0, unchanged = 0, removed = 0) => ({
  added,
  updated,
  unchanged,
  removed,
});

/** A source that says whether its `return()` was called. */
function watched(rows: Iterable<unknown>) {
  const source = {
    isClosed: false,
    async *[Symbol.asyncIterator]() {
      try {
        yield* rows as Iterable<Row>;
      } finally {
        source.isClosed = true;
      }
    },
  };
  return source;
}

const trimmedLines = (text: string) => text.split('\n').map(line => line.trim());
/** Comments and lines without a colon. */
const otherLines = (text: string) =>
  trimmedLines(text).filter(line => line !== '' && (line.startsWith('#') || !line.includes(':')));
const hashLines = (text: string) =>
  trimmedLines(text)
    .filter(line => !line.startsWith('#') && line.includes(':'))
    .map(line => line.split(':'));

describe('setHashes', () => {
  test('updates one hash among many without a change of the length of the file, at its start, middle and end', async () => {
    // Enough for several pieces of 64 KiB.
    const rows = Array.from({ length: 2_000 }, (_, n): Row => [`user${1_000 + n}`, HASH]);
    await file.setHashes(rows);
    for (const changed of [0, 700, 1_999]) {
      const changedRows = rows.map(([name, hash], n): Row => [name, n === changed ? OTHER : hash]);
      expect(await file.setHashes(changedRows)).toEqual(counts(0, 1, 1_999));
      expect(content()).toBe(changedRows.map(([name, hash]) => `${name}:${hash}\n`).join(''));
      expect(await file.setHashes(rows)).toEqual(counts(0, 1, 1_999));
    }
  });

  test('creates a file of the entries, in their order', async () => {
    const rows: Row[] = [
      ['b', HASH],
      ['a', OTHER],
      ['設備', SHA512],
    ];
    expect(await file.setHashes(rows)).toEqual(counts(3));
    expect(content()).toBe(`b:${HASH}\na:${OTHER}\n設備:${SHA512}\n`);
  });

  test.each([
    ['a Map', () => new Map([['a', HASH]])],
    ['a generator', () => new Map([['a', HASH]]).entries()],
    ['an async generator', () => watched([['a', HASH]])],
  ])('takes entries from %s', async (_, source) => {
    expect(await file.setHashes(source())).toEqual(counts(1));
    expect(content()).toBe(`a:${HASH}\n`);
  });

  test('adds and updates users, and without removeOthers keeps all others', async () => {
    writeFileSync(path, `# users\nkept:${HASH}\nchanged:${HASH}\n\nsame : ${HASH}:x\nno colon\n`);
    const rows: Row[] = [
      ['new', HASH],
      ['same', HASH],
      ['changed', OTHER],
    ];
    expect(await file.setHashes(rows)).toEqual(counts(1, 1, 1));
    expect(content()).toBe(
      `# users\nkept:${HASH}\nchanged:${OTHER}\n\nsame : ${HASH}:x\nno colon\nnew:${HASH}\n`,
    );
  });

  test('with removeOthers keeps only comments, blank lines and lines without a colon besides the entries', async () => {
    writeFileSync(
      path,
      `# a: comment\ngone:${HASH}\n\n \t\nno colon\nplain:text\n :no name\nnul\0:x\n::\nsame:${HASH}\nb\u00ff:x\ngone:again\n`,
    );
    expect(await file.setHashes([['same', HASH]], { removeOthers: true })).toEqual(counts(0, 0, 1, 3));
    expect(content()).toBe(`# a: comment\n\n \t\nno colon\nsame:${HASH}\n`);
  });

  test('leaves unchanged lines where they are', async () => {
    writeFileSync(path, `c:${HASH}\n# c\nx:${HASH}\nb:${OTHER}\na:${HASH}\n`);
    const rows: Row[] = [
      ['a', HASH],
      ['b', HASH],
      ['c', HASH],
      ['d', HASH],
    ];
    expect(await file.setHashes(rows, { removeOthers: true })).toEqual(counts(1, 1, 2, 1));
    expect(content()).toBe(`c:${HASH}\n# c\nb:${HASH}\na:${HASH}\nd:${HASH}\n`);
  });

  test('takes the last hash of a name that the source yields twice', async () => {
    const rows: Row[] = [
      ['b', OTHER],
      ['a', OTHER],
      ['b', HASH],
      ['c', HASH],
    ];
    expect(await file.setHashes(rows)).toEqual(counts(3));
    expect(content()).toBe(`b:${HASH}\na:${OTHER}\nc:${HASH}\n`);
    expect(await file.setHashes(rows, { removeOthers: true })).toEqual(counts(0, 0, 3));
    expect(content()).toBe(`b:${HASH}\na:${OTHER}\nc:${HASH}\n`);
  });

  test('takes the last hash of a name that the source yields twice if the file has the same two lines', async () => {
    writeFileSync(path, `a:${HASH}\na:${OTHER}\n`);
    expect(
      await file.setHashes([
        ['a', HASH],
        ['a', OTHER],
      ]),
    ).toEqual(counts(0, 1));
    expect(content()).toBe(`a:${OTHER}\n`);
  });

  test('leaves one line of a duplicate name in the file', async () => {
    writeFileSync(path, `a:${HASH}\nb:${OTHER}\n a:${OTHER}\na:x\n`);
    expect(await file.setHashes([['a', HASH]])).toEqual(counts(0, 1));
    expect(content()).toBe(`a:${HASH}\nb:${OTHER}\n`);
  });

  test('ends new lines as the first line of the file ends, and keeps the endings of replaced lines', async () => {
    writeFileSync(path, `a:${HASH}\r\nb:${HASH}\nc:${HASH}\r\n`);
    const rows: Row[] = [
      ['a', OTHER],
      ['b', OTHER],
      ['c', OTHER],
      ['d', OTHER],
      ['e', OTHER],
    ];
    expect(await file.setHashes(rows)).toEqual(counts(2, 3));
    expect(content()).toBe(`a:${OTHER}\r\nb:${OTHER}\nc:${OTHER}\r\nd:${OTHER}\r\ne:${OTHER}\r\n`);
  });

  test('ends an unterminated last line only if every release reads it then', async () => {
    writeFileSync(path, `a:${HASH}`);
    await file.setHashes([['b', HASH]]);
    expect(content()).toBe(`a:${HASH}\nb:${HASH}\n`);
    writeFileSync(path, `a:${HASH}\nx:damaged`);
    await file.setHashes([['b', HASH]]);
    expect(content()).toBe(`a:${HASH}\nb:${HASH}\nx:damaged`);
    writeFileSync(path, `# c\na:${HASH}`);
    await file.setHashes([['a', OTHER]], { removeOthers: true });
    expect(content()).toBe(`# c\na:${OTHER}\n`);
  });

  test('makes no commit and no reload if nothing is to change', async () => {
    let commits = 0;
    const reload = { command: ['true'] as const, onError: () => commits++ };
    const rows: Row[] = [
      ['a', HASH],
      ['b', OTHER],
    ];
    await file.setHashes(rows);
    const { ino, ctimeNs } = statSync(path, { bigint: true });
    const reloading = new PasswordFile(path, { reload });
    // Its reload fails, so that any attempt is reported.
    const failing = new PasswordFile(path, { reload: { ...reload, command: ['false'] } });
    for (const options of [{}, { removeOthers: true }]) {
      expect(await failing.setHashes(rows, options)).toEqual(counts(0, 0, 2));
      expect(await reloading.setHashes(rows.toReversed(), options)).toEqual(counts(0, 0, 2));
    }
    await failing.reloaded();
    expect(statSync(path, { bigint: true })).toMatchObject({ ino, ctimeNs });
    expect(commits).toBe(0);
  });

  test('loses no other edit that waits for the same commit', async () => {
    const edits = [
      file.setHash('a', HASH),
      file.setHash('b', HASH),
      file.setHashes([['c', HASH]]),
      file.setHash('d', HASH),
      file.setHashes([['e', HASH]]),
    ];
    await Promise.all(edits);
    expect((await file.users()).sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('treats options that are false like options that are not given', async () => {
    writeFileSync(path, `a:${HASH}\n`);
    const options = { removeOthers: false, allowEmpty: false };
    expect(await file.setHashes([['b', HASH]], options)).toEqual(counts(1));
    expect(await file.users()).toEqual(['a', 'b']);
  });

  test('fails with ERR_INVALID_ARGUMENT for an empty source with removeOthers, unless allowEmpty is set', async () => {
    writeFileSync(path, `# users\na:${HASH}\n`);
    await expect(file.setHashes([], { removeOthers: true })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('allowEmpty'),
    });
    expect(await file.setHashes([])).toEqual(counts(0));
    expect(content()).toBe(`# users\na:${HASH}\n`);
    expect(await file.setHashes([], { removeOthers: true, allowEmpty: true })).toEqual(counts(0, 0, 0, 1));
    expect(content()).toBe('# users\n');
  });

  test('creates no file from an empty source', async () => {
    expect(await file.setHashes([], { removeOthers: true, allowEmpty: true })).toEqual(counts(0));
    expect(existsSync(path)).toBe(false);
  });

  test('changes nothing if the source throws midway', async () => {
    writeFileSync(path, `a:${HASH}\n`);
    const { ino } = statSync(path);
    const rows = (function* (): Generator<Row> {
      yield ['b', HASH];
      throw new Error('the query failed');
    })();
    await expect(file.setHashes(rows, { removeOthers: true })).rejects.toThrow('the query failed');
    expect(content()).toBe(`a:${HASH}\n`);
    expect(statSync(path).ino).toBe(ino);
  });

  test('reads the source to its end before it takes the lock', async () => {
    const rows = (async function* (): AsyncGenerator<Row> {
      yield ['a', HASH];
      // Another writer does not have to wait.
      await new PasswordFile(path, { lock: { timeout: 0 } }).setHash('b', HASH);
      yield ['c', HASH];
    })();
    expect(await file.setHashes(rows, { removeOthers: true })).toEqual(counts(2, 0, 0, 1));
    expect(content()).toBe(`a:${HASH}\nc:${HASH}\n`);
  });

  test('rejects at an abort while it waits for the source, calls return() of that, and changes nothing', async () => {
    const stop = new AbortController();
    let isClosed = false;
    const hanging = {
      [Symbol.asyncIterator]: () => ({
        next: (): Promise<IteratorResult<Row>> => new Promise(() => setImmediate(() => stop.abort())),
        return: async () => {
          isClosed = true;
          return { done: true as const, value: undefined };
        },
      }),
    };
    await expect(file.setHashes(hanging, { signal: stop.signal })).rejects.toThrow(/abort/i);
    expect(isClosed).toBe(true);
    expect(existsSync(path)).toBe(false);
  });

  test.each<[string, unknown, unknown, string, string]>([
    ['a name with a colon', 'a:b', HASH, 'ERR_INVALID_USERNAME', '"a"'],
    ['an empty name', '', HASH, 'ERR_INVALID_USERNAME', ''],
    ['a name of blanks', ' x', HASH, 'ERR_INVALID_USERNAME', '" x"'],
    ['a name with a blank at its end', 'x ', HASH, 'ERR_INVALID_USERNAME', '"x "'],
    ['a comment for a name', '#x', HASH, 'ERR_INVALID_USERNAME', '"#x"'],
    ['a name with a line feed', `x\ny:${HASH}`, HASH, 'ERR_INVALID_USERNAME', '"x"'],
    ['a name with DEL', 'x\u007f', HASH, 'ERR_INVALID_USERNAME', '"x"'],
    ['a lone surrogate', 'x\ud800', HASH, 'ERR_INVALID_USERNAME', '"x\\ud800"'],
    ['a long name', 'x'.repeat(65_536), HASH, 'ERR_INVALID_USERNAME', ''],
    ['a damaged hash', 'alice', HASH.slice(0, -1), 'ERR_INVALID_HASH', '"alice"'],
    ['a hash with a line feed', 'alice', `${HASH}\n`, 'ERR_INVALID_HASH', '"alice"'],
    ['a hash with stray bits', 'alice', `${HASH.slice(0, -3)}B==`, 'ERR_INVALID_HASH', '"alice"'],
    ['a hash with a zero in front', 'alice', HASH.replace('$101$', '$0101$'), 'ERR_INVALID_HASH', '"alice"'],
    ['a hash of another type', 'alice', HASH.replace('$7$', '$8$'), 'ERR_INVALID_HASH', '"alice"'],
    ['a plain password', 'alice', 'secret', 'ERR_INVALID_HASH', '"alice"'],
    ['a costly hash', 'alice', HASH.replace('$101$', '$1000001$'), 'ERR_COST_LIMIT', '"alice"'],
    ['swapped parts', HASH, 'alice', 'ERR_INVALID_HASH', ''],
    ['swapped parts of an argon2id hash', ARGON2ID, 'alice', 'ERR_INVALID_HASH', ''],
    ['a hash that is no string', 'alice', undefined, 'ERR_INVALID_ARGUMENT', ''],
    ['a name that is no string', 7, HASH, 'ERR_INVALID_ARGUMENT', ''],
    ['no pair', 'alice', HASH, 'ERR_INVALID_ARGUMENT', ''],
  ])(
    'refuses %s with an error that has the number and the user of the entry, never the hash',
    async (what, name, hash, code, shown) => {
      const bad = what === 'no pair' ? [name] : [name, hash];
      const source = watched([['first', OTHER], bad, ['last', OTHER]]);
      const error = await file.setHashes(source).then(
        () => undefined,
        caught => caught,
      );
      expect(error).toMatchObject({ name: 'PasswordFileError', code });
      expect(error.message).toContain(shown === '' ? 'Entry 2' : `Entry 2 (${shown})`);
      for (const hash of [HASH, ARGON2ID]) expect(inspect(error)).not.toContain(hash.slice(-30));
      expect(inspect(error)).not.toContain('secret');
      expect(existsSync(path)).toBe(false);
    },
  );

  test('calls return() of the source at a bad entry', async () => {
    const rows = Array.from({ length: 2_000 }, (_, i) => [`user${i}`, i === 700 ? 'x' : HASH] as const);
    const source = watched(rows);
    await expect(file.setHashes(source)).rejects.toThrow('Entry 701 ("user700")');
    expect(source.isClosed).toBe(true);
  });

  test('calls onProgress with the number of entries so far', async () => {
    const seen: number[] = [];
    const rows = new Map([
      ['a', HASH],
      ['b', HASH],
    ]);
    await file.setHashes(rows, { onProgress: done => seen.push(done) });
    expect(seen).toEqual([1, 2]);
  });

  test('rejects with what onProgress throws, and calls return() of the source', async () => {
    const source = watched([['a', HASH]]);
    const onProgress = () => {
      throw new Error('no more');
    };
    await expect(file.setHashes(source, { onProgress })).rejects.toThrow('no more');
    expect(source.isClosed).toBe(true);
  });

  test.each<[string, object]>([
    ['an unknown option', { removeOther: true }],
    ['removeOthers that is no boolean', { removeOthers: 1 }],
    ['a signal that is no AbortSignal', { signal: 1 }],
  ])('refuses %s', async (_, options) => {
    await expect(file.setHashes([['a', HASH]], options)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
    expect(existsSync(path)).toBe(false);
  });

  test('keeps the mode of the file', async () => {
    writeFileSync(path, `a:${HASH}\n`);
    chmodSync(path, 0o640);
    await file.setHashes([['a', OTHER]]);
    expect(statSync(path).mode & 0o777).toBe(0o640);
  });

  test('commits beside other edits of the same process without losing any', async () => {
    const edits = Array.from({ length: 20 }, (_, i) => [
      file.setHash(`one${i}`, HASH),
      file.setHashes([
        [`two${i}`, HASH],
        [`three${i}`, OTHER],
      ]),
    ]).flat();
    await Promise.all(edits);
    expect((await file.users()).length).toBe(60);
  });

  test("fails with ERR_FILE_MISSING for a missing file with missing: 'error'", async () => {
    const strict = new PasswordFile(path, { missing: 'error' });
    await expect(strict.setHashes([['a', HASH]])).rejects.toMatchObject({ code: 'ERR_FILE_MISSING' });
  });

  test('changes any file by any entries as single edits do', async () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'é', 'e f');
    const hash = fc.constantFrom(HASH, OTHER, SHA512);
    const other = fc.constantFrom('# c', '', ' ', 'none', ':', 'x:y', '\0a:b', 'a:z', ' b :z', '#a:b');
    const line = fc.oneof(
      fc.tuple(name, hash).map(pair => pair.join(':')),
      other,
    );
    const text = fc.tuple(fc.array(line, { maxLength: 8 }), fc.constantFrom('\n', '\r\n'), fc.boolean());
    const rows = fc.array(fc.tuple(name, hash), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(text, rows, async ([lines, ending, isEnded], entries) => {
        const before = lines.join(ending) + (isEnded ? ending : '');
        writeFileSync(path, before);
        await file.update(draft => {
          for (const [user, value] of entries) draft.set(user, value);
        });
        const expected = content();
        writeFileSync(path, before);
        await file.setHashes(entries);
        expect(content()).toBe(expected);
        await file.setHashes(entries, { removeOthers: true, allowEmpty: true });
        expect(Object.fromEntries(hashLines(content()))).toEqual(Object.fromEntries(entries));
        expect(otherLines(content())).toEqual(otherLines(before));
      }),
      { numRuns: 25 },
    );
  });
});

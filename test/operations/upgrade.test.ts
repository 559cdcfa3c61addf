/** Hashing plain-text passwords, compared with recorded calls of `mosquitto_passwd -U`. */
import { writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Finding } from '../../src/errors.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { PasswordFile } from '../../src/password-file.js';
import { clockTick } from '../support/clock-tick.js';
import { testDirectory } from '../support/directory.js';
import { decode, goldens, versions, withoutSalts } from '../support/goldens.js';
import { hold } from '../support/password-file.js';

async function fileWith(content: string | Uint8Array): Promise<{ path: string; file: PasswordFile }> {
  const path = join(testDirectory(), 'passwd');
  await writeFile(path, content, { mode: 0o600 });
  return { path, file: new PasswordFile(path) };
}

async function upgraded(content: string | Uint8Array) {
  const { path, file } = await fileWith(content);
  const skipped: Finding[] = [];
  const names = await file.upgrade({ onSkipped: finding => skipped.push(finding) });
  return { file, names, skipped, after: await readFile(path, 'latin1') };
}

function golden(version: string, what: string) {
  const row = goldens.find(each => each.version === version && each.what === `upgrade: ${what}`);
  if (row === undefined) throw new Error(`no golden of ${version} is called ${what}`);
  return { before: decode(row.before), theirs: decode(row.file) };
}

describe.each(versions)('upgrade compared with mosquitto_passwd -U %s', version => {
  const iterations = (text: string) => text.replaceAll('<7 1000>', '<7 101>');

  test.each(['two plain lines', 'blanks round the password', 'no final newline'])(
    'does the same with %s',
    async what => {
      const { before, theirs } = golden(version, what);
      const { after, file } = await upgraded(before);
      expect(withoutSalts(after)).toBe(iterations(withoutSalts(theirs)));
      expect(await file.verify('alice', 'one')).toBe(true);
    },
  );

  test('hashes a password with a colon as a whole; the tool cuts it at the colon', async () => {
    const { file, names } = await upgraded(golden(version, 'a colon in the password').before);
    expect(names).toEqual(['alice']);
    expect(await file.verify('alice', 'one:two')).toBe(true);
    expect(await file.verify('alice', 'one')).toBe(false);
  });

  test('leaves hashes alone; the tool hashes them', async () => {
    const { before, theirs } = golden(version, 'lines already hashed');
    expect(theirs).not.toBe(before);
    const { after, names } = await upgraded(before);
    expect(after).toBe(before);
    expect(names).toEqual([]);
  });

  test('keeps a comment; the tool fails', async () => {
    const { after, file } = await upgraded(golden(version, 'a comment').before);
    expect(withoutSalts(after)).toBe('# c\nalice:<7 101>\n');
    expect(await file.verify('alice', 'one')).toBe(true);
  });

  test('keeps CR LF; the tool writes LF', async () => {
    const { after, file } = await upgraded(golden(version, 'CR LF').before);
    expect(withoutSalts(after)).toBe('alice:<7 101>\r\n');
    expect(await file.verify('alice', 'one')).toBe(true);
  });
});

describe('upgrade', () => {
  const hash = hashPasswordSync('pw');

  test('changes nothing at a second call', async () => {
    const { path, file } = await fileWith('alice:one\nbob:two\n');
    expect(await file.upgrade()).toEqual(['alice', 'bob']);
    const once = await readFile(path);
    expect(await file.upgrade()).toEqual([]);
    expect(await readFile(path)).toEqual(once);
  });

  test.each([
    ['a hash that is cut short', `alice:${hash.slice(0, 60)}\n`, 'MALFORMED_HASH'],
    ['a type that the broker does not know', `alice:$5$${hash.slice(3)}\n`, 'UNSUPPORTED_HASH'],
    ['a hash after a name with a colon', `service:alice:${hash}\n`, 'COLON_IN_NAME'],
    ['no password', 'alice:  \n', 'MISSING_HASH'],
    ['no name', ':hunter2\n', 'EMPTY_NAME'],
    ['a duplicate name', 'alice:hunter2\nalice:hunter3\n', 'DUPLICATE_NAME'],
    ['a name that would turn the line into a comment', ' #x:hunter2\n', 'HASH_SIGN_NAME'],
    ['a NUL in the password', 'alice:o\0ne\n', 'NUL_BYTE'],
    ['a password longer than MQTT can carry', `alice:${'x'.repeat(65_536)}\n`, 'LONG_HASH'],
    ['a name longer than MQTT can carry', `${'x'.repeat(65_536)}:hunter2\n`, 'LONG_NAME'],
    ['a name that is no UTF-8', 'al\xffice:hunter2\n', 'UNSENDABLE_NAME'],
  ])('skips a line with %s, and reports it', async (_what, line, code) => {
    const { after, names, skipped } = await upgraded(Buffer.from(`# first\n${line}bob:two\n`, 'latin1'));
    expect(after.startsWith(`# first\n${line}`)).toBe(true);
    expect(names).toEqual(['bob']);
    expect(skipped[0]).toMatchObject({ line: 2, code });
    expect(JSON.stringify(skipped)).not.toMatch(/hunter|\$[567]\$\S{20}/);
  });

  test.each([`alice::${hash}`, `alice:${hash.slice(1)}`, `alice:${hash.replace('101', '101x')}`])(
    'leaves odd hashes alone that a broker of some release reads: %#',
    async line => {
      const { after, names, skipped } = await upgraded(`${line}\n`);
      expect({ after, names, skipped }).toEqual({ after: `${line}\n`, names: [], skipped: [] });
    },
  );

  test('hashes names and passwords as long as MQTT can carry', async () => {
    const longest = 'x'.repeat(65_535);
    const { file, names } = await upgraded(`${longest}:${longest}\n`);
    expect(names).toEqual([longest]);
    expect(await file.verify(longest, longest)).toBe(true);
  });

  test('skips lines without onSkipped too', async () => {
    const { file } = await fileWith('alice:\nbob:two\n');
    expect(await file.upgrade()).toEqual(['bob']);
  });

  test('does not wait for another writer if there is nothing to hash', async () => {
    const { path, file } = await fileWith(`alice:${hash}\n`);
    await hold(path);
    expect(await file.upgrade()).toEqual([]);
  });

  test('calls onProgress after each password', async () => {
    const { file } = await fileWith('a:1\nb:2\nc:3\n');
    const reported: Array<[number, number]> = [];
    await file.upgrade({ onProgress: (done, total) => reported.push([done, total]) });
    expect(reported).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
  });

  test('leaves a password alone that another writer has set meanwhile, and hashes the others in one commit', async () => {
    const { path, file } = await fileWith('alice:one\nbob:two\n');
    const totals: number[] = [];
    const names = await file.upgrade({
      onProgress: (_, total) => {
        if (totals.push(total) === 1) writeFileSync(path, 'alice:other\nbob:two\n');
      },
    });
    expect({ names, totals }).toEqual({ names: ['bob'], totals: [2, 2] });
    expect(await file.getHash('alice')).toBe('other');
    expect(await file.verify('bob', 'two')).toBe(true);
    expect(await file.upgrade()).toEqual(['alice']);
  });

  test.each(['onSkipped', 'onProgress'])(
    'rejects with what %s throws, and changes nothing',
    async callback => {
      const { path, file } = await fileWith('alice:\nbob:two\ncarol:three\n');
      const error = new Error('from the caller');
      const fail = () => {
        throw error;
      };
      await expect(file.upgrade({ [callback]: fail })).rejects.toBe(error);
      expect(await readFile(path, 'utf8')).toBe('alice:\nbob:two\ncarol:three\n');
    },
  );

  test('leaves users alone that another edit of the same commit changes', async () => {
    const { path, file } = await fileWith('alice:one\nbob:two\n');
    let edited: Promise<unknown> | undefined;
    const upgrading = file.upgrade({
      onProgress: (done, total) => {
        if (done < total) return;
        // The first edit changes nothing. During it, the others and the upgrade join the next commit.
        const other = new PasswordFile(path);
        edited = Promise.all([
          other.removeUser('nobody'),
          other.setHash('alice', hash),
          other.removeUser('bob'),
        ]);
      },
    });
    await upgrading;
    await edited;
    expect(await file.verify('alice', 'pw')).toBe(true);
    expect(await file.users()).toEqual(['alice']);
  });

  test('rejects with the reason of an abort while it looks for passwords', async () => {
    const { path, file } = await fileWith('no colon\n'.repeat(500_000));
    const stop = new AbortController();
    await clockTick(path);
    await file.users();
    const upgrading = file.upgrade({ signal: stop.signal });
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(upgrading).rejects.toThrow('enough');
  });

  test('rejects with the reason of an abort, and changes nothing', async () => {
    const { path, file } = await fileWith('alice:one\n');
    const reason = new Error('no longer');
    const controller = new AbortController();
    const ended = file.upgrade({ signal: controller.signal, onProgress: () => controller.abort(reason) });
    await expect(ended).rejects.toBe(reason);
    expect(await readFile(path, 'utf8')).toBe('alice:one\n');
  });
});

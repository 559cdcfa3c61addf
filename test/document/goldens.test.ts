/** Edits that mosquitto_passwd was recorded to make, made with `PasswordFile`. */
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { PasswordFileOptions } from '../../src/options.js';
import { PasswordFile } from '../../src/password-file.js';
import { testDirectory } from '../support/directory.js';
import { decode, type Golden, goldens, passwordGiven, versions, withoutSalts } from '../support/goldens.js';

/** The file that the tool left, the file that `PasswordFile` leaves, and the result of its call. */
interface Outcome {
  golden: Golden;
  before: string;
  /** The file that the tool left. */
  theirs: string;
  /** `undefined`: there is none. */
  ours: string | undefined;
  result: unknown;
  verifies(name: string, password: string): Promise<boolean>;
}

function rowOf(version: string, what: string): Golden {
  const golden = goldens.find(each => each.version === version && each.what === `edit: ${what}`);
  if (golden === undefined) throw new Error(`no golden of ${version} is called ${what}`);
  return golden;
}

/** Makes the edit of a golden. */
async function repeat(golden: Golden, options?: PasswordFileOptions): Promise<Outcome> {
  const directory = testDirectory();
  const path = join(directory, 'PWFILE');
  const before = decode(golden.before);
  if (golden.before !== undefined) await writeFile(path, before, { mode: 0o600 });
  // With the iterations and salt of the release.
  const hash = golden.version.startsWith('2.0.') ? {} : ({ iterations: 1000, saltBytes: 64 } as const);
  const file = new PasswordFile(path, { hash, ...options });
  const [username, password] = golden.argv.slice(golden.argv.indexOf('PWFILE') + 1) as [string, string];
  const call = golden.argv.includes('-D') ? file.removeUser(username) : file.setUser(username, password);
  const result = await call.catch((error: unknown) => error);
  const names = await readdir(directory);
  expect(names.filter(name => name !== 'PWFILE')).toEqual([]);
  const ours = names.length === 0 ? undefined : await readFile(path, 'utf8');
  if (ours !== undefined) expect((await stat(path)).mode & 0o777).toBe(0o600);
  const verifies = (name: string, secret: string) => file.verify(name, secret);
  return { golden, before, theirs: decode(golden.file), ours, result, verifies };
}

/** Expects that the two files differ only in the salts. */
async function expectSame({ golden, theirs, ours, verifies }: Outcome): Promise<void> {
  const [changed, password] = passwordGiven(golden) ?? [];
  const tell = (text: string) =>
    text
      .split(/(?<=\n)/)
      .map(line => (changed !== undefined && line.startsWith(`${changed}:`) ? withoutSalts(line) : line));
  expect(tell(ours ?? '')).toEqual(tell(theirs));
  if (changed !== undefined) expect(await verifies(changed, password as string)).toBe(true);
}

/** The edits after which both files are the same, and the result of the call. */
const SAME: Array<[what: string, result: unknown]> = [
  ['base', 'added'],
  ['add', 'added'],
  ['update the first', 'updated'],
  ['update the last', 'updated'],
  ['delete the first', true],
  ['delete the last', true],
  ['delete one that is not there', false],
  ['add to an empty file', 'added'],
  ['delete a name that stands twice', true],
];

describe.each(versions)('PasswordFile edits a file as mosquitto_passwd %s does', version => {
  const row = (what: string) => rowOf(version, what);

  test.each(SAME)('%s', async (what, result) => {
    const outcome = await repeat(row(what));
    expect(outcome.result).toBe(result);
    await expectSame(outcome);
  });

  test('delete, no file: makes none', async () => {
    expect(row('delete, no file').exit).toBe(1);
    expect(await repeat(row('delete, no file'))).toMatchObject({ result: false, ours: undefined });
    const strict = await repeat(row('delete, no file'), { missing: 'error' });
    expect(strict).toMatchObject({ result: { code: 'ERR_FILE_MISSING' }, ours: undefined });
  });
});

describe.each(versions)('PasswordFile, unlike mosquitto_passwd %s,', version => {
  const row = (what: string) => rowOf(version, what);
  const [hash] = version.startsWith('2.0.') ? ['<7 101>'] : ['<7 1000>'];

  test('makes a missing file when a user is added, unless missing is error', async () => {
    const golden = row('add, no file');
    expect(golden.exit).toBe(1);
    const made = await repeat(golden);
    expect(made.result).toBe('added');
    expect(withoutSalts(made.ours ?? '')).toBe(`alice:${hash}\n`);
    const strict = await repeat(golden, { missing: 'error' });
    expect(strict).toMatchObject({ result: { code: 'ERR_FILE_MISSING' }, ours: undefined });
  });

  test('leaves an existing file unchanged in create(), where -c empties it', async () => {
    const { before } = row('-c over a file');
    const path = join(testDirectory(), 'PWFILE');
    await writeFile(path, decode(before));
    expect(await new PasswordFile(path).create()).toBe(false);
    expect(await readFile(path, 'utf8')).toBe(decode(before));
  });

  // The tool loses every other user, or does not add the new one.
  test.each<[string, string]>([
    ['add where the last newline is missing', '\n'],
    ['add to a file with a comment', ''],
    ['add to a file with an empty line', ''],
  ])('loses no user in the edit "%s"', async (what, ending) => {
    const { before, theirs, ours = '', result, verifies } = await repeat(row(what));
    expect(theirs.startsWith(before + ending)).toBe(false);
    expect(result).toBe('added');
    expect(ours.startsWith(before + ending)).toBe(true);
    expect(withoutSalts(ours.slice(before.length + ending.length))).toBe(`carol:${hash}\n`);
    expect(await verifies('alice', 'one')).toBe(true);
    expect(await verifies('bob', 'two')).toBe(true);
    expect(await verifies('carol', 'x')).toBe(true);
  });

  test('leaves one line of a duplicate name that it updates', async () => {
    const {
      before,
      theirs,
      ours = '',
      result,
      verifies,
    } = await repeat(row('update a name that stands twice'));
    const [alice] = before.split(/(?<=\n)/);
    expect(theirs.match(/^bob:/gm)).toHaveLength(2);
    expect(result).toBe('updated');
    expect(withoutSalts(ours)).toBe(withoutSalts(`${alice}bob:${hash}\n`));
    expect(ours.startsWith(`${alice}bob:`)).toBe(true);
    expect(await verifies('bob', 'x')).toBe(true);
  });

  test('keeps the CR LF of a line that it updates', async () => {
    const { before, theirs, ours = '', result, verifies } = await repeat(row('update in a CR LF file'));
    const [, bob] = before.split(/(?<=\n)/);
    expect(withoutSalts(theirs)).toBe(withoutSalts(`alice:${hash}\n${bob}`));
    expect(result).toBe('updated');
    expect(ours.endsWith(`\r\n${bob}`)).toBe(true);
    expect(withoutSalts(ours)).toBe(withoutSalts(`alice:${hash}\r\n${bob}`));
    expect(await verifies('alice', 'x')).toBe(true);
    expect(await verifies('bob', 'two')).toBe(true);
  });
});

test('the tests above cover all recorded edits of mosquitto_passwd', () => {
  const edits = goldens.flatMap(({ what }) =>
    what.startsWith('edit: ') ? [what.slice('edit: '.length)] : [],
  );
  expect([...new Set(edits)].sort()).toEqual(
    [
      ...SAME.map(([what]) => what),
      'delete, no file',
      'add, no file',
      '-c over a file',
      'add where the last newline is missing',
      'add to a file with a comment',
      'add to a file with an empty line',
      'update a name that stands twice',
      'update in a CR LF file',
    ].sort(),
  );
});

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashPasswordSync } from 'mosquitto-passwd-ts';
import { beforeEach, expect, test } from 'vitest';
import { readPasswords } from '../../src/cli/input.js';
import { testDirectory } from '../support/directory.js';

const HASH = hashPasswordSync('one', { salt: Buffer.alloc(12, 1) });
let list: string;

beforeEach(() => {
  list = join(testDirectory(), 'list');
});

async function passwords(): Promise<string[][]> {
  const entries: string[][] = [];
  for (const [name, password] of await readPasswords(list)) entries.push([name, String(password)]);
  return entries;
}

test('a list of passwords may have comments, empty lines, CR LF and a byte order mark', async () => {
  writeFileSync(list, '\ufeff# users\n\nalice:one\r\nbob:two:2 \n  \ncarol: three');
  expect(await passwords()).toEqual([
    ['alice', 'one'],
    ['bob', 'two:2 '],
    ['carol', ' three'],
  ]);
});

test.each([
  ['bob:two\nbroken', 2, "There is no ':' "],
  ['bob:two\n:x', 2, 'The user name is empty. '],
  ['bob:two\ncarol:', 2, 'The password is empty. '],
  ['bob:two\ncarol:a\0b', 2, 'The password contains a NUL'],
  ['bob:two\n\nbob:three', 3, 'An earlier line has the same user name. '],
  [`bob:two\ncarol:${HASH}`, 2, 'A hash follows the user name. '],
  ['bob:two\rcarol:three', 1, 'A carriage return is in the line. '],
  ['# users\rbob:two\rcarol:three\r', 1, 'A carriage return is in the line. '],
  [Buffer.from('bob:two\n\xe9:x', 'latin1'), 2, 'The user name is not UTF-8. '],
])('the list %j is refused at its line %i', async (text, line, problem) => {
  writeFileSync(list, text);
  const { message } = await passwords().catch(error => error);
  expect(message.startsWith(`${list}:${line}: ${problem}`), message).toBe(true);
  expect(message).toMatch(/ Nothing was changed\.$/);
});

test.each(['', '\n# users\n'])('the list %j without users is refused', async text => {
  writeFileSync(list, text);
  await expect(passwords()).rejects.toMatchObject({
    message: 'The list holds no users. Nothing was changed.',
  });
});

test('a list that cannot be read is reported with its path', async () => {
  await expect(passwords()).rejects.toMatchObject({
    message: `Unable to open file ${list}. No such file or directory.`,
  });
});

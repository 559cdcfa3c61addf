/** Reads the list for `--import`: `name:password` lines. */

import { assertPassword, assertUsername, type PasswordEntry, PasswordFileError } from '../index.js';
import { CliError } from './error.js';
import { linesOf, readInput } from './input.js';

const COLON = 58;
const HASH_SIGN = 35;
const BYTE_ORDER_MARK = Buffer.from('\ufeff');
/** What -b takes for a password; in a list of passwords it stands for a mistake. */
const LIKE_A_HASH = /^\$(?:[67]|argon2id?)\$/;

/** The entries of a list, each name once; the first line that does not work is an error. */
export async function readEntries(from: string): Promise<PasswordEntry[]> {
  const bytes = await readInput(from);
  const isMarked = bytes.subarray(0, 3).equals(BYTE_ORDER_MARK);
  const entries: PasswordEntry[] = [];
  const lines = new Map<string, number>();
  let number = 0;
  for (const line of linesOf(isMarked ? bytes.subarray(3) : bytes)) {
    number++;
    if (line[0] === HASH_SIGN || /^\s*$/.test(line.toString('latin1'))) continue;
    const entry = inLine(from, number, () => entryOf(line));
    const [name] = entry;
    const earlier = lines.get(name);
    if (earlier !== undefined) {
      throw refused(from, number, `The user name stands in line ${earlier} already. Leave one of the two.`);
    }
    lines.set(name, number);
    entries.push(entry);
  }
  return entries;
}

/** What stands behind the first `:` is the password, blanks, further colons and all. */
function entryOf(line: Buffer): PasswordEntry {
  const colon = line.indexOf(COLON);
  if (colon < 0) throw new CliError("There is no ':' between a user name and a password.");
  const name = line.toString('utf8', 0, colon);
  if (!line.subarray(0, colon).equals(Buffer.from(name))) throw new CliError('The user name is not UTF-8.');
  assertUsername(name);
  const password = line.subarray(colon + 1);
  assertPassword(password);
  if (LIKE_A_HASH.test(password.toString('latin1'))) {
    throw new CliError('Behind the user name stands a hash. The list takes passwords.');
  }
  return [name, password];
}

function inLine<T>(from: string, number: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CliError || error instanceof PasswordFileError)
      throw refused(from, number, error.message);
    throw error;
  }
}

function refused(from: string, number: number, problem: string): CliError {
  const where = from === '-' ? 'Standard input' : from;
  return new CliError(`Error: ${where}:${number}: ${problem} Nothing was changed.`);
}

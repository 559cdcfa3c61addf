/** Valid password files with random edits, which depend only on a seed. */
import { hashPasswordSync } from '../../src/hash/hash.js';
import { randomNumbers } from './random.js';

/** The password of most hashes in these files, and that of the others. */
export const PASSWORD = 'pw';
export const OTHER_PASSWORD = 'other';

const NAMES = ['alice', 'bob', 'dev-1', 'tenant/device/2', 'é', '設備-7', 'a b', 'x+y', 'q\'uo"te'];
const SALTS = [Buffer.from('AQIDBAUGBwgJCgsM', 'base64'), Buffer.alloc(64, 7)];
const HASHES = [PASSWORD, OTHER_PASSWORD].flatMap(password => [
  ...SALTS.flatMap(salt => [1, 101].map(iterations => hashPasswordSync(password, { salt, iterations }))),
  hashPasswordSync(password, { salt: SALTS[0], algorithm: 'sha512' }),
]);
const SHORT_SALT_HASHES = HASHES.filter(hash => hash.length < 120);

/** Characters that have a meaning in a password file, and some that should not be in one. */
const CHARACTERS = [
  ...':$#=+/-_%,.79AQz0 \t\r\v\f\0\n',
  '\xff',
  '\xc2',
  '\x85',
  '\x7f',
  '==',
  '::',
  '$$',
  '    ',
];
const LINES = [
  '',
  ' ',
  '\r',
  '#c',
  '# a: b',
  '  # c',
  ':',
  '::',
  ' : ',
  'x',
  'x:',
  'x:y',
  ':x',
  'x:y:z',
  '\0',
  'a\0b:c',
];

/** Random choices from a seed. */
export class Random {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = randomNumbers(seed);
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }
}

/** A file with up to three random edits, each byte a character. */
export function mutatedFile(random: Random): string {
  // Half of the files contain only hashes that every release reads, so that there are files that load in 2.0 and 2.1.
  const hashes = random.below(2) === 0 ? HASHES : SHORT_SALT_HASHES;
  const users = random.below(12) === 0 ? 60 + random.below(500) : 1 + random.below(5);
  const names = users < 6 ? NAMES : Array.from({ length: users }, (_, i) => `tenant/device-${i}`);
  let file = names
    .slice(0, users)
    .map(name => `${Buffer.from(name).toString('latin1')}:${random.of(hashes)}\n`)
    .join('');
  // Which line of a duplicate name Mosquitto 2.0 uses depends on how many users there are.
  if (users >= 60) for (let duplicate = 0; duplicate < 4; duplicate++) file = repeatLine(file, random);
  for (let edits = random.below(4); edits > 0; edits--) file = random.of(EDITS)(file, random);
  return file;
}

type Edit = (file: string, random: Random) => string;

const insert: Edit = (file, random) => splice(file, place(file, random), 0, random.of(CHARACTERS));
const replace: Edit = (file, random) => splice(file, place(file, random), 1, random.of(CHARACTERS));
const remove: Edit = (file, random) => splice(file, place(file, random), 1 + random.below(3), '');
const oddLine: Edit = (file, random) => {
  const lines = file.split('\n');
  lines.splice(random.below(lines.length), 0, random.of(LINES));
  return lines.join('\n');
};
const repeatLine: Edit = (file, random) => {
  const lines = file.split('\n');
  const [name] = random.of(lines).split(':');
  lines.splice(random.below(lines.length), 0, `${name}:${random.of(HASHES)}`);
  return lines.join('\n');
};
const otherFields: Edit = (file, random) => {
  const fields = file.split('$');
  const at = random.below(fields.length);
  if (random.below(2) === 0) fields.splice(at, 1);
  else
    fields.splice(
      at,
      0,
      random.of([...fields.slice(0, 4), '', '101x', ' 101', '+1', '-1', '4294967297', '0']),
    );
  return fields.join('$');
};
const copyStretch: Edit = (file, random) => {
  const from = random.below(file.length);
  return splice(file, random.below(file.length), 0, file.slice(from, from + random.below(40)));
};
const otherEnds: Edit = file => file.replaceAll('\n', '\r\n');
const noEnd: Edit = file => file.replace(/\n$/, '');
const byteOrderMark: Edit = file => `\xef\xbb\xbf${file}`;
/** Makes a line as long as the broker's buffer, or off by one; it may be a last line without a line feed. */
const bufferful: Edit = (file, random) => {
  const lines = file.split('\n').filter(line => line !== '');
  const at = random.of([0, lines.length - 1]);
  const line = lines[at] ?? '';
  const length = random.of([254, 255, 256, 1254, 1255, 1256, 2255]);
  lines[at] = 'n'.repeat(Math.max(0, length - line.length)) + line;
  return lines.join('\n') + random.of(['', '\n']);
};
/** Puts a NUL into a line, then bytes that fill the buffer or nearly, then text that the broker may read as a line. */
const nul: Edit = (file, random) => {
  const lines = file.split('\n');
  const at = random.below(lines.length);
  const line = lines[at] ?? '';
  const cut = random.below(line.length + 1);
  const length = random.of([0, 253, 254, 255, 1255]);
  lines[at] = `${line.slice(0, cut)}\0`.padEnd(length, 'x') + random.of(['', line, 'carol:x']);
  return lines.join('\n');
};

const EDITS = [
  ...[insert, insert, insert, replace, replace, replace, remove, remove, oddLine, oddLine, repeatLine],
  ...[otherFields, otherFields, copyStretch, otherEnds, noEnd, byteOrderMark, bufferful, nul],
];

/** A random position in a file, half of the time next to a separator. */
function place(file: string, random: Random): number {
  const anywhere = random.below(file.length + 1);
  if (random.below(2) === 0) return anywhere;
  const separators = [...file.matchAll(/[:$=\n]/g)];
  const { index = anywhere } = random.of(separators) ?? {};
  return index + random.below(2);
}

function splice(text: string, at: number, length: number, replacement: string): string {
  return text.slice(0, at) + replacement + text.slice(at + length);
}

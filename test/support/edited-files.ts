/** Files whose last line a broker may lose, edits of them, and the edited files. */
import fc from 'fast-check';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { edit } from './edits.js';

/** The password of all users in these files. */
export const PASSWORD = 'pw';
export const HASH = hashPasswordSync(PASSWORD, { salt: Buffer.alloc(12, 1) });
const LONG_SALT = hashPasswordSync(PASSWORD, { salt: Buffer.alloc(64, 1) });

/** An entry of this many bytes. Its name is not contained in that of another length. */
export const entryOf = (length: number) => `${String(length).padEnd(length - HASH.length - 1, 'n')}:${HASH}`;

/** The new hash of each name; `undefined`: it is deleted. */
export type Edits = ReadonlyArray<readonly [name: string, hash: string | undefined]>;

/** The file after the edits. */
export function edited(text: string, edits: Edits): Buffer {
  return edit(Buffer.from(text, 'latin1'), draft => {
    for (const [name, hash] of edits) hash === undefined ? draft.delete(name) : draft.set(name, hash);
  });
}

const name = fc.constantFrom('alice', 'bob', 'carol', 'dave', 'new/device');
const line = fc.oneof(
  { weight: 6, arbitrary: name.map(each => `${each}:${HASH}`) },
  { weight: 2, arbitrary: fc.constantFrom(254, 255, 256, 1255, 1256).map(entryOf) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(name, fc.constantFrom(254, 255, 256, 1255))
      .map(([each, length]) => `${each}:${HASH}:`.padEnd(length, 'x')),
  },
  { weight: 1, arbitrary: name.map(each => `${each}:${LONG_SALT}`) },
  { weight: 1, arbitrary: name.map(each => `${each}:${HASH}\0junk`) },
  { weight: 1, arbitrary: fc.constantFrom(253, 254, 255, 256).map(n => `alice:${HASH}\0`.padEnd(n, 'x')) },
  { weight: 1, arbitrary: fc.constantFrom('', '#', '# c', ' ', '\r', ':', '::', 'x', 'x:y', '#\0', '\0') },
  { weight: 1, arbitrary: fc.constantFrom(254, 255, 256, 1255).map(n => '#'.padEnd(n, 'c')) },
  { weight: 1, arbitrary: fc.constantFrom(255, 1255).map(n => `bob:${'y'.repeat(n - 4)}`) },
);
const file = fc
  .tuple(
    fc.array(
      fc.tuple(line, fc.constantFrom('\n', '\n', '\n', '\r\n')).map(parts => parts.join('')),
      {
        maxLength: 5,
      },
    ),
    line,
    fc.constantFrom('', '', '', '\n'),
  )
  .map(([lines, last, end]) => `${lines.join('')}${last}${end}`);
const anyName = fc.oneof(
  name,
  fc.constantFrom(254, 255, 256).map(length => entryOf(length).split(':')[0] as string),
);
/** Up to three edits of users who may be in these files. */
export const edits = fc.array(fc.tuple(anyName, fc.constantFrom(HASH, undefined)), {
  minLength: 1,
  maxLength: 3,
});

/**
 * Whether a file has a NUL before its last line, and duplicate names. An edit may remove the NUL: 2.0 then reads the
 * lines after it, and one of them may repeat the name of an earlier line.
 */
function hidesDuplicates(text: string): boolean {
  const names = text.split('\n').map(each => each.split(/[:\0]/)[0]);
  return /\0[^\n]*\n/.test(text) && new Set(names).size < names.length;
}

/** Files with NUL bytes, missing line feeds, and lines of the length of a buffer. */
export const files = file.filter(text => !hidesDuplicates(text));

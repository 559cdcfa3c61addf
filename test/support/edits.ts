/** The pure part of an edit, as src/storage/group-commit.ts runs it, and another reader of lines to compare it with. */
import { Draft, edited } from '../../src/document/draft.js';
import { indexed } from './indexed.js';

export function draftOf(bytes: Uint8Array): Draft {
  return new Draft(indexed(Buffer.from(bytes)));
}

/** The file after edits in one draft. */
export function edit(bytes: Uint8Array, make: (draft: Draft) => void): Buffer {
  const draft = draftOf(bytes);
  make(draft);
  const work = draft.changes();
  for (let step = work.next(); ; step = work.next()) {
    if (step.done)
      return Buffer.concat([...edited(Buffer.from(bytes), step.value)].map(piece => Buffer.from(piece)));
  }
}

/** A line with its ending, and its name and hash if it is an entry. All are latin1, one character for each byte. */
export interface Line {
  text: string;
  ending: '\r\n' | '\n' | '';
  name?: string;
  hash?: string;
}

/**
 * The lines of a file, for comparison: `pwfile__parse` of 2.0.11 src/security_default.c, with its `strchr`, `strtok_r`
 * and `misc__trimblanks` written as string operations.
 */
export function linesOf(bytes: Uint8Array): Line[] {
  const lines =
    Buffer.from(bytes)
      .toString('latin1')
      .match(/[^\n]*\n|[^\n]+$/g) ?? [];
  return lines.map(line => {
    const [, text = '', ending = ''] = /^(.*?)(\r?\n|)$/s.exec(line) ?? [];
    return { text, ending: ending as Line['ending'], ...entryOf(line) };
  });
}

function entryOf(line: string): { name: string; hash: string } | undefined {
  const [read = ''] = line.split('\0');
  if (read.startsWith('#') || !read.includes(':')) return undefined;
  const [name = '', hash = ''] = read.replace(/^:+/, '').replace(/\n$/, '').split(/:+/);
  return { name: trim(name), hash: trim(hash) };
}

function trim(text: string): string {
  return text.replace(/^[ \t-\r]+|[ \t-\r]+$/g, '');
}

export function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

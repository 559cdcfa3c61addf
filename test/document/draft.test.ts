import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NameIndex } from '../../src/document/name-index.js';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { draftOf, edit, type Line, latin1, linesOf } from '../support/edits.js';
import { scanTo } from '../support/indexed.js';

const GOOD = hashPasswordSync('pw', { salt: Buffer.alloc(12, 1) });

/** The text of a file after a set or delete, each character a byte. */
function set(text: string, name: string, hash: string): string {
  return edit(Buffer.from(text, 'latin1'), draft => draft.set(name, hash)).toString('latin1');
}
function remove(text: string, name: string): string {
  return edit(Buffer.from(text, 'latin1'), draft => draft.delete(name)).toString('latin1');
}

test('removals of adjacent lines become one change, in whatever order they come', () => {
  // Over 64 KiB, so that they are sorted in several blocks.
  const names = Array.from({ length: 1_000 }, (_, n) => `user${n}`);
  const text = names.map(name => `${name}:${GOOD}\n`).join('');
  const draft = draftOf(Buffer.from(`#\n${text}#\n`));
  for (const [i] of names.entries()) draft.delete(names[(i * 7) % 1_000] as string);
  const work = draft.changes();
  let step = work.next();
  while (!step.done) step = work.next();
  expect(step.value).toEqual([{ start: 2, end: 2 + text.length, text: '' }]);
});

describe('set', () => {
  test.each<[string, string, string]>([
    ['adds to an empty file', '', 'bob:new\n'],
    ['adds a line at the end', 'alice:a\n', 'alice:a\nbob:new\n'],
    ['changes the line of the name', 'alice:a\nbob:b\ncarol:c\n', 'alice:a\nbob:new\ncarol:c\n'],
    ['ends a last line that is a user', `alice:${GOOD}`, `alice:${GOOD}\nbob:new\n`],
    ['ends a last line that is a comment', 'alice:a\n# c', 'alice:a\n# c\nbob:new\n'],
    ['ends a last line that is blank', 'alice:a\n \t', 'alice:a\n \t\nbob:new\n'],
    ['ends a last line that it changes', 'alice:a\nbob:b', 'alice:a\nbob:new\n'],
    ['adds before a last line of colons', 'alice:a\n::', 'alice:a\nbob:new\n::'],
    ['adds before a last line whose hash no broker reads', 'carol:c\nalice:a', 'carol:c\nbob:new\nalice:a'],
    ['adds before a last line with a NUL', `alice:${GOOD}\0x`, `bob:new\nalice:${GOOD}\0x`],
    [
      'adds before a last line that an earlier NUL hides from 2.0',
      `#\0\nalice:${GOOD}`,
      `#\0\nbob:new\nalice:${GOOD}`,
    ],
    ['changes a last line that an earlier NUL hides from 2.0', '#\0\nbob:b', '#\0\nbob:new'],
    ['changes a last line in a file that starts with a NUL', '\0\nbob:b', '\0\nbob:new'],
    [
      'adds before a last line in a file that starts with a NUL',
      `\0\nalice:${GOOD}`,
      `\0\nbob:new\nalice:${GOOD}`,
    ],
    [
      'keeps comments, blank and malformed lines',
      '# c\n\nwhat\nalice:a\n:::\n',
      '# c\n\nwhat\nalice:a\n:::\nbob:new\n',
    ],
    ['keeps the CR LF of a line that it changes', 'alice:a\r\nbob:b\r\n', 'alice:a\r\nbob:new\r\n'],
    ['ends a new line with CR LF in a file with CR LF', 'alice:a\r\n', 'alice:a\r\nbob:new\r\n'],
    ['ends a new line as the first line of the file ends', '# c\nalice:a\r\n', '# c\nalice:a\r\nbob:new\n'],
    [
      'ends a last line as the first line of the file ends',
      `alice:a\r\ncarol:${GOOD}`,
      `alice:a\r\ncarol:${GOOD}\r\nbob:new\r\n`,
    ],
    ['removes the further lines of the name', 'bob:1\nalice:a\nbob:2\nbob:3\n', 'bob:new\nalice:a\n'],
    ['removes a further line that has no line feed', 'bob:1\nalice:a\nbob:2', 'bob:new\nalice:a\n'],
    ['finds a name among blanks', ' \tbob \v:b\n', 'bob:new\n'],
    ['takes names that differ only in blanks around them for one', 'bob:1\nbob :2\n\tbob:3\n', 'bob:new\n'],
    ['finds a name after colons', '::bob:b\n', 'bob:new\n'],
    ['finds a name after colons without a hash', 'alice:a\n::bob:\n', 'alice:a\nbob:new\n'],
    ['finds a name among colons and blanks', ':: bob\t: \nalice:a\n', 'bob:new\nalice:a\n'],
    ['removes a further field', 'bob:b:more\n', 'bob:new\n'],
    ['finds a name without a hash', 'bob:\n', 'bob:new\n'],
    ['does not take a comment for a line of the name', '#bob:b\n', '#bob:b\nbob:new\n'],
    ['does not take #bob after a blank for the name bob', ' #bob:b\n', ' #bob:b\nbob:new\n'],
    ['does not take a name without a colon for a line of the name', 'bob\n', 'bob\nbob:new\n'],
    ['ignores a colon after a NUL', 'bob\0:b\n', 'bob\0:b\nbob:new\n'],
    ['replaces a hash with a NUL', 'bob:b\0c\n', 'bob:new\n'],
    [
      'rewrites the first line of a duplicate name even if it has the hash',
      ' bob :new\nbob:b\n',
      'bob:new\n',
    ],
    ['keeps what is no UTF-8', '\xff\xfe:a\n\x80\n', '\xff\xfe:a\n\x80\nbob:new\n'],
    ['keeps a lone carriage return', 'alice:a\rbob:b\n', 'alice:a\rbob:b\nbob:new\n'],
  ])('%s', (_what, before, after) => {
    expect(set(before, 'bob', 'new')).toBe(after);
  });

  test.each([255, 1255])('ends a last line of %i bytes, which fills a buffer', length => {
    const last = `alice:${GOOD}:`.padEnd(length, 'x');
    expect(set(`zed:z\n${last}`, 'bob', 'new')).toBe(`zed:z\n${last}\nbob:new\n`);
  });

  test.each([250, 251])(
    'adds before a last line that fills a buffer if its name of %i bytes may be a duplicate',
    length => {
      const name = 'n'.repeat(length);
      const last = `${name}:${GOOD}:`.padEnd(1255, 'x');
      const before = length === 250 ? `#${name}\n` : '';
      expect(set(`${before}${last}`, 'bob', 'new')).toBe(`${before}bob:new\n${last}`);
      // No broker loses a last line of another length.
      expect(set(`${before}${last}x`, 'bob', 'new')).toBe(`${before}${last}x\nbob:new\n`);
    },
  );

  test.each(['alice:a\nbob:new\n', 'bob : new \t:more\r\n', ' bob:new', '::bob::new\n'])(
    'leaves %j unchanged if the user has the hash already',
    text => {
      expect(set(text, 'bob', 'new')).toBe(text);
    },
  );

  test('removes the further line of a duplicate name even if one line has the hash already', () => {
    expect(set('bob:new\nalice:a\nbob:old\n', 'bob', 'new')).toBe('bob:new\nalice:a\n');
    expect(set('bob:old\nalice:a\nbob:new\n', 'bob', 'new')).toBe('bob:new\nalice:a\n');
  });

  test('writes names in UTF-8', () => {
    expect(set(latin1('ålicé:a\n設備:b\n'), '設備', 'new')).toBe(latin1('ålicé:a\n設備:new\n'));
    expect(set('', '🙂', 'new')).toBe(latin1('🙂:new\n'));
  });

  test('distinguishes names that are alike', () => {
    const text = latin1('e\u0301:a\nBob:b\nbo:c\nbobb:d\n\ufffd:e\n');
    expect(set(text, '\u00e9', 'new')).toBe(`${text}${latin1('\u00e9')}:new\n`);
    expect(set(text, 'bob', 'new')).toBe(`${text}bob:new\n`);
    expect(set('\xff:a\n', '\ufffd', 'new')).toBe(`\xff:a\n${latin1('\ufffd')}:new\n`);
  });

  const filling = 'n'.repeat(255 - GOOD.length - 1);
  test.each([
    ['with a NUL', 'bob', `bob:${GOOD}\0x\nalice:a\n`, `bob:${GOOD}\nalice:a\n`],
    ['that is a last one and fills a buffer', filling, `${filling}:${GOOD}`, `${filling}:${GOOD}\n`],
  ])('rewrites a line %s even if it has the hash', (_what, name, before, after) => {
    const draft = draftOf(Buffer.from(before));
    expect([1, 2].map(() => draft.set(name, GOOD))).toEqual(['updated', 'unchanged']);
    expect(edit(Buffer.from(before), each => each.set(name, GOOD)).toString()).toBe(after);
  });

  test('keeps the place of its line after one that the same draft deletes', () => {
    const after = edit(Buffer.from('alice:a\nbob:b\n'), draft => {
      draft.delete('alice');
      draft.set('bob', 'new');
    });
    expect(after.toString()).toBe('bob:new\n');
  });

  test('returns added, updated or unchanged', () => {
    const draft = draftOf(Buffer.from('alice:a\nbob:b\nbob:b\n'));
    const outcomes = ['a', 'new', 'new'].map(hash => draft.set('alice', hash));
    expect(outcomes).toEqual(['unchanged', 'updated', 'unchanged']);
    expect(['b', 'b'].map(hash => draft.set('bob', hash))).toEqual(['updated', 'unchanged']);
    expect(['c', 'c'].map(hash => draft.set('carol', hash))).toEqual(['added', 'unchanged']);
  });
});

describe('delete', () => {
  test.each<[string, string, string]>([
    ['removes the line', 'alice:a\nbob:b\ncarol:c\n', 'alice:a\ncarol:c\n'],
    ['removes all lines of the name', 'bob:1\nalice:a\n bob :2\nbob:3', 'alice:a\n'],
    ['removes a last line without a line feed', 'alice:a\nbob:b', 'alice:a\n'],
    ['removes the only line', 'bob:b', ''],
    [
      'keeps all other lines, and a last one without a line feed',
      '# c\r\n\r\nbob:b\r\n#bob:x\r\nalice:a',
      '# c\r\n\r\n#bob:x\r\nalice:a',
    ],
    ['ends a last line that is a user', `bob:b\nalice:${GOOD}`, `alice:${GOOD}\n`],
    [
      'leaves a last line without a line feed unchanged if nothing is removed',
      `alice:${GOOD}`,
      `alice:${GOOD}`,
    ],
    ['leaves a file without the name unchanged', '#bob\nbob\nalice:a', '#bob\nbob\nalice:a'],
  ])('%s', (_what, before, after) => {
    expect(remove(before, 'bob')).toBe(after);
  });

  test('returns whether there was a user of that name', () => {
    const draft = draftOf(Buffer.from('alice:a\n'));
    expect(draft.delete('alice')).toBe(true);
    expect(draft.delete('alice')).toBe(false);
    expect(draft.delete('bob')).toBe(false);
    draft.set('bob', 'b');
    expect(draft.delete('bob')).toBe(true);
  });
});

describe('several edits in one draft', () => {
  test('delete a last line without a line feed, and add another', () => {
    const after = edit(Buffer.from('alice:a\nbob:b'), draft => {
      draft.delete('bob');
      draft.set('carol', 'c');
    });
    expect(after.toString()).toBe('alice:a\ncarol:c\n');
  });

  test('change a last line without a line feed, and add another', () => {
    const after = edit(Buffer.from('alice:a\nbob:b'), draft => {
      draft.set('bob', 'new');
      draft.set('carol', 'c');
    });
    expect(after.toString()).toBe('alice:a\nbob:new\ncarol:c\n');
  });

  test('keep the place of a user who is deleted and set again', () => {
    const after = edit(Buffer.from('bob:b\nalice:a\n'), draft => {
      draft.delete('bob');
      draft.set('bob', 'new');
    });
    expect(after.toString()).toBe('bob:new\nalice:a\n');
  });

  test('keep the line of a user who is deleted and set again with the same hash', () => {
    const text = ' bob : b :more\nalice:a\n';
    const after = edit(Buffer.from(text), draft => {
      draft.delete('bob');
      draft.set('bob', 'b');
    });
    expect(after.toString()).toBe(text);
  });

  test('change lines far from each other', () => {
    const between = '# comment\n'.repeat(20_000);
    const after = edit(Buffer.from(`${between}bob:b\n${between}alice:a\n`), draft => {
      draft.delete('alice');
      draft.set('bob', 'new');
    });
    expect(after.toString()).toBe(`${between}bob:new\n${between}`);
  });

  test('change nothing by a user who is added and deleted again', () => {
    const after = edit(Buffer.from('alice:a'), draft => {
      draft.set('bob', 'b');
      draft.delete('bob');
    });
    expect(after.toString()).toBe('alice:a');
  });
});

describe('a draft', () => {
  const text = '# bob:x\nalice: a \nbob:1:more\ncarol:c\n bob :2\n\xff:f\n :blank\nempty:\n:lead:l\n';
  const draft = draftOf(Buffer.from(text, 'latin1'));

  test('returns from get the hash in the last line of the name', () => {
    expect(draft.get('alice')).toBe('a');
    expect(draft.get('bob')).toBe('2');
    expect(draft.get('lead')).toBe('l');
    expect(draft.get('empty')).toBe('');
    expect(draft.get('nobody')).toBeUndefined();
  });

  test('returns from rest all that follows the name in its last line without blanks around it, unless a colon precedes the name', () => {
    expect(['alice', 'bob', 'empty', 'lead', 'nobody'].map(name => draft.rest(name)?.toString())).toEqual([
      'a',
      '2',
      '',
      undefined,
      undefined,
    ]);
    expect(draftOf(Buffer.from('bob:1:more\n')).rest('bob')?.toString()).toBe('1:more');
    const edits = draftOf(Buffer.from('bob:1\n'));
    edits.set('bob', '2');
    expect(edits.rest('bob')).toBeUndefined();
  });

  test('has the names that the broker reads', () => {
    expect(['alice', 'bob', 'lead', 'empty'].map(name => draft.has(name))).toEqual([true, true, true, true]);
    expect([' alice', '# bob', 'more', 'l', 'Alice', '\ufffd'].some(name => draft.has(name))).toBe(false);
  });

  test('returns from keys the names that a client can send, each once and in order', () => {
    expect([...draft.keys()]).toEqual(['alice', 'bob', 'carol', 'empty', 'lead']);
  });

  test('returns the edited users', () => {
    const edits = draftOf(Buffer.from(text, 'latin1'));
    edits.set('zoe', 'z');
    edits.set('bob', 'new');
    edits.delete('alice');
    expect(edits.get('zoe')).toBe('z');
    expect(edits.get('bob')).toBe('new');
    expect([edits.has('alice'), edits.get('alice')]).toEqual([false, undefined]);
    expect([...edits.keys()]).toEqual(['bob', 'carol', 'empty', 'lead', 'zoe']);
  });
});

describe('rollBack', () => {
  test('undoes the edits since begin, and no earlier ones', () => {
    const draft = draftOf(Buffer.from('alice:a\nbob:b\n'));
    draft.set('bob', '1');
    draft.set('carol', 'c');
    draft.begin();
    expect(draft.hasChanged()).toBe(false);
    draft.delete('carol');
    expect(draft.hasChanged()).toBe(true);
    draft.set('bob', '2');
    draft.set('bob', '3');
    draft.delete('alice');
    draft.set('dave', 'd');
    expect(draft.hasChanged()).toBe(true);
    draft.rollBack();
    expect(draft.hasChanged()).toBe(false);
    expect([...draft.keys()].map(name => [name, draft.get(name)])).toEqual([
      ['alice', 'a'],
      ['bob', '1'],
      ['carol', 'c'],
    ]);
  });
});

describe('properties', () => {
  const NAMES = ['bob', 'alice', 'b', 'ålicé', 'with blank', '設備'];
  const name = fc.constantFrom(...NAMES);
  const hash = fc.constantFrom('old', 'new', '$7$101$salt$key', GOOD, '');
  const blanks = fc.string({ unit: fc.constantFrom(' ', '\t', '\v', '\r', '\f'), maxLength: 2 });
  const entry = fc
    .tuple(fc.constantFrom('', '', ':', '::'), blanks, name.map(latin1), blanks, blanks, hash, blanks)
    .map(([colons, b1, user, b2, b3, secret, b4]) => `${colons}${b1}${user}${b2}:${b3}${secret}${b4}`);
  const oddLine = fc.oneof(
    fc.constantFrom(
      '',
      '#',
      '# comment',
      ' #bob:x',
      'bob',
      ':',
      ':::',
      ' : ',
      ' :x',
      'bob\0:x',
      'bob:x\0y',
      '\xff:x',
    ),
    fc.tuple(fc.constantFrom('#', ' #', '\0', 'x', '\xe5'), entry).map(([before, line]) => before + line),
    fc
      .tuple(entry, fc.constantFrom(':', ':more', '\0', '\0:x', '\xff'))
      .map(([line, behind]) => line + behind),
    fc.string({ unit: fc.constantFrom(...':# \0\r\t\xffb'), maxLength: 8 }),
    fc.string({ unit: fc.integer({ min: 0, max: 255 }).map(byte => String.fromCharCode(byte)) }),
  );
  const fileOf = (line: fc.Arbitrary<string>) =>
    fc
      .tuple(
        fc.array(
          fc.tuple(line, fc.constantFrom('\n', '\n', '\r\n')).map(parts => parts.join('')),
          { maxLength: 8 },
        ),
        fc.oneof(fc.constant(''), line),
      )
      .map(([lines, last]) => Buffer.from([...lines, last].join(''), 'latin1'));
  const file = fc.oneof(
    fileOf(fc.oneof(entry, oddLine)),
    fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
  );
  const step = fc.oneof(
    fc.record({ name, hash: hash.filter(each => each !== '') }),
    fc.record({ name, hash: fc.constant(undefined) }),
  );
  type Step = { name: string; hash: string | undefined };

  const untouched = (bytes: Uint8Array, edited: string[]) =>
    linesOf(bytes).filter(line => line.name === undefined || !edited.map(latin1).includes(line.name));
  const raw = (lines: Line[]) => lines.map(({ text, ending }) => text + ending);

  /** Expects each line as it was, except that an edit may end a last line that has no line feed. */
  function expectKept(before: Line[], after: Line[]): void {
    const [kept, found] = [raw(before), raw(after)];
    const last = kept.at(-1);
    if (last !== undefined && !last.endsWith('\n') && found.length === kept.length) {
      expect([last, `${last}\n`, `${last}\r\n`]).toContain(found.at(-1));
      found[found.length - 1] = last;
    }
    expect(found).toEqual(kept);
  }

  const run = { numRuns: 200 };

  test('a draft without edits leaves the file byte for byte the same', () => {
    fc.assert(
      fc.property(file, name, (bytes, absent) => {
        expect(bytes.equals(edit(bytes, () => undefined))).toBe(true);
        const without = edit(bytes, draft => draft.delete(absent));
        expect(edit(without, draft => draft.delete(absent))).toEqual(without);
      }),
      run,
    );
  });

  test('after a set exactly one line has the name, and all other lines are as they were', () => {
    fc.assert(
      fc.property(file, name, (bytes, user) => {
        const after = edit(bytes, draft => draft.set(user, 'the hash'));
        const own = linesOf(after).filter(line => line.name === latin1(user));
        expect(own.map(line => line.hash)).toEqual(['the hash']);
        expectKept(untouched(bytes, [user]), untouched(after, [user]));
        // An update stays where the first line of the name was.
        const at = linesOf(bytes).findIndex(line => line.name === latin1(user));
        if (at >= 0) expect(linesOf(after).findIndex(line => line.name === latin1(user))).toBe(at);
        else expect(linesOf(after).at(canBeEnded(linesOf(bytes)) ? -1 : -2)?.name).toBe(latin1(user));
      }),
      run,
    );
  });

  test('after a delete no line has the name, and all other lines are as they were', () => {
    fc.assert(
      fc.property(file, name, (bytes, user) => {
        const after = edit(bytes, draft => draft.delete(user));
        expectKept(untouched(bytes, [user]), untouched(after, [user]));
        expect(linesOf(after).some(line => line.name === latin1(user))).toBe(false);
      }),
      run,
    );
  });

  /** Whether a write ends the last line: each release reads it alike with and without a line feed. */
  function canBeEnded(lines: Line[]): boolean {
    const last = lines.at(-1);
    if (last === undefined || last.ending !== '') return true;
    if (hasNul(lines)) return false;
    if (last.name === undefined) return /^#|^[ \t-\r]*$/.test(last.text);
    return last.name !== '' && last.hash === GOOD;
  }

  const hasNul = (lines: Line[]) => lines.some(({ text }) => text.includes('\0'));

  /** The file that an edit should leave, made line by line. */
  function model(bytes: Uint8Array, { name, hash }: Step): Buffer {
    const lines = linesOf(bytes);
    const isHidden = hasNul(lines.slice(0, -1));
    const own = lines.filter(line => line.name === latin1(name));
    const [first] = own;
    const kept = lines.filter(line => !own.includes(line) || (hash !== undefined && line === first));
    const isAdded = hash !== undefined && first === undefined;
    const isSame = own.length === 1 && first?.hash === hash && !first?.text.includes('\0');
    const isChanged = hash !== undefined && first !== undefined && !isSame;
    if (!isAdded && !isChanged && kept.length === lines.length) return Buffer.from(bytes);
    if (isChanged) Object.assign(first, { text: latin1(`${name}:${hash}`), name: latin1(name), hash: GOOD });
    const last = kept.at(-1);
    const isAtEnd =
      last === undefined || last.ending !== '' || (!isHidden && canBeEnded([...lines.slice(0, -1), last]));
    const ending = lines[0]?.ending || '\n';
    if (isAtEnd && last?.ending === '') last.ending = ending;
    if (isAdded) kept.splice(isAtEnd ? kept.length : -1, 0, { text: latin1(`${name}:${hash}`), ending });
    return Buffer.from(raw(kept).join(''), 'latin1');
  }

  test('edits one after another agree with a model of the lines, byte for byte', () => {
    fc.assert(
      fc.property(file, fc.array(step, { maxLength: 12 }), (bytes, steps) => {
        const files: Buffer[] = [bytes];
        const expected: Buffer[] = [bytes];
        for (const each of steps) {
          const edited = edit(files.at(-1) as Buffer, draft =>
            each.hash === undefined ? draft.delete(each.name) : draft.set(each.name, each.hash),
          );
          files.push(edited);
          expected.push(model(expected.at(-1) as Buffer, each));
        }
        expect(files.map(each => each.toString('latin1'))).toEqual(
          expected.map(each => each.toString('latin1')),
        );
      }),
      run,
    );
  });

  test('edits in one draft agree with a model of the users, and those rolled back leave no trace', () => {
    const attempt = fc.record({ steps: fc.array(step, { maxLength: 4 }), keep: fc.boolean() });
    fc.assert(
      fc.property(file, fc.array(attempt, { maxLength: 6 }), (bytes, attempts) => {
        const users = new Map(
          linesOf(bytes).flatMap(line => (line.name === undefined ? [] : [[line.name, line.hash]])),
        );
        const edited = new Set<string>();
        const answers: unknown[] = [];
        const expected: unknown[] = [];
        const after = edit(bytes, draft => {
          for (const { steps, keep } of attempts) {
            const before = new Map(users);
            draft.begin();
            for (const { name, hash } of steps) {
              if (hash !== undefined) draft.set(name, hash);
              else answers.push(draft.delete(name));
              if (hash !== undefined) users.set(latin1(name), hash);
              else expected.push(users.delete(latin1(name)));
              if (keep) edited.add(name);
            }
            for (const user of NAMES) {
              answers.push(draft.has(user), draft.get(user));
              expected.push(users.has(latin1(user)), users.get(latin1(user)));
            }
            if (keep) continue;
            draft.rollBack();
            users.clear();
            for (const [user, secret] of before) users.set(user, secret);
          }
          const keys = [...draft.keys()];
          expect(keys.length).toBe(new Set(keys).size);
          const sendable = [...users.keys()].filter(
            user => user !== '' && latin1(Buffer.from(user, 'latin1').toString()) === user,
          );
          expect(keys.map(latin1).sort()).toEqual(sendable.sort());
        });
        expect(answers).toEqual(expected);
        const found = linesOf(after).filter(line => line.name !== undefined);
        expect(new Map(found.map(line => [line.name, line.hash]))).toEqual(users);
        for (const user of edited)
          expect(found.filter(line => line.name === latin1(user)).length).toBeLessThan(2);
        expectKept(untouched(bytes, [...edited]), untouched(after, [...edited]));
      }),
      run,
    );
  });

  test('an index finds the same lines however the bytes arrive', () => {
    fc.assert(
      fc.property(file, fc.array(fc.nat(300)), fc.subarray(NAMES), (bytes, cuts, wanted) => {
        // What has not arrived yet is something else.
        const buffer = Buffer.alloc(bytes.length, 'x:\n');
        const arriving = new NameIndex(buffer, new Set(wanted));
        for (const cut of [...cuts.sort((a, b) => a - b), bytes.length]) {
          if (cut === 0 || cut > bytes.length) continue;
          bytes.copy(buffer, 0, 0, cut);
          scanTo(arriving, cut);
        }
        for (const user of wanted) {
          let start = 0;
          const starts = linesOf(bytes).flatMap(line => {
            const at = start;
            start += line.text.length + line.ending.length;
            return line.name === latin1(user) ? [at] : [];
          });
          expect([...arriving.lines(user)]).toEqual(starts.toReversed());
        }
      }),
      run,
    );
  });
});

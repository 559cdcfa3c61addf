/** docs/broker-rules.md lists each finding, with what each release does. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type FindingKind, finding, verdictOf } from '../../src/check/findings.js';
import type { FindingCode } from '../../src/errors.js';

/** All kinds of findings: the type makes the compiler refuse an incomplete list. */
const KINDS: Record<FindingKind, true> = {
  MISSING_HASH: true,
  PLAIN_TEXT: true,
  COLON_IN_NAME: true,
  'UNSUPPORTED_HASH.argon2id': true,
  'UNSUPPORTED_HASH.type': true,
  'MALFORMED_HASH.fields': true,
  'MALFORMED_HASH.iterations': true,
  'MALFORMED_HASH.salt': true,
  'MALFORMED_HASH.key': true,
  LONG_HASH: true,
  LONG_SALT: true,
  'LONG_SALT.refused': true,
  ONLY_2_0_HASH: true,
  ODD_HASH: true,
  WEAK_HASH: true,
  SLOW_HASH: true,
  EMPTY_NAME: true,
  DUPLICATE_NAME: true,
  LONG_NAME: true,
  UNSENDABLE_NAME: true,
  PATTERN_ACL_NAME: true,
  HASH_SIGN_NAME: true,
  NUL_BYTE: true,
  'NUL_BYTE.long': true,
  LOST_LAST_LINE: true,
  COMMENTED_OUT: true,
  NO_COLON: true,
  EXTRA_COLON: true,
  FURTHER_FIELD: true,
  BLANKS: true,
  CR_LF: true,
  BYTE_ORDER_MARK: true,
  NO_FINAL_NEWLINE: true,
};

/** The codes that are about the file as a whole. */
const OF_THE_FILE = [
  'MORE_FINDINGS',
  'MISSING_FILE',
  'NOT_A_FILE',
  'SYMBOLIC_LINK',
  'NOT_READABLE',
  'WORLD_ACCESSIBLE',
  'FOREIGN_OWNER',
  'FOREIGN_GROUP',
] as const satisfies FindingCode[];

const text = readFileSync(new URL('../../docs/broker-rules.md', import.meta.url), 'utf8');

/** The rows of the tables by their code: a set of words for each release, and the remedy. */
const documented = new Map(
  [...text.matchAll(/^\| `([A-Z0-9_]+)` \| ([^|]*)\| ([^|]*)\| ([^|]+) \| ([^|]+) \|$/gm)].map(
    ([, code = '', on20 = '', on21 = '', , remedy = '']) => [
      code,
      { '2.0': words(on20), '2.1': words(on21), remedy },
    ],
  ),
);

function words(cell: string): string[] {
  return cell.trim().split(', ').filter(Boolean).sort();
}

/** The kinds that are never found for a release. */
const NEVER: Record<'2.0' | '2.1', FindingKind[]> = {
  '2.0': ['LONG_SALT', 'NUL_BYTE.long'],
  '2.1': ['ONLY_2_0_HASH', 'LONG_SALT.refused'],
};

/** The verdicts of the findings of a release, by their code. */
function verdicts(release: '2.0' | '2.1'): Map<FindingCode, string[]> {
  const found = new Map<FindingCode, Set<string>>();
  for (const kind of Object.keys(KINDS) as FindingKind[]) {
    if (NEVER[release].includes(kind)) continue;
    const { code } = finding(kind, release, 1, undefined);
    found.set(code, (found.get(code) ?? new Set()).add(verdictOf(kind, release)));
  }
  return new Map([...found].map(([code, set]) => [code, [...set].sort()]));
}

test('docs/broker-rules.md has each finding of a line with the verdict of each release', () => {
  const [on20, on21] = [verdicts('2.0'), verdicts('2.1')];
  for (const [code, expected] of on20)
    expect([code, documented.get(code)?.['2.0']]).toEqual([code, expected]);
  for (const [code, expected] of on21)
    expect([code, documented.get(code)?.['2.1']]).toEqual([code, expected]);
});

test('docs/broker-rules.md has all codes and no others, each with a remedy', () => {
  const codes = [...verdicts('2.0').keys(), ...verdicts('2.1').keys(), ...OF_THE_FILE];
  expect([...documented.keys()].sort()).toEqual([...new Set(codes)].sort());
  for (const { remedy } of documented.values()) expect(remedy.length).toBeGreaterThan(2);
});

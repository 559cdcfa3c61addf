import type { LineReader } from '../document/line.js';
import type { Finding, FindingCode } from '../errors.js';
import { type BrokerRelease, looksLikeHash } from './stored-hash.js';

/** A finding as a broker of one release is concerned. */
interface Verdict {
  code: FindingCode;
  severity: Severity;
  message: string;
  /** The broker does not load a file with it. */
  isRefused: boolean;
}

type Severity = Finding['severity'];
type Kind = Record<BrokerRelease, Verdict>;

/**
 * Mosquitto 2.1 refuses the file, while 2.0 goes on without the user, or does what `on20` says.
 *
 * @__NO_SIDE_EFFECTS__
 */
function refused(code: FindingCode, problem: string, remedy: string, on20?: string): Kind {
  return {
    '2.0': {
      code,
      severity: on20 === undefined ? 'error' : 'warning',
      message: `${problem} Mosquitto 2.0 ${on20 ?? 'drops this user'}, 2.1 refuses the whole file. ${remedy}`,
      isRefused: false,
    },
    '2.1': {
      code,
      severity: 'error',
      message:
        `${problem} Mosquitto 2.1 refuses the whole file over that: it does not start, and a running one exits on ` +
        `reload. ${remedy}`,
      isRefused: true,
    },
  };
}

/** @__NO_SIDE_EFFECTS__ */
function error(code: FindingCode, problem: string, remedy: string, on21: Severity = 'error'): Kind {
  const verdict = { code, message: `${problem} ${remedy}`, isRefused: false };
  return { '2.0': { ...verdict, severity: 'error' }, '2.1': { ...verdict, severity: on21 } };
}

/** @__NO_SIDE_EFFECTS__ */
function warning(code: FindingCode, problem: string, remedy: string): Kind {
  const verdict: Verdict = { code, severity: 'warning', message: `${problem} ${remedy}`, isRefused: false };
  return { '2.0': verdict, '2.1': verdict };
}

const NEW_PASSWORD = 'Set a new password for this user.';

const KINDS = {
  missing: refused(
    'MISSING_HASH',
    'No hash follows the user name.',
    'Set a password for this user, or remove the line.',
  ),
  plain: refused(
    'PLAIN_TEXT',
    'What follows the user name is not a hash; it looks like a password in plain text.',
    'Hash it with upgrade(), or set a new password.',
  ),
  'colon-in-name': refused(
    'COLON_IN_NAME',
    "The user name seems to contain a ':', but the broker ends the name there, and takes what follows for the hash.",
    "Set the user again under a name without ':'; good separators are '/', '.', '-' and '_'.",
  ),
  argon2id: refused(
    'UNSUPPORTED_HASH',
    'The hash is argon2id, which only brokers built with argon2 can read; stock builds are not.',
    'Set a new password for this user, hashed with PBKDF2.',
  ),
  type: refused(
    'UNSUPPORTED_HASH',
    'The hash does not start with $7$ or $6$, the only types that the broker reads.',
    NEW_PASSWORD,
  ),
  fields: refused('MALFORMED_HASH', 'The hash is cut short: fields are missing.', NEW_PASSWORD),
  iterations: refused(
    'MALFORMED_HASH',
    'The number of iterations in the hash is not a positive number.',
    NEW_PASSWORD,
  ),
  salt: refused('MALFORMED_HASH', 'The salt in the hash is not base64 of 12 or 64 bytes.', NEW_PASSWORD),
  key: refused('MALFORMED_HASH', 'The key in the hash is not base64 of 64 bytes.', NEW_PASSWORD),
  'salt-64': refused(
    'LONG_SALT',
    'The hash has a salt of 64 bytes, as Mosquitto 2.1 writes it; 2.0 reads only 12.',
    'Set a new password for this user, with a salt of 12 bytes, which every release reads.',
  ),
  long: refused('LONG_HASH', 'The hash is longer than 65535 bytes.', NEW_PASSWORD),

  'only-2.0': warning(
    'ONLY_2_0_HASH',
    'The hash does not start with $7$ or $6$. Mosquitto 2.0 still reads it, 2.1 refuses the whole file.',
    NEW_PASSWORD,
  ),
  'only-2.1': warning(
    'LONG_SALT',
    'From this line on there are hashes with a salt of 64 bytes, as Mosquitto 2.1 writes them; 2.0 would drop their users.',
    'Before going back to 2.0, set new passwords for them, with a salt of 12 bytes.',
  ),
  odd: warning(
    'ODD_HASH',
    "The hash is not in the form that mosquitto_passwd writes. The broker reads it: it takes several '$' for one, ignores " +
      'what follows the key, and ignores stray bits at the end of base64.',
    NEW_PASSWORD,
  ),
  'odd-iterations': warning(
    'ODD_HASH',
    'The number of iterations in the hash is not a plain number. The broker uses the digits that it begins with, cut to ' +
      '32 bits.',
    NEW_PASSWORD,
  ),
  weak: warning(
    'WEAK_HASH',
    'The hash is $6$, the format of Mosquitto 1.x: one SHA-512, which is fast to guess.',
    NEW_PASSWORD,
  ),
  slow: error(
    'SLOW_HASH',
    'The hash has over a million iterations. The broker serves nobody else while it computes them, for a second or more ' +
      'at each login and reload.',
    'Set a new password for this user, with fewer iterations.',
  ),

  EMPTY_NAME: refused(
    'EMPTY_NAME',
    "There is no user name before the ':'.",
    'Remove the line.',
    'ignores the line',
  ),
  COLONS_AT_END: warning(
    'EMPTY_NAME',
    "There is nothing but ':' in this line. The broker skips it, but only as long as no line feed follows.",
    'Remove it.',
  ),
  DUPLICATE_NAME: refused(
    'DUPLICATE_NAME',
    'An earlier line has the same user name.',
    'Set a new password for this user, which leaves one line, or remove all lines but one.',
    'uses the last of the lines (among many users, it may be another one)',
  ),
  LONG_NAME: refused('LONG_NAME', 'The user name is longer than 65535 bytes.', 'Use a shorter one.'),
  UNSENDABLE_NAME: error(
    'UNSENDABLE_NAME',
    'The user name contains a control character or a Unicode noncharacter, or is not UTF-8. The broker drops the ' +
      'connection of a client with such a name.',
    'Use another name.',
  ),
  PATTERN_ACL_NAME: warning(
    'PATTERN_ACL_NAME',
    "The user name contains a '+' or '#', and every pattern ACL denies such a client.",
    'Use another name.',
  ),
  HASH_SIGN_NAME: warning(
    'HASH_SIGN_NAME',
    "The user name starts with '#'. It works only because something precedes the '#' in this line; most programs take " +
      'it for a comment.',
    'Use another name.',
  ),

  NUL_BYTE: error(
    'NUL_BYTE',
    'There is a NUL byte in this line. Mosquitto 2.1 drops the line; 2.0 loses it and all that follow.',
    'Remove the NUL byte.',
  ),
  NUL_IN_LONG_LINE: refused(
    'NUL_BYTE',
    'There is a NUL byte in this line, which is so long that Mosquitto 2.1 may take a part of it for a line. Then',
    'Remove the NUL byte.',
  ),
  NUL_IN_COMMENT: error(
    'NUL_BYTE',
    'There is a NUL byte in this comment, and Mosquitto 2.0 loses all lines that follow.',
    'Remove the NUL byte.',
    'warning',
  ),
  LOST_LAST_LINE: error(
    'LOST_LAST_LINE',
    'The broker may lose this line: it has no line feed at its end, and just as many bytes as the buffer of the broker ' +
      'can hold.',
    'End the file with a line feed.',
  ),
  COMMENTED_OUT: warning(
    'COMMENTED_OUT',
    "The broker takes this line for a comment, as it starts with '#'; but it looks like a user.",
    "To let the user in, remove the '#'; a name cannot start with it.",
  ),
  NO_COLON: warning(
    'NO_COLON',
    "There is no ':' in this line, so the broker skips it.",
    "Remove it, begin it with '#', or join what belongs to one line.",
  ),
  EXTRA_COLON: warning(
    'EXTRA_COLON',
    "There is more than one ':' between name and hash, or one before the name. The broker skips them.",
    'Remove them.',
  ),
  FURTHER_FIELD: warning(
    'FURTHER_FIELD',
    "There is a ':' after the hash. The broker ignores it and all that follows.",
    'Remove it.',
  ),
  BLANKS: warning(
    'BLANKS',
    'There are blanks around the user name or the hash. The broker trims them.',
    'Remove them.',
  ),
  CR_LF: warning(
    'CR_LF',
    'Lines end with CR LF, here for the first time. The broker trims the CR; other programs may not.',
    'Use LF alone.',
  ),
  BYTE_ORDER_MARK: warning(
    'BYTE_ORDER_MARK',
    'The line begins with a byte order mark (U+FEFF). The broker takes it for a part of the user name.',
    'Save the file without it.',
  ),
  NO_FINAL_NEWLINE: warning(
    'NO_FINAL_NEWLINE',
    'The file does not end with a line feed, so that a program which appends a line would spoil this one.',
    'Add a line feed.',
  ),
};

/** What can be found: the ways in which a hash is unreadable, and whatever else is wrong or odd in a line. */
export type FindingKind = keyof typeof KINDS;

/** Whether a broker of this release refuses the whole file over such a finding. */
export function isRefused(kind: FindingKind, release: BrokerRelease): boolean {
  return KINDS[kind][release].isRefused;
}

/** A finding in words. */
export function finding(
  kind: FindingKind,
  release: BrokerRelease,
  line: number,
  username: string | undefined,
): Finding {
  const { code, severity, message } = KINDS[kind][release];
  return username === undefined
    ? { line, severity, code, message }
    : { line, severity, code, message, username };
}

/** More findings are only counted: a list of millions would stall the program that asked for it. */
const MOST_FINDINGS = 100_000;

/** The findings of one file, in the order of its lines. */
export class FindingList {
  readonly #release: BrokerRelease;
  readonly #listed: Finding[] = [];
  /** How many are only counted, and the line of the first. */
  readonly #more = { line: 0, error: 0, warning: 0 };

  constructor(release: BrokerRelease) {
    this.#release = release;
  }

  add(kind: FindingKind, line: number, username: string | undefined): void {
    if (this.#listed.length < MOST_FINDINGS) {
      this.#listed.push(finding(kind, this.#release, line, username));
      return;
    }
    this.#more.line ||= line;
    this.#more[KINDS[kind][this.#release].severity]++;
  }

  /** The findings, and a last one that counts those that are not listed. */
  all(): Finding[] {
    const { line, error, warning } = this.#more;
    if (line === 0) return this.#listed;
    const message =
      `There are more findings from this line on, which are not listed: ${error} errors and ${warning} warnings. ` +
      'Mend what is listed, then check the file again.';
    return [
      ...this.#listed,
      { line, severity: error > 0 ? 'error' : 'warning', code: 'MORE_FINDINGS', message },
    ];
  }
}

/** The name of a line for a finding; `undefined` where it may be a hash or a password. */
export function shownName(line: LineReader): string | undefined {
  const name = line.name();
  if (name === undefined || name === '' || line.rest() === undefined) return undefined;
  return looksLikeHash(name) || /(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{60}/.test(name) ? undefined : name;
}

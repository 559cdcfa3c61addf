import type { LineReader } from '../document/line.js';
import type { Finding, FindingCode } from '../errors.js';
import { type BrokerRelease, looksLikeHash } from './stored-hash.js';

/**
 * The text of each finding: what is wrong, and what to do. A kind is a code, or `CODE.detail`. Over the findings here,
 * Mosquitto 2.1 refuses the file, and 2.0 drops the user or does what {@link ON_2_0} says.
 */
const REFUSED = {
  MISSING_HASH: 'No hash follows the user name. Set a password for this user, or remove the line.',
  PLAIN_TEXT:
    'The hash looks like a password in plain text. Hash it with upgrade() (on the command line -U), or set a new password.',
  COLON_IN_NAME:
    "The user name seems to contain a ':', but the broker ends it there. Set the user again, with '/' or '.'.",
  'UNSUPPORTED_HASH.argon2id':
    'The hash is argon2id, which stock brokers cannot read. Set a new password for this user.',
  'UNSUPPORTED_HASH.type': 'The hash does not start with $7$ or $6$. Set a new password for this user.',
  'MALFORMED_HASH.fields': 'The hash is cut short: fields are missing. Set a new password for this user.',
  'MALFORMED_HASH.iterations':
    'The number of iterations in the hash is not a positive number. Set a new password for this user.',
  'MALFORMED_HASH.salt':
    'The salt in the hash is not base64 of 12 or 64 bytes. Set a new password for this user.',
  'MALFORMED_HASH.key': 'The key in the hash is not base64 of 64 bytes. Set a new password for this user.',
  LONG_HASH: 'The hash is longer than 65535 bytes. Set a new password for this user.',
  LONG_NAME: 'The user name is longer than 65535 bytes. Use a shorter one.',
  EMPTY_NAME: "There is no user name before the ':'. Remove the line.",
  DUPLICATE_NAME:
    'An earlier line has the same user name. Set a new password for this user, which leaves one line.',
  'NUL_BYTE.long':
    'Mosquitto 2.1 may take a part of this line, which has a NUL byte, for a line. Remove the NUL byte.',
};

/** What Mosquitto 2.0 does where it does not drop the user. */
const ON_2_0: { [kind: string]: string } = {
  EMPTY_NAME: 'ignores the line',
  DUPLICATE_NAME: 'uses one of the lines (in small files the last)',
  'NUL_BYTE.long': 'loses all lines that follow',
};

const ERRORS = {
  'LONG_SALT.refused':
    'The salt in the hash has 64 bytes. Mosquitto 2.0 reads only 12, and drops this user. Set a new password.',
  SLOW_HASH:
    'The hash has over a million iterations: the broker is blocked for a second or more at each login and ' +
    'reload. Set a new password for this user, with fewer iterations.',
  UNSENDABLE_NAME:
    'The user name has a control character, a Unicode noncharacter or bytes that are not UTF-8. The broker ' +
    'drops the connection of such a client. Use another name.',
  NUL_BYTE:
    'There is a NUL byte in this line. Mosquitto 2.1 drops the line, 2.0 all that follow too. Remove the NUL.',
  LOST_LAST_LINE:
    'The broker may lose this line: it has no line feed, and may just fill the buffer. Add a line feed.',
};

const WARNINGS = {
  ONLY_2_0_HASH:
    'The hash does not start with $7$ or $6$. Mosquitto 2.0 reads it, 2.1 refuses the file. Set a new password.',
  LONG_SALT:
    'From this line on there are salts of 64 bytes, as Mosquitto 2.1 writes them; 2.0 would drop their users. ' +
    'Before going back to 2.0, set new passwords for them, with a salt of 12 bytes.',
  ODD_HASH:
    'The broker reads the hash, but mosquitto_passwd does not write it like that. Set a new password for this user.',
  WEAK_HASH:
    'The hash is $6$, the format of Mosquitto 1.x: one fast SHA-512. Set a new password for this user.',
  PATTERN_ACL_NAME:
    "The user name contains a '+' or '#', and every pattern ACL denies such a client. Use another name.",
  HASH_SIGN_NAME:
    "The user name starts with '#'. It is no comment only because something precedes the '#'. Use another name.",
  COMMENTED_OUT:
    "This line looks like a user, but is a comment to the broker. To let the user in, remove the '#'.",
  NO_COLON: "There is no ':' in this line, so the broker skips it. Remove it, or begin it with '#'.",
  EXTRA_COLON:
    "There are several ':' before the hash, or one before the name. The broker skips them. Remove them.",
  FURTHER_FIELD: "There is a ':' after the hash. The broker ignores it and all that follows. Remove it.",
  BLANKS: 'There are blanks around the user name or the hash. The broker trims them. Remove them.',
  CR_LF:
    'Lines end with CR LF, here for the first time. The broker trims the CR, others may not. Use LF alone.',
  BYTE_ORDER_MARK:
    'The line begins with U+FEFF, which becomes a part of the user name. Save the file without it.',
  NO_FINAL_NEWLINE:
    'No line feed ends the file: a program that appends a line would spoil this one. Add a line feed.',
};

/** What can be found in a line. */
export type FindingKind = keyof typeof REFUSED | keyof typeof ERRORS | keyof typeof WARNINGS;

/** What a finding means for a release: `'refused'` is an error over which the broker does not load the file. */
export function verdictOf(kind: FindingKind, release: BrokerRelease): 'refused' | Finding['severity'] {
  if (kind in REFUSED) return release === '2.1' ? 'refused' : kind in ON_2_0 ? 'warning' : 'error';
  return kind in ERRORS ? 'error' : 'warning';
}

/** What brokers do: the last sentence of each finding over which 2.1 refuses the file. */
function effect(kind: FindingKind): string {
  const on20 = ON_2_0[kind] ?? 'drops this user';
  return ` Mosquitto 2.0 ${on20}, 2.1 refuses the whole file: it does not start, and a running one exits on reload.`;
}

/** A finding in words. */
export function finding(
  kind: FindingKind,
  release: BrokerRelease,
  line: number,
  username: string | undefined,
): Finding {
  const verdict = verdictOf(kind, release);
  const texts: { [kind: string]: string } = kind in REFUSED ? REFUSED : kind in ERRORS ? ERRORS : WARNINGS;
  return {
    line,
    severity: verdict === 'refused' ? 'error' : verdict,
    code: kind.split('.', 1)[0] as FindingCode,
    message: `${texts[kind]}${texts === REFUSED ? effect(kind) : ''}`,
    ...(username === undefined ? {} : { username }),
  };
}

/** Further findings are only counted: a list of millions would stall the program that asked for it. */
const MOST_FINDINGS = 100_000;

/** The findings of one file, in the order of its lines. */
export class FindingList {
  /** Whether the broker refuses the file over one of them. */
  isRefused = false;
  readonly #listed: Finding[] = [];
  /** How many are only counted, and the line of the first. */
  readonly #more = { line: 0, error: 0, warning: 0 };

  constructor(readonly release: BrokerRelease) {}

  add(kind: FindingKind, line: number, username: string | undefined): void {
    const verdict = verdictOf(kind, this.release);
    if (verdict === 'refused') this.isRefused = true;
    if (this.#listed.length < MOST_FINDINGS) {
      this.#listed.push(finding(kind, this.release, line, username));
      return;
    }
    this.#more.line ||= line;
    this.#more[verdict === 'warning' ? 'warning' : 'error']++;
  }

  /** The findings, and a last one that counts those that are not listed. */
  all(): Finding[] {
    const { line, error, warning } = this.#more;
    if (line === 0) return this.#listed;
    const message =
      `There are more findings from this line on, which are not listed: ${error} errors and ${warning} warnings. ` +
      'Fix what is listed, then check the file again.';
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

import { canBeSent, isBytes, MAX_BYTES } from '../credentials/rules.js';
import {
  canonicalLineEnd,
  type LineFields,
  LineReader,
  MAX_FILE_BYTES,
  skipBlanks,
} from '../document/line.js';
import { NameIndex } from '../document/name-index.js';
import { type Finding, invalidArgument } from '../errors.js';
import { DEFAULT_MAX_ITERATIONS, tryParseHash } from '../hash/encoding.js';
import { DOLLAR, HASH_SIGN, LF } from '../util/ascii.js';
import { List } from '../util/list.js';
import { invalidOption, oneOf, readOptions } from '../util/read-options.js';
import { type FindingKind, FindingList, shownName } from './findings.js';
import {
  type BrokerRelease,
  type HashFault,
  type LoadedHash,
  mayBeRead,
  readBrokerHash,
} from './stored-hash.js';
import { fateOf, type LineFate } from './users.js';

/** The position of the `$` before a salt of 12 bytes, from the end of a canonical hash. */
const SHORT_SALT_AT = -106;

/**
 * What a broker will make of a password file.
 *
 * @example
 * const { loads, users, findings }: CheckReport = await new PasswordFile('passwd').check();
 */
export interface CheckReport {
  /** The broker starts with this file, and keeps running on reload. */
  loads: boolean;
  /** The names that can log in, each once, in the order of their first lines. Empty where the broker does not load the file. */
  users: string[];
  /** What is wrong or odd, in the order of the lines; after 100,000, a last one (`MORE_FINDINGS`) counts the others. */
  findings: Finding[];
}

/**
 * Reports what a broker of a release line will make of a password file: whether it loads, who can log in, and what is
 * wrong or odd. Owners, modes and links are for `PasswordFile.check`; ACLs are not looked at.
 *
 * The rules are those of Mosquitto 2.0.11 and 2.0.21 (src/security_default.c, lib/misc_mosq.c) and 2.1.2
 * (plugins/password-file/password_parse.c, libcommon/password_common.c, libcommon/file_common.c) as Debian builds them.
 * Where builds differ, or a line depends on a detail of the broker that is not simulated, it reports the worse outcome:
 * it may call a file refused that one broker loads, never the other way round.
 *
 * @param bytes the whole file
 * @param options `broker`: the release line
 * @returns the report; no finding in it ever contains a hash or a password
 * @throws PasswordFileError `ERR_INVALID_ARGUMENT` (also for 2 GiB or more)
 * @example
 * ```ts
 * import { checkPasswordFile } from 'mosquitto-passwd-ts';
 *
 * const report = checkPasswordFile(Buffer.from('alice:secret\n'), { broker: '2.1' });
 * console.log(report.loads, report.users); // false []
 * for (const { line, severity, code, message } of report.findings) console.log(line, severity, code, message);
 * ```
 */
export function checkPasswordFile(bytes: Uint8Array, options: { broker: BrokerRelease }): CheckReport {
  const work = checkLines(bytes, options);
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

/** {@link checkPasswordFile} as a generator that yields now and then, so that a caller can yield to the event loop. */
export function* checkLines(
  bytes: Uint8Array,
  options: { broker: BrokerRelease },
): Generator<void, CheckReport> {
  const { broker } = readOptions<{ broker: BrokerRelease }>(options, { broker: oneOf('2.0', '2.1') });
  if (broker === undefined) throw invalidOption('broker', 'given');
  if (!isBytes(bytes)) throw invalidOption('The content of the file', 'a Uint8Array');
  if (bytes.length > MAX_FILE_BYTES) {
    const problem = `The file has ${bytes.length} bytes, and only files of up to ${MAX_FILE_BYTES} bytes are checked.`;
    throw invalidArgument(`${problem} Spread its users over the files of several brokers.`);
  }
  // Detached bytes are empty, and have no buffer to view.
  const view =
    bytes.length === 0 ? Buffer.alloc(0) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const line = new LineReader(view);
  const check = new Check(line, broker);
  for (let start = 0; start < bytes.length; ) {
    start = check.readLine(start);
    if (line.isEndOfStep()) yield;
  }
  return yield* check.report();
}

class Check {
  readonly #release: BrokerRelease;
  readonly #line: LineReader;
  readonly #names: NameIndex;
  /** The names that can log in, by their numbers. */
  readonly #users = new List<string>();
  readonly #findings: FindingList;
  #number = 0;
  #hasLongSalt = false;
  #hasCrLf = false;

  constructor(line: LineReader, release: BrokerRelease) {
    this.#release = release;
    this.#findings = new FindingList(release);
    this.#line = line;
    this.#names = new NameIndex(line.bytes);
  }

  *report(): Generator<void, CheckReport> {
    const { bytes } = this.#line;
    if (bytes.length > 0 && bytes.at(-1) !== LF) this.#add('NO_FINAL_NEWLINE');
    const loads = !this.#findings.isRefused;
    return { loads, users: loads ? yield* this.#users.values() : [], findings: this.#findings.all() };
  }

  #add(kind: FindingKind, username?: string): void {
    this.#findings.add(kind, this.#number, username);
  }

  /** Checks the line that starts at `start`. Returns where the next one starts. */
  readLine(start: number): number {
    this.#number++;
    this.#line.read(start);
    this.#checkLine(fateOf(this.#line, this.#release, this.#names.firstNul));
    return this.#line.next;
  }

  #checkLine(fate: LineFate): void {
    const line = this.#line;
    const { bytes, start, end, nameStart, nameEnd } = line;
    const { firstNul } = this.#names;
    // Whether its name can log in is uncertain then. No later line adds the name again: 2.0 is sure to read none, and 2.1
    // refuses a file with a duplicate name. A new name has the number 0, which no user has.
    if (fate === 'unsure' && nameStart >= 0) this.#users.set(this.#names.numberOf(line), undefined);
    if (this.#release === '2.0' && firstNul >= 0 && start > firstNul) return;
    if (bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf)
      this.#add('BYTE_ORDER_MARK');
    if (firstNul >= 0 && line.contentEnd < end) {
      this.#add(this.#release === '2.1' && fate === 'unsure' ? 'NUL_BYTE.long' : 'NUL_BYTE');
      if (fate !== 'read') return;
    } else if (fate === 'unsure' && nameStart >= 0) this.#add('LOST_LAST_LINE', shownName(line));
    if (!this.#hasCrLf && line.ending === '\r\n') {
      this.#hasCrLf = true;
      this.#add('CR_LF');
    }
    if (nameStart < 0) this.#checkOther();
    else if (nameStart === nameEnd) this.#add('EMPTY_NAME');
    else if (nameEnd - nameStart > MAX_BYTES) this.#add('LONG_NAME');
    else this.#checkEntry(fate);
  }

  /** Checks a comment, a blank line, or a line that the broker skips because it has no `:`. */
  #checkOther(): void {
    const { bytes, start, end } = this.#line;
    if (bytes[start] === HASH_SIGN) {
      if (/^#[^:]*:\s*\$[67]\$/.test(textAt(bytes, start, end))) this.#add('COMMENTED_OUT');
      return;
    }
    if (skipBlanks(bytes, start, end) < end) this.#add('NO_COLON');
  }

  #checkEntry(fate: LineFate): void {
    const line = this.#line;
    const isNew = this.#names.add(line);
    if (!isNew) this.#add('DUPLICATE_NAME', shownName(line));
    const name = line.name();
    const isLogin = this.#isCanonical(name) || this.#checkFields(name);
    if (name === undefined || !isLogin || fate !== 'read') return;
    this.#users.set(isNew ? this.#names.count : this.#names.numberOf(line), name);
  }

  /** Whether {@link #checkFields}, which is slower, need not run, as for usual lines. Whatever that may report, this excludes. */
  #isCanonical(name = ''): boolean {
    const { bytes, start, end } = this.#line;
    if (canonicalLineEnd(bytes, start, DEFAULT_MAX_ITERATIONS) !== end) return false;
    if (name.includes('+') || name.includes('#')) return false;
    return this.#hasLongSalt || bytes[end + SHORT_SALT_AT] === DOLLAR;
  }

  /** Reports the findings of name and hash. Returns whether a client can log in by them. */
  #checkFields(name: string | undefined): boolean {
    const fields = this.#line.fields();
    const shown = shownName(this.#line);
    this.#checkSeparators(fields, shown);
    const isSendable = this.#checkName(name, shown);
    return this.#checkHash(fields, shown) && isSendable;
  }

  #checkSeparators({ hashStart, hashEnd, colons, hasFurtherField }: LineFields, shown?: string): void {
    const { bytes, contentEnd, nameStart, nameEnd, start } = this.#line;
    const around = [textAt(bytes, start, nameStart), textAt(bytes, nameEnd, hashStart)];
    if (!hasFurtherField) around.push(textAt(bytes, hashEnd, contentEnd).replace(/\r$/, ''));
    if (hashEnd > hashStart && /[\t-\r ]/.test(around.join(''))) this.#add('BLANKS', shown);
    if (colons > 1) this.#add('EXTRA_COLON', shown);
    if (hasFurtherField) this.#add('FURTHER_FIELD', shown);
  }

  /** Reports the findings of a name. Returns whether a client can send it. */
  #checkName(name: string | undefined, shown: string | undefined): boolean {
    const isSendable = name !== undefined && canBeSent(name);
    if (!isSendable) this.#add('UNSENDABLE_NAME', shown);
    else if (name.startsWith('#')) this.#add('HASH_SIGN_NAME', shown);
    else if (/[+#]/.test(name)) this.#add('PATTERN_ACL_NAME', shown);
    return isSendable;
  }

  /** Reports the findings of a hash. Returns whether the broker can read it. */
  #checkHash({ hashEnd }: LineFields, shown: string | undefined): boolean {
    const field = this.#line.hash();
    const { hash, fault } = readBrokerHash(field, this.#release);
    if (hash !== undefined) this.#checkReadable(field, hash, shown);
    else this.#add(this.#isColonInName(fault, hashEnd) ? 'COLON_IN_NAME' : fault, shown);
    // The broker may use this line, and not an earlier one of the name.
    if (fault !== undefined && mayBeRead(fault)) this.#users.set(this.#names.numberOf(this.#line), undefined);
    return hash !== undefined;
  }

  /** Whether the name seems to contain a `:`, as in `service:alice:$7$...`. */
  #isColonInName(fault: HashFault, hashEnd: number): boolean {
    const { bytes, end } = this.#line;
    return fault === 'PLAIN_TEXT' && /:\s*\$[67]\$/.test(textAt(bytes, hashEnd, end));
  }

  #checkReadable(field: string, hash: LoadedHash, shown: string | undefined): void {
    if (!/^\$[67]\$/.test(field)) this.#add('ONLY_2_0_HASH', shown);
    else if (tryParseHash(field) === undefined) this.#add('ODD_HASH', shown);
    if (hash.algorithm === 'sha512') this.#add('WEAK_HASH', shown);
    else if (hash.iterations > DEFAULT_MAX_ITERATIONS) this.#add('SLOW_HASH', shown);
    if (hash.salt.length === 64 && !this.#hasLongSalt) {
      this.#hasLongSalt = true;
      this.#add('LONG_SALT');
    }
  }
}

/** A part of the file, each byte a character, cut to the length that brokers read. */
function textAt(bytes: Buffer, from: number, to: number): string {
  return bytes.toString('latin1', from, Math.min(to, from + MAX_BYTES));
}

import { canBeSent, MAX_BYTES } from '../credentials/rules.js';
import { type LineFields, type LineReader, MAX_FILE_BYTES } from '../document/line.js';
import { NameIndex } from '../document/name-index.js';
import { type Finding, PasswordFileError } from '../errors.js';
import { isAnything, readOptions } from '../util/read-options.js';
import { BrokerLines } from './broker-lines.js';
import { type FindingKind, finding, isRefused, shownName } from './findings.js';
import { type BrokerRelease, type HashFault, type LoadedHash, readBrokerHash } from './stored-hash.js';
import { isUsualLine, usualSalt } from './usual-line.js';

const CR = 13;
const LF = 10;
const HASH_SIGN = 35;
const COLON = 58;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/** The broker computes about a million iterations a second, and does nothing else meanwhile. */
const SLOW = 1_000_000;

/** What a broker will make of a password file. */
export interface CheckReport {
  /** The broker starts with this file, and runs on when it is told to reload. */
  loads: boolean;
  /** The names that can log in, each once, in the order of the file. Empty where the broker does not load the file. */
  users: string[];
  /** What is wrong or odd, in the order of the lines. */
  findings: Finding[];
}

/**
 * Tells what a broker of a release line will make of a password file: whether it loads, who can log in, and what is
 * wrong or odd. It knows nothing of owners, modes and links (`PasswordFile.check` does), nor of what ACLs say.
 *
 * The rules are those of Mosquitto 2.0.11 and 2.0.21 (src/security_default.c, lib/misc_mosq.c) and 2.1.2
 * (plugins/password-file/password_parse.c, libcommon/password_common.c, libcommon/file_common.c) as Debian builds them.
 * Where 2.0 releases or versions of OpenSSL differ, it goes by the one that is worse off.
 *
 * @param bytes the whole file
 * @param options `broker`: the release line to go by
 * @returns no finding ever holds a hash or a password
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

/** {@link checkPasswordFile}, yielding after each line, so that a caller can let others run. */
export function* checkLines(
  bytes: Uint8Array,
  options: { broker: BrokerRelease },
): Generator<void, CheckReport> {
  const { broker } = readOptions<{ broker: BrokerRelease }>('', options, { broker: isAnything });
  if (!(bytes instanceof Uint8Array))
    throw new PasswordFileError('ERR_INVALID_ARGUMENT', 'The content of the file must be a Uint8Array.');
  if (bytes.length > MAX_FILE_BYTES)
    throw new PasswordFileError(
      'ERR_INVALID_ARGUMENT',
      `The file has ${bytes.length} bytes, and only files of up to ${MAX_FILE_BYTES} bytes are checked. ` +
        'Spread its users over the files of several brokers.',
    );
  if (broker !== '2.0' && broker !== '2.1')
    throw new PasswordFileError('ERR_INVALID_ARGUMENT', "The option broker must be '2.0' or '2.1'.");
  const check = new Check(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), broker);
  while (check.next()) yield;
  return check.report();
}

class Check {
  readonly #release: BrokerRelease;
  readonly #lines: BrokerLines;
  readonly #line: LineReader;
  readonly #names: NameIndex;
  readonly #users: string[] = [];
  /** Names whose lines so far let nobody in; a further line of theirs may. */
  readonly #lockedOut = new Set<string>();
  /** Names of which builds with different versions of OpenSSL may go by different lines. */
  readonly #uncertain = new Set<string | undefined>();
  readonly #findings: Finding[] = [];
  #usualSalts: readonly number[] = [12];
  #hasCrLf = false;
  #loads = true;

  constructor(bytes: Buffer, release: BrokerRelease) {
    this.#release = release;
    this.#lines = new BrokerLines(bytes, release);
    this.#line = this.#lines.line;
    this.#names = new NameIndex(bytes);
  }

  /** Checks one line; `false`: there is none left. */
  next(): boolean {
    const lines = this.#lines;
    const line = this.#line;
    if (!lines.advance()) return false;
    const { bytes, end } = line;
    const usualEnd = this.#hasCrLf && bytes[end - 1] === CR ? end - 1 : end;
    const isUsual = lines.fate === 'read' && isUsualLine(line, usualEnd, this.#usualSalts);
    if (isUsual && this.#names.add(line))
      this.#users.push(bytes.toString('latin1', line.nameStart, line.nameEnd));
    else this.#checkLine(isUsual);
    return true;
  }

  report(): CheckReport {
    const { bytes } = this.#line;
    if (bytes.length > 0 && bytes.at(-1) !== LF && this.#lines.fate === 'read')
      this.#tell('NO_FINAL_NEWLINE');
    const uncertain = this.#uncertain;
    const users = uncertain.size === 0 ? this.#users : this.#users.filter(name => !uncertain.has(name));
    return { loads: this.#loads, users: this.#loads ? users : [], findings: this.#findings };
  }

  #tell(kind: FindingKind, username?: string): void {
    if (isRefused(kind, this.#release)) this.#loads = false;
    this.#findings.push(finding(kind, this.#release, this.#lines.number, username));
  }

  /** @param isDoubled the line is a usual one but for its name, which is known already */
  #checkLine(isDoubled: boolean): void {
    const { contentEnd, fate } = this.#lines;
    const { bytes, start, end, nameStart, nameEnd } = this.#line;
    if (BYTE_ORDER_MARK.every((byte, i) => bytes[start + i] === byte)) this.#tell('BYTE_ORDER_MARK');
    if (contentEnd < end) this.#tell(bytes[start] === HASH_SIGN ? 'NUL_IN_COMMENT' : 'NUL_BYTE');
    if (fate === 'lost' && nameStart >= 0) this.#tell('LOST_LAST_LINE', shownName(this.#line));
    if (fate !== 'read') return;
    if (!this.#hasCrLf && end < bytes.length && end > start && bytes[end - 1] === CR) {
      this.#hasCrLf = true;
      this.#tell('CR_LF');
    }
    if (nameStart < 0) this.#checkOther();
    else if (nameStart === nameEnd) this.#tell(this.#isNothingButColons() ? 'COLONS_AT_END' : 'EMPTY_NAME');
    else if (nameEnd - nameStart > MAX_BYTES) this.#tell('LONG_NAME');
    else this.#checkEntry(isDoubled);
  }

  /** Such a line has no name for `strtok` to find, where not even a line feed stands behind the colons. */
  #isNothingButColons(): boolean {
    const { bytes, nameEnd } = this.#line;
    const { contentEnd } = this.#lines;
    return nameEnd === contentEnd && bytes[contentEnd - 1] === COLON && bytes[contentEnd] !== LF;
  }

  /** A comment, a blank line, or one that the broker skips for want of a `:`. */
  #checkOther(): void {
    const { bytes, start, end } = this.#line;
    const text = bytes.toString('latin1', start, end);
    if (text.startsWith('#')) {
      if (/^#[^:]*:\s*\$[67]\$/.test(text)) this.#tell('COMMENTED_OUT');
    } else if (/[^\t-\r ]/.test(text)) {
      this.#tell('NO_COLON');
    }
  }

  #checkEntry(isDoubled: boolean): void {
    const parts = this.#line.fields();
    const shown = shownName(this.#line);
    const isFirst = !isDoubled && this.#names.add(this.#line);
    if (!isFirst) this.#tell('DOUBLED_NAME', shown);
    this.#checkSeparators(parts, shown);
    const name = this.#line.name();
    const isSendable = this.#checkName(name, shown);
    const isReadable = this.#checkHash(parts, shown);
    if (name === undefined) return;
    if (!isSendable || !isReadable) {
      if (isFirst) this.#lockedOut.add(name);
    } else if (isFirst || this.#lockedOut.delete(name)) {
      this.#users.push(name);
    }
  }

  #checkSeparators(parts: LineFields, shown: string | undefined): void {
    const { bytes, nameStart, nameEnd, start } = this.#line;
    const { hashStart, hashEnd, colons, hasFurtherField } = parts;
    const lineEnd = bytes[this.#line.end - 1] === CR ? this.#line.end - 1 : this.#line.end;
    const blanksBefore = nameStart > start && bytes[nameStart - 1] !== COLON;
    const blanksInside = bytes[nameEnd] !== COLON || bytes[hashStart - 1] !== COLON;
    const blanksBehind = !hasFurtherField && hashEnd < Math.min(lineEnd, this.#lines.contentEnd);
    if (hashEnd > hashStart && (blanksBefore || blanksInside || blanksBehind)) this.#tell('BLANKS', shown);
    if (colons > 1) this.#tell('EXTRA_COLON', shown);
    if (hasFurtherField) this.#tell('FURTHER_FIELD', shown);
  }

  /** Tells what there is to tell of a name; `true`: a client can send it. */
  #checkName(name: string | undefined, shown: string | undefined): boolean {
    const isSendable = name !== undefined && canBeSent(name);
    if (!isSendable) this.#tell('UNSENDABLE_NAME', shown);
    else if (name.startsWith('#')) this.#tell('HASH_SIGN_NAME', shown);
    else if (/[+#]/.test(name)) this.#tell('PATTERN_ACL_NAME', shown);
    return isSendable;
  }

  /** Tells what there is to tell of a hash; `true`: the broker can read it. */
  #checkHash({ hashStart, hashEnd }: LineFields, shown: string | undefined): boolean {
    const { bytes } = this.#line;
    if (usualSalt(bytes, hashStart, hashEnd) === 12) return true;
    if (hashEnd - hashStart > MAX_BYTES) {
      this.#tell('LONG_HASH', shown);
      return false;
    }
    const field = bytes.toString('latin1', hashStart, hashEnd);
    const reading = readBrokerHash(field, this.#release);
    if (reading.hash === undefined) {
      if (reading.fault === 'depends') this.#uncertain.add(this.#line.name());
      this.#tell(this.#isColonInName(reading.fault, hashEnd) ? 'colon-in-name' : reading.fault, shown);
      return false;
    }
    this.#checkReadable(field, reading.hash, reading.canonical, shown);
    return true;
  }

  /** `service:alice:$7$…` */
  #isColonInName(fault: HashFault, hashEnd: number): boolean {
    const { bytes, end } = this.#line;
    return fault === 'plain' && /:\s*\$[67]\$/.test(bytes.toString('latin1', hashEnd, end));
  }

  #checkReadable(field: string, hash: LoadedHash, canonical: boolean, shown: string | undefined): void {
    if (!/^\$[67]\$/.test(field)) this.#tell('only-2.0', shown);
    else if (!canonical) {
      const iterations = /^\$7\$+([^$]*)/.exec(field)?.[1];
      const isOdd = hash.algorithm === 'pbkdf2-sha512' && iterations !== String(hash.iterations);
      this.#tell(isOdd ? 'odd-iterations' : 'odd', shown);
    }
    if (hash.algorithm === 'sha512') this.#tell('weak', shown);
    else if (hash.iterations >= SLOW) this.#tell('slow', shown);
    if (hash.salt.length === 64 && this.#usualSalts.length === 1) {
      this.#usualSalts = [12, 64];
      this.#tell('only-2.1');
    }
  }
}

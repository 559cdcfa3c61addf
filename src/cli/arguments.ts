/**
 * Reads the arguments as mosquitto_passwd does (2.1.2, apps/mosquitto_passwd/mosquitto_passwd.c, `main`): options come
 * before the password file, whatever follows it is taken as it is, even where it starts with a hyphen. Node's
 * `parseArgs` looks for options everywhere, and would take some passwords for one.
 */

import { isIPv6 } from 'node:net';
import { CliError } from './output.js';

const HASHING = ['set', 'delete', 'upgrade', 'import', 'provision'] as const;
const WRITING = [...HASHING, 'import-hashes'] as const;
const ALL = [...WRITING, 'verify', 'list', 'export', 'dynsec', 'check'] as const;

/** What to do; `set` is what mosquitto_passwd does without -D and -U. */
export type Mode = (typeof ALL)[number] | 'help' | 'version';

interface Option<F = string> {
  flag: F;
  /** The name of its value in `--help`; without it, it takes none. */
  value?: string;
  selects?: Mode;
  /** The modes in which it may be given. */
  modes: readonly Mode[];
  /** Options of which one must be given too. */
  needs?: readonly F[];
}

/**
 * The options in the order of mosquitto_passwd's usage text, then our own. mosquitto_passwd takes -H and -I with -D too,
 * where they have no effect.
 */
export const OPTIONS = [
  { flag: '-b', modes: ['set', 'upgrade', 'verify'] },
  { flag: '-c', modes: ['set', 'import', 'import-hashes', 'provision'] },
  { flag: '-D', selects: 'delete', modes: ['delete'] },
  { flag: '-H', value: 'HASH', modes: HASHING },
  { flag: '-I', value: 'N', modes: HASHING },
  { flag: '-U', selects: 'upgrade', modes: ['upgrade'] },
  { flag: '--password-stdin', modes: ['set', 'verify'] },
  { flag: '--password-file', value: 'FILE', modes: ['set', 'verify'] },
  { flag: '--generate', modes: ['set'] },
  { flag: '--provision', selects: 'provision', modes: ['provision'] },
  { flag: '--prefix', value: 'P', modes: ['provision'] },
  { flag: '--count', value: 'N', modes: ['provision'] },
  { flag: '--import', value: 'FILE', selects: 'import', modes: ['import'] },
  { flag: '--import-hashes', value: 'FILE', selects: 'import-hashes', modes: ['import-hashes'] },
  { flag: '--remove-others', modes: ['import-hashes'] },
  { flag: '--verify', selects: 'verify', modes: ['verify'] },
  { flag: '--list', selects: 'list', modes: ['list'] },
  { flag: '--export', selects: 'export', modes: ['export'] },
  { flag: '--dynsec', value: 'CONFIG', selects: 'dynsec', modes: ['dynsec'] },
  { flag: '--role', value: 'ROLE', modes: ['dynsec'] },
  { flag: '--check', selects: 'check', modes: ['check'] },
  { flag: '--broker', value: 'RELEASE', modes: ALL },
  { flag: '--json', modes: ['provision', 'list', 'check'] },
  { flag: '--reload', value: 'BROKER', modes: WRITING },
  { flag: '--confirm', value: 'HOST[:PORT]', modes: ['set', 'provision'], needs: ['--reload'] },
  { flag: '--cafile', value: 'FILE', modes: ['set', 'provision'], needs: ['--confirm'] },
  { flag: '--force', modes: ['set', 'dynsec'], needs: ['-c', '--dynsec'] },
  { flag: '--quiet', modes: ALL },
  { flag: '--help', selects: 'help', modes: ALL },
  { flag: '--version', selects: 'version', modes: ALL },
] as const satisfies readonly Option[];

export type Flag = (typeof OPTIONS)[number]['flag'];
/** The options that were given with their values, `''` where they take none. */
export type Given = Map<Flag, string>;

/** What to do, checked as far as the arguments alone allow. */
export interface Command {
  mode: Mode;
  /** The password file; `-` with -c: standard output. */
  path: string;
  usernames: string[];
  /** The password on the command line. */
  password: string | undefined;
  given: Given;
}

const KNOWN: readonly Option<Flag>[] = OPTIONS;
const SOURCES: readonly Flag[] = ['-b', '--password-stdin', '--password-file', '--generate'];

/** @param given the options as they are read, also where an error follows */
export function parseArguments(argv: readonly string[], given: Given = new Map()): Command {
  if (argv.length === 0) throw new CliError('', { showsUsage: true });
  const operands = readOptions(argv, given);
  // Node has replaced the bytes that it could not decode.
  if (argv.some(argument => argument.includes('\ufffd'))) {
    throw new CliError('An argument is not valid UTF-8. Use a shell or terminal that speaks UTF-8.');
  }
  for (const [flag, value] of given) {
    const [wanted, isValid] = VALUES[flag] ?? [];
    if (isValid?.(value) === false) throw new CliError(`${flag} takes ${wanted}.`);
  }
  // The last one in the list, so that --help and --version win over the others.
  const mode = KNOWN.findLast(({ flag, selects }) => selects && given.has(flag))?.selects ?? 'set';
  if (mode !== 'help' && mode !== 'version') {
    assertTogether(mode, given);
    assertOperands(mode, given, operands);
  }
  const [path = '', ...usernames] = operands;
  const password = given.has('-b') ? usernames.pop() : undefined;
  return { mode, path, usernames, password, given };
}

/** Takes the options, and returns what follows them. */
function readOptions(argv: readonly string[], given: Given): string[] {
  const rest = [...argv];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === '--') return rest;
    if (!argument.startsWith('-') || argument === '-') return [argument, ...rest];
    const [, flag = argument, attached] = /^(--[^=]+)=(.*)$/s.exec(argument) ?? [];
    const option = KNOWN.find(known => known.flag === (flag === '-h' ? '--help' : flag));
    if (option === undefined || (attached !== undefined && option.value === undefined)) throw unknown(flag);
    const value = option.value === undefined ? '' : (attached ?? rest.shift());
    if (value === undefined) {
      throw new CliError(`${flag} argument given but not enough other arguments.`);
    }
    given.set(option.flag, value);
  }
  return [];
}

function unknown(flag: string): CliError {
  if (flag === '-n')
    return new CliError('There is no -n. To print the line instead, use -c with - for the file.');
  // What follows a letter may be a password: -psecret.
  const name = flag.startsWith('--') ? flag : flag.slice(0, 2);
  if (name !== flag && KNOWN.some(known => known.flag === name)) {
    const rule = 'write each option, and its value, as an argument of its own';
    return new CliError(`${name} stands alone: ${rule}.`, { showsUsage: true });
  }
  return new CliError(`Unknown option '${name}'.`, { showsUsage: true });
}

/** What the value of an option must be, where not any text will do. */
const VALUES: { [F in Flag]?: [wanted: string, isValid: (value: string) => boolean] } = {
  '-H': ['sha512-pbkdf2 or sha512, which stock brokers read', value => /^sha512(-pbkdf2)?$/.test(value)],
  // The default of `maxIterations`.
  '-I': ['a whole number from 1 to 1000000', value => isWhole(value, 1_000_000)],
  '--broker': ['2.0 or 2.1', value => /^2\.[01]$/.test(value)],
  '--confirm': ['HOST or HOST:PORT with a port from 1 to 65535', isHostAndPort],
  '--count': ['a whole number from 1 to 100000', value => isWhole(value, 100_000)],
  '--role': ['the name of a role', value => value !== ''],
};

function isWhole(value: string, max: number): boolean {
  return /^[0-9]+$/.test(value) && Number(value) >= 1 && Number(value) <= max;
}

/** An IPv6 address is in brackets. */
export const HOST_AND_PORT = /^(?:\[([^\]]*)\]|([^\s:/@[\]]+))(?::(\d{1,5}))?$/;

function isHostAndPort(value: string): boolean {
  const [match, address, , port = '1'] = HOST_AND_PORT.exec(value) ?? [];
  return match !== undefined && (address === undefined || isIPv6(address)) && isWhole(port, 65_535);
}

/** The option that selects a mode. */
function flagOf(mode: Mode): Flag | undefined {
  return KNOWN.find(({ selects }) => selects === mode)?.flag;
}

function assertTogether(mode: Mode, given: Given): void {
  const selecting = flagOf(mode);
  for (const { flag, modes, needs } of KNOWN.filter(option => given.has(option.flag))) {
    const isAllowed = modes.includes(mode);
    if (!isAllowed && selecting !== undefined) throw exclusive(flag, selecting);
    const wanted = isAllowed ? needs : modes.flatMap(each => flagOf(each) ?? []);
    if (wanted?.every(each => !given.has(each))) throw new CliError(`${flag} is for ${wanted.join(', ')}.`);
  }
  const [first, second] = SOURCES.filter(flag => given.has(flag));
  if (first !== undefined && second !== undefined) throw exclusive(first, second);
  if (given.has('--confirm') && Number(given.get('--count') ?? 1) > 1) {
    throw new CliError('--confirm is for one user.');
  }
}

function exclusive(first: Flag, second: Flag): CliError {
  return new CliError(`${first} and ${second} cannot be used together.`);
}

function assertOperands(mode: Mode, given: Given, operands: readonly string[]): void {
  const selecting = flagOf(mode);
  const wanted = ['password file'];
  if (['set', 'delete', 'verify'].includes(mode)) wanted.push('username');
  if (wanted.length > 1 && given.has('-b')) wanted.push('password');
  if (operands.length < wanted.length) {
    const asking = selecting ?? ['-c' as const, ...SOURCES].find(flag => given.has(flag));
    const missing = new Intl.ListFormat('en', { type: 'disjunction' }).format(wanted);
    throw new CliError(
      `${asking === undefined ? 'Password file or username' : `${asking} argument given but ${missing}`} missing.`,
      { showsUsage: mode === 'set' && !given.has('-c') },
    );
  }
  if (operands.length > wanted.length && mode !== 'delete') {
    const hint =
      mode === 'set' && !given.has('-b') ? 'A password on the command line takes -b; options' : 'Options';
    throw new CliError(`Too many arguments. ${hint} go before the password file.`, {
      showsUsage: true,
    });
  }
  // With `-` the line of one user goes to standard output, and no file is written.
  if (operands[0] !== '-' || !given.has('-c')) return;
  const other = selecting ?? (['--reload', '--generate'] as const).find(flag => given.has(flag));
  if (other !== undefined) throw new CliError(`${other} needs a password file, not standard output.`);
}

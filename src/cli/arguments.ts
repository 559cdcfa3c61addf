/**
 * Reads the arguments as mosquitto_passwd does (2.1.2, apps/mosquitto_passwd/mosquitto_passwd.c, `main`): options come
 * before the password file, whatever follows it is taken as it stands, even where it starts with a hyphen. Node's
 * `parseArgs` looks for options everywhere, and would take some passwords for one.
 */

import { CliError } from './output.js';

/** What to do; `set` is what mosquitto_passwd does without -D and -U. */
export type Mode =
  | 'set'
  | 'delete'
  | 'upgrade'
  | 'import'
  | 'import-hashes'
  | 'provision'
  | 'verify'
  | 'list'
  | 'export'
  | 'dynsec'
  | 'check';

interface Option {
  flag: string;
  /** The name of its value in `--help`; without it, it takes none. */
  value?: string;
  /** The mode that it selects. */
  selects?: Mode;
  /** The modes in which it may stand. */
  modes: readonly Mode[];
}

const HASHING: Mode[] = ['set', 'delete', 'upgrade', 'import', 'provision'];
const WRITING: Mode[] = [...HASHING, 'import-hashes'];
const ALL: Mode[] = [...WRITING, 'verify', 'list', 'export', 'dynsec', 'check'];

/**
 * The options in the order of mosquitto_passwd's usage text, then our own. Two that exclude each other are named in this
 * order. mosquitto_passwd takes -H and -I with -D too, where they have no effect.
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
  { flag: '--confirm', value: 'HOST[:PORT]', modes: ['set', 'provision'] },
  { flag: '--cafile', value: 'FILE', modes: ['set', 'provision'] },
  { flag: '--force', modes: ['set', 'dynsec'] },
  { flag: '--quiet', modes: ALL },
  { flag: '--help', modes: ALL },
  { flag: '--version', modes: ALL },
] as const satisfies readonly Option[];

export type Flag = (typeof OPTIONS)[number]['flag'];
type Given = ReadonlyMap<Flag, string>;

/** What to do, checked as far as the arguments alone allow. */
export interface Command {
  mode: Mode | 'help' | 'version';
  /** The password file; `-` with -c: standard output. */
  path: string;
  usernames: string[];
  /** The password on the command line. */
  password: string | undefined;
  /** The options with their values, `''` where they take none. */
  given: Given;
}

const BY_FLAG = new Map<string, Option & { flag: Flag }>(OPTIONS.map(option => [option.flag, option]));
const BY_MODE = new Map<Mode, Flag>(
  OPTIONS.flatMap(option => ('selects' in option ? [[option.selects, option.flag]] : [])),
);
/** Options that have an effect only with one of the others. */
const DEPENDENT: Array<[Flag, ...Flag[]]> = [
  ['--force', '-c', '--dynsec'],
  ['--confirm', '--reload'],
  ['--cafile', '--confirm'],
];
const SOURCES = ['-b', '--password-stdin', '--password-file', '--generate'] as const;

export function parseArguments(argv: readonly string[]): Command {
  if (argv.length === 0) throw new CliError('', { showsUsage: true });
  const { given, operands } = split(argv);
  const mode = modeOf(given);
  if (mode !== 'help' && mode !== 'version') {
    assertTogether(mode, given);
    assertCount(mode, given, operands);
  }
  const [path = '', ...usernames] = operands;
  const password = given.has('-b') ? usernames.pop() : undefined;
  return { mode, path, usernames, password, given };
}

/** Whether it only asks something, so that exit status 1 is an answer. */
export function isQuestion(argv: readonly string[]): boolean {
  for (let i = 0; i < argv.length; i++) {
    const { option, attached } = optionIn(argv[i] as string);
    if (option === undefined) return false;
    if (option.flag === '--verify' || option.flag === '--check') return true;
    if (option.value !== undefined && attached === undefined) i++;
  }
  return false;
}

/** Takes `--option=value` apart. */
function optionIn(argument: string) {
  const [, flag = argument, attached] = /^(--[^=]+)=(.*)$/s.exec(argument) ?? [];
  return { flag, option: BY_FLAG.get(flag === '-h' ? '--help' : flag), attached };
}

function split(argv: readonly string[]): { given: Given; operands: string[] } {
  const given = new Map<Flag, string>();
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] as string;
    if (argument === '--') return { given, operands: argv.slice(i + 1) };
    if (!argument.startsWith('-') || argument === '-') return { given, operands: argv.slice(i) };
    const { flag, option, attached } = optionIn(argument);
    if (option === undefined || (attached !== undefined && option.value === undefined)) throw unknown(flag);
    const value = option.value === undefined ? '' : (attached ?? argv[++i]);
    if (value === undefined) {
      throw new CliError(`Error: ${flag} argument given but not enough other arguments.`);
    }
    const problem = VALUES[option.flag]?.(value);
    if (problem !== undefined) throw new CliError(`Error: ${problem}`);
    given.set(option.flag, value);
  }
  return { given, operands: [] };
}

function unknown(flag: string): CliError {
  if (flag === '-n')
    return new CliError('Error: There is no -n. To print the line instead, use -c with - for the file.');
  // What follows a letter may be a password: -psecret.
  const name = flag.startsWith('--') ? flag : flag.slice(0, 2);
  return new CliError(`Error: Unknown option '${name}'.`, { showsUsage: true });
}

const MAX_COUNT = 100_000;
/** The default of `maxIterations`. */
const MAX_ITERATIONS = 1_000_000;

/** What is wrong with a value. */
const VALUES: { [F in Flag]?: (value: string) => string | undefined } = {
  '-H': value => {
    if (value === 'sha512' || value === 'sha512-pbkdf2') return undefined;
    if (value !== 'argon2id') return `Unknown hash type '${value}'`;
    return 'argon2id hashes are not made, because stock Mosquitto brokers cannot read them. Use -H sha512-pbkdf2.';
  },
  '-I': value => {
    if (!(Number.parseInt(value, 10) >= 1)) return 'Number of iterations must be > 0.';
    if (isWhole(value, MAX_ITERATIONS)) return undefined;
    return `Number of iterations must be a whole number up to ${MAX_ITERATIONS}: a login stops the broker for so long.`;
  },
  '--broker': value =>
    value === '2.0' || value === '2.1' ? undefined : `--broker takes 2.0 or 2.1, not '${value}'.`,
  '--confirm': value =>
    HOST_AND_PORT.test(value) ? undefined : `--confirm takes HOST or HOST:PORT, not '${value}'.`,
  '--count': value =>
    isWhole(value, MAX_COUNT) ? undefined : `--count takes a whole number from 1 to ${MAX_COUNT}.`,
};

/** An IPv6 address is in brackets. */
export const HOST_AND_PORT = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/]+))(?::(\d{1,5}))?$/;

function isWhole(value: string, max: number): boolean {
  return /^[0-9]+$/.test(value) && Number(value) >= 1 && Number(value) <= max;
}

function modeOf(given: Given): Command['mode'] {
  if (given.has('--help')) return 'help';
  if (given.has('--version')) return 'version';
  const [mode = 'set'] = [...BY_MODE].flatMap(([each, flag]) => (given.has(flag) ? [each] : []));
  return mode;
}

function assertTogether(mode: Mode, given: Given): void {
  const selecting = BY_MODE.get(mode);
  const excluded = OPTIONS.find(
    ({ flag, modes }) => given.has(flag) && !(modes as readonly Mode[]).includes(mode),
  );
  if (excluded !== undefined && selecting === undefined) {
    const takers = (excluded.modes as readonly Mode[]).flatMap(each => BY_MODE.get(each) ?? []);
    throw new CliError(`Error: ${excluded.flag} is for ${takers.join(', ')}.`);
  }
  const [first, second] =
    excluded === undefined
      ? SOURCES.filter(flag => given.has(flag))
      : OPTIONS.flatMap(({ flag }) => (flag === excluded.flag || flag === selecting ? [flag] : []));
  if (second !== undefined) throw new CliError(`Error: ${first} and ${second} cannot be used together.`);
  for (const [dependent, ...needed] of DEPENDENT) {
    if (!given.has(dependent) || needed.some(flag => given.has(flag))) continue;
    throw new CliError(`Error: ${dependent} is for ${needed.join(', ')}.`);
  }
  if (given.has('--confirm') && Number(given.get('--count') ?? 1) > 1) {
    throw new CliError('Error: --confirm is for one user.');
  }
}

/** Refuses too few and too many operands. */
function assertCount(mode: Mode, given: Given, operands: readonly string[]): void {
  const takesName = ['set', 'delete', 'verify'].includes(mode);
  const wanted = ['password file'];
  if (takesName) wanted.push('username');
  if (takesName && given.has('-b')) wanted.push('password');
  const extra = mode === 'delete' ? 0 : operands.length - wanted.length;
  if (extra > 0) {
    const hint =
      mode === 'set' && !given.has('-b') ? 'A password on the command line takes -b; options' : 'Options';
    throw new CliError(`Error: Too many arguments. ${hint} go before the password file.`, {
      showsUsage: true,
    });
  }
  if (operands.length < wanted.length) throw missing(mode, given, wanted);

  // `-` is for the one line of a user that is given.
  if (operands[0] !== '-' || !given.has('-c')) return;
  const other =
    mode === 'set' ? (['--reload', '--generate'] as const).find(flag => given.has(flag)) : BY_MODE.get(mode);
  if (other !== undefined) throw new CliError(`Error: ${other} needs a password file, not standard output.`);
}

function missing(mode: Mode, given: Given, wanted: readonly string[]): CliError {
  const selecting = BY_MODE.get(mode);
  const asking = selecting ?? (['-c', ...SOURCES] as const).find(each => given.has(each));
  const showsUsage = selecting === undefined && asking !== '-c';
  if (asking === undefined) return new CliError('Error: Password file or username missing.', { showsUsage });
  const words = new Intl.ListFormat('en', { type: 'disjunction' }).format(wanted);
  return new CliError(`Error: ${asking} argument given but ${words} missing.`, { showsUsage });
}

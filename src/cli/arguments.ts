/**
 * Reads the arguments as mosquitto_passwd does (2.1.2, apps/mosquitto_passwd/mosquitto_passwd.c, `main`): options come
 * before the password file, whatever follows it is taken as it stands, even where it starts with a hyphen. Node's
 * `parseArgs` looks for options everywhere, and would take some passwords for one.
 */

import type { FileHashOptions, ReloadTarget } from '../index.js';
import { CliError } from './error.js';
import { type Flag, findOption, type Mode, OPTIONS } from './options.js';

/** Where the password comes from. */
export type PasswordSource = '-b' | '--password-stdin' | '--password-file' | '--generate' | 'prompt';

/** What to do, checked as far as the arguments alone allow. */
export interface Command {
  mode: Mode | 'help' | 'version';
  /** The password file; `-` with -c: standard output. */
  path: string;
  usernames: string[];
  /** The password that stands on the command line. */
  password: string | undefined;
  source: PasswordSource;
  passwordFile: string;
  importFrom: string;
  create: boolean;
  force: boolean;
  quiet: boolean;
  json: boolean;
  hash: FileHashOptions;
  broker: '2.0' | '2.1';
  prefix: string | undefined;
  count: number;
  reload: ReloadTarget | undefined;
}

type Given = ReadonlyMap<Flag, string>;

const MAX_COUNT = 100_000;
const MAX_ITERATIONS = 2 ** 31 - 1;
const SOURCES = ['-b', '--password-stdin', '--password-file', '--generate'] as const;

export function parseArguments(argv: readonly string[]): Command {
  if (argv.length === 0) throw new CliError('', { showsUsage: true });
  const { given, operands } = split(argv);
  if (given.has('--help')) return commandOf('help', given, []);
  if (given.has('--version')) return commandOf('version', given, []);
  const mode = modeOf(given);
  checkTogether(mode, given);
  checkCount(mode, given, operands);
  const command = commandOf(mode, given, operands);
  checkStandardOutput(command);
  return command;
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
  return { flag, option: findOption(flag), attached };
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
    checkValue(option.flag, value);
    given.set(option.flag, value);
  }
  return { given, operands: [] };
}

function unknown(flag: string): CliError {
  // What follows a letter may be a password: -psecret.
  const name = flag.startsWith('--') ? flag : flag.slice(0, 2);
  return new CliError(`Error: Unknown option '${name}'.`, { showsUsage: true });
}

function checkValue(flag: Flag, value: string): void {
  const problem = VALUES[flag]?.(value);
  if (problem !== undefined) throw new CliError(`Error: ${problem}`);
}

const VALUES: { [F in Flag]?: (value: string) => string | undefined } = {
  '-H': value => {
    if (value === 'sha512' || value === 'sha512-pbkdf2') return undefined;
    if (value !== 'argon2id') return `Unknown hash type '${value}'`;
    return 'argon2id hashes are not made, because stock Mosquitto brokers cannot read them. Use -H sha512-pbkdf2.';
  },
  '-I': value => {
    if (!(Number.parseInt(value, 10) >= 1)) return 'Number of iterations must be > 0.';
    if (isWhole(value, MAX_ITERATIONS)) return undefined;
    return `Number of iterations must be a whole number up to ${MAX_ITERATIONS}.`;
  },
  '--broker': value =>
    value === '2.0' || value === '2.1' ? undefined : `--broker takes 2.0 or 2.1, not '${value}'.`,
  '--count': value =>
    isWhole(value, MAX_COUNT) ? undefined : `--count takes a whole number from 1 to ${MAX_COUNT}.`,
  '--reload': value =>
    value === '' ? '--reload takes a pid, a pid file or the name of a process.' : undefined,
};

function isWhole(value: string, max: number): boolean {
  return /^[0-9]+$/.test(value) && Number(value) >= 1 && Number(value) <= max;
}

function modeOf(given: Given): Mode {
  const [mode = 'set'] = OPTIONS.flatMap(option =>
    'selects' in option && given.has(option.flag) ? [option.selects] : [],
  );
  return mode;
}

function checkTogether(mode: Mode, given: Given): void {
  const selecting = OPTIONS.find(option => 'selects' in option && option.selects === mode);
  const excluded = OPTIONS.find(
    ({ flag, modes }) => given.has(flag) && !(modes as readonly Mode[]).includes(mode),
  );
  if (excluded !== undefined) {
    if (selecting === undefined)
      throw new CliError(`Error: ${excluded.flag} is for ${takers(excluded.modes)}.`);
    const [first, second] = OPTIONS.filter(option => option === excluded || option === selecting);
    throw exclusive(first?.flag, second?.flag);
  }
  const [first, second] = SOURCES.filter(flag => given.has(flag));
  if (second !== undefined) throw exclusive(first, second);
  if (given.has('--force') && !given.has('-c')) throw new CliError('Error: --force is for -c.');
}

function takers(modes: readonly Mode[]): string {
  return OPTIONS.filter(option => 'selects' in option && modes.includes(option.selects))
    .map(({ flag }) => flag)
    .join(', ');
}

function exclusive(first: string | undefined, second: string | undefined): CliError {
  return new CliError(`Error: ${first} and ${second} cannot be used together.`);
}

/** How many operands there may be, and what is missing where there are fewer. */
function checkCount(mode: Mode, given: Given, operands: readonly string[]): void {
  const takesName = ['set', 'delete', 'verify'].includes(mode);
  const wanted = [
    'password file',
    ...(takesName ? ['username'] : []),
    ...(given.has('-b') && takesName ? ['password'] : []),
  ];
  if (operands.length >= wanted.length && (operands.length === wanted.length || mode === 'delete')) return;

  const flag = OPTIONS.find(option => 'selects' in option && option.selects === mode)?.flag;
  const asking = flag ?? (['-c', ...SOURCES] as const).find(each => given.has(each));
  if (operands.length > wanted.length) {
    const hint =
      mode === 'set' && !given.has('-b') ? 'A password on the command line takes -b; options' : 'Options';
    throw new CliError(`Error: Too many arguments. ${hint} go before the password file.`, {
      showsUsage: true,
    });
  }
  const problem =
    asking === undefined
      ? 'Password file or username missing.'
      : `${asking} argument given but ${inWords(wanted)} missing.`;
  throw new CliError(`Error: ${problem}`, { showsUsage: flag === undefined && asking !== '-c' });
}

function inWords(things: readonly string[]): string {
  if (things.length < 3) return things.join(' or ');
  return `${things.slice(0, -1).join(', ')}, or ${things.at(-1)}`;
}

function commandOf(mode: Command['mode'], given: Given, operands: readonly string[]): Command {
  const [path = '', ...others] = operands;
  const password = given.has('-b') ? others.pop() : undefined;
  const release = given.get('--broker') as '2.0' | '2.1' | undefined;
  const iterations = given.get('-I');
  const reload = given.get('--reload');
  return {
    mode,
    path,
    usernames: others,
    password,
    source: SOURCES.find(flag => given.has(flag)) ?? 'prompt',
    passwordFile: given.get('--password-file') ?? '',
    importFrom: given.get('--import') ?? '',
    create: given.has('-c'),
    force: given.has('--force'),
    quiet: given.has('--quiet'),
    json: given.has('--json'),
    hash: {
      algorithm: given.get('-H') === 'sha512' ? 'sha512' : 'pbkdf2-sha512',
      iterations: iterations === undefined ? (release === '2.1' ? 1000 : 101) : Number(iterations),
      saltBytes: release === '2.1' ? 64 : 12,
    },
    broker: release ?? '2.1',
    prefix: given.get('--prefix'),
    count: Number(given.get('--count') ?? 1),
    reload: reload === undefined ? undefined : reloadTarget(reload),
  };
}

function reloadTarget(broker: string): ReloadTarget {
  if (/^[0-9]+$/.test(broker)) return { pid: Number(broker) };
  return broker.includes('/') || broker.endsWith('.pid') ? { pidFile: broker } : { process: broker };
}

/** `-` is for the one line of a user that is given. */
function checkStandardOutput({ path, create, mode, source, reload }: Command): void {
  if (path !== '-' || !create) return;
  const other = mode !== 'set' ? `--${mode}` : reload !== undefined ? '--reload' : source;
  if (['set', 'prompt', '-b', '--password-stdin', '--password-file'].includes(other)) return;
  throw new CliError(`Error: ${other} needs a password file, not standard output.`);
}

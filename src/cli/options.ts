/** The options of the command line: one table that parsing, `--help` and the tests of the man page go by. */

/** What there is to do; `set` is what mosquitto_passwd does without -D and -U. */
export type Mode = 'set' | 'delete' | 'upgrade' | 'import' | 'provision' | 'verify' | 'list' | 'check';

export interface Option {
  flag: string;
  /** What `--help` calls its value; without it, it takes none. */
  value?: string;
  /** The mode that it stands for. */
  selects?: Mode;
  /** The modes in which it may stand. */
  modes: readonly Mode[];
  help: string;
}

const WRITING: Mode[] = ['set', 'delete', 'upgrade', 'import', 'provision'];
/** mosquitto_passwd takes -H and -I with -D too, where they say nothing. */
const HASHING = WRITING;
const ADDING: Mode[] = ['set', 'import', 'provision'];
const ALL: Mode[] = [...WRITING, 'verify', 'list', 'check'];

/** In the order of mosquitto_passwd's usage text, then our own. Two that exclude each other are named in this order. */
export const OPTIONS = [
  {
    flag: '-b',
    modes: ['set', 'upgrade', 'verify'],
    help: 'Batch mode: the password stands on the command line, where every user of the machine can read it.',
  },
  {
    flag: '-c',
    modes: ADDING,
    help: 'Create the password file. With - for the file, print the line instead.',
  },
  { flag: '-D', selects: 'delete', modes: ['delete'], help: 'Delete the users, all in one step.' },
  {
    flag: '-H',
    value: 'HASH',
    modes: HASHING,
    help: 'sha512-pbkdf2, the default, or sha512, for Mosquitto 1.x brokers.',
  },
  { flag: '-I', value: 'N', modes: HASHING, help: 'Iterations of sha512-pbkdf2. Default 101.' },
  { flag: '-U', selects: 'upgrade', modes: ['upgrade'], help: 'Hash the plain-text passwords in the file.' },
  {
    flag: '--password-stdin',
    modes: ['set', 'verify'],
    help: 'Read the password from standard input, one line.',
  },
  {
    flag: '--password-file',
    value: 'FILE',
    modes: ['set', 'verify'],
    help: 'Read the password from a file.',
  },
  { flag: '--generate', modes: ['set'], help: 'Generate the password and print it, and nothing else.' },
  {
    flag: '--provision',
    selects: 'provision',
    modes: ['provision'],
    help: 'Add users with generated names and passwords, and print them as name:password.',
  },
  {
    flag: '--prefix',
    value: 'P',
    modes: ['provision'],
    help: 'What the generated names start with. Default device_.',
  },
  { flag: '--count', value: 'N', modes: ['provision'], help: 'How many users to add. Default 1.' },
  {
    flag: '--import',
    value: 'FILE',
    selects: 'import',
    modes: ['import'],
    help: 'Set the users of a list, all or none: name:password lines. With - for FILE, from standard input.',
  },
  {
    flag: '--verify',
    selects: 'verify',
    modes: ['verify'],
    help: 'Tell whether a broker lets this user in with this password: exit status 0 or 1.',
  },
  { flag: '--list', selects: 'list', modes: ['list'], help: 'Print the user names.' },
  {
    flag: '--check',
    selects: 'check',
    modes: ['check'],
    help: 'Tell what a broker refuses in the file or what is odd: file:line: severity: message.',
  },
  {
    flag: '--broker',
    value: 'RELEASE',
    modes: ALL,
    help: '2.0 or 2.1: the broker that reads the file. Default: hash so that all 2.x can read it, check as 2.1 does.',
  },
  { flag: '--json', modes: ['provision', 'list', 'check'], help: 'Print JSON.' },
  {
    flag: '--reload',
    value: 'BROKER',
    modes: WRITING,
    help: 'Have the broker read the file again afterwards: its pid, its pid file (a path with a / or ending in .pid), or the name of its process.',
  },
  {
    flag: '--force',
    modes: ['set'],
    help: 'With -c: where the file exists already, take out all of its users in the same step.',
  },
  { flag: '--quiet', modes: ALL, help: 'Print no messages but errors.' },
  { flag: '--help', modes: ALL, help: 'Print this text. Also -h.' },
  { flag: '--version', modes: ALL, help: 'Print the version.' },
] as const satisfies readonly Option[];

export type Flag = (typeof OPTIONS)[number]['flag'];

const BY_FLAG = new Map<string, Option & { flag: Flag }>(OPTIONS.map(option => [option.flag, option]));

export function findOption(flag: string): (Option & { flag: Flag }) | undefined {
  return BY_FLAG.get(flag === '-h' ? '--help' : flag);
}

/** The usage text, `--help` and `--version`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Flag, OPTIONS } from './arguments.js';

const NAME = 'mosquitto-passwd-ts';
const WIDTH = 80;
/** The column at which the meaning of an option begins. */
const INDENT = 24;

const SYNOPSIS = [
  '[options] [-c [--force]] passwordfile username',
  '[options] [-c [--force]] -b passwordfile username password',
  '-D [options] passwordfile username...',
  '-U [options] passwordfile',
  '--import FILE|- [-c] [options] passwordfile',
  '--import-hashes FILE|- [--remove-others] [-c] [options] passwordfile',
  '--provision [--prefix P] [--count N] [--json] [-c] [options] passwordfile',
  '--verify [-b] [options] passwordfile username [password]',
  '--list [--json] passwordfile',
  '--export passwordfile',
  '--dynsec CONFIG [--role ROLE] [--force] [--broker 2.0|2.1] passwordfile',
  '--check [--broker 2.0|2.1] [--json] passwordfile',
];

const MEANINGS: Record<Flag, string> = {
  '-b': 'Batch mode: take the password from the command line, where every user of the machine can read it.',
  '-c': 'Create the password file, which must not exist. With - as the file, print the line instead of writing a file.',
  '-D': 'Delete the users, all in one step.',
  '-H': 'The type of the hashes: sha512-pbkdf2 (default), or sha512 for Mosquitto 1.x.',
  '-I': 'The iterations of sha512-pbkdf2, up to 1000000. Default: 101, with --broker 2.1 1000.',
  '-U': 'Replace the plain-text passwords in the file by hashes.',
  '--password-stdin': 'Read the password from standard input, one line.',
  '--password-file': 'Read the password from a file, one line.',
  '--generate': 'Generate the password and print it.',
  '--provision': 'Add users with generated names and passwords, and print them as name:password.',
  '--prefix': 'The beginning of generated names. Default: device_.',
  '--count': 'How many users to add, up to 100000. Default: 1.',
  '--import': 'Set all users of a list of name:password lines, or none. With - as FILE, read standard input.',
  '--import-hashes':
    'Set the hashes of all users of a list of name:hash lines, or none. With - as FILE, read standard input.',
  '--remove-others': 'With --import-hashes: remove all users that are not in the list.',
  '--verify': 'Exit with 0 if a broker accepts this user with this password, else with 1.',
  '--list': 'Print the user names.',
  '--export': 'Print the users with their hashes as name:hash lines, for --import-hashes.',
  '--dynsec':
    'Add the users that can log in, with their hashes, to CONFIG, the file of the dynamic-security plugin. Make it with mosquitto_ctrl dynsec init, and stop the broker first: it writes CONFIG itself.',
  '--role':
    'With --dynsec: the role of each added client, which must be in CONFIG. Without a role, a client may by default neither publish nor subscribe.',
  '--check': 'Print what a broker refuses in the file and what is unusual, as file:line: severity: message.',
  '--broker':
    'The release of the broker that reads the file, 2.0 or 2.1. Default: make hashes that every 2.x reads, check as 2.1 does, add clients that 2.0 and 2.1 read.',
  '--json': 'Print JSON.',
  '--reload':
    'Then make the broker read the file, and end when it has. BROKER is its pid, its pid file (a path with a / or ending in .pid), or the name of its process.',
  '--confirm':
    'With --reload: end when this broker has let the user in. Default port: 1883, with --cafile 8883.',
  '--cafile': 'With --confirm: connect by TLS. FILE holds the certificates of the CA, in PEM.',
  '--force':
    'With -c and one user: if the file exists, remove all others in the same step. With --dynsec: replace passwords and roles of clients of the same name, but not of administrators: clients that have the role admin or may publish below $CONTROL.',
  '--quiet': 'Print no notes and no progress. With --check: only errors. With --verify: nothing.',
  '--help': 'Print this text. Also -h.',
  '--version': 'Print the version.',
};

const STATUSES = {
  0: 'Done. For --verify: yes. For --check: no errors.',
  1: 'Failed, and nothing was changed. For --verify: no. For --check: errors. For -D: a name was not in the file; the others are deleted. For -U: a line could not be read or hashed; the others are hashed. For --export and --dynsec: a user was left out.',
  2: 'The two passwords that were typed differ. For --verify and --check: failed.',
  3: 'The file was changed, or needed no change, but not all was done: the reload, the confirmed login, the sync to disk, or printing.',
  '129, 130, 143': 'Ended by SIGHUP, ctrl-C, SIGTERM. Nothing was changed, unless the signal came twice.',
};

export function usage(): string {
  return `${synopsis()}\n\n${NAME} --help explains all.\n`;
}

export function help(): string {
  const options = OPTIONS.map(option =>
    entry(` ${option.flag}${'value' in option ? ` ${option.value}` : ''}`, MEANINGS[option.flag]),
  );
  const statuses = Object.entries(STATUSES).map(([status, meaning]) => entry(` ${status}`, meaning));
  const order = 'Options come before the password file.';
  return `${synopsis()}\n\n${order}\n\n${options.join('\n')}\n\nExit status:\n${statuses.join('\n')}\n`;
}

/** The first line is that of mosquitto_passwd, with the name of this program. */
function synopsis(): string {
  const lines = SYNOPSIS.map((line, i) => fitted(`${i === 0 ? 'Usage:' : '      '} ${NAME} ${line}`, 10));
  return `${NAME} is a tool for managing password files for mosquitto.\n\n${lines.join('\n')}`;
}

/** A term and, beside it, its meaning. */
function entry(term: string, meaning: string): string {
  if (term.length < INDENT) return fitted(term.padEnd(INDENT) + meaning, INDENT);
  return `${term}\n${fitted(' '.repeat(INDENT) + meaning, INDENT)}`;
}

/** Breaks a line at blanks. Further lines are indented. */
function fitted(line: string, indent: number): string {
  if (line.length <= WIDTH) return line;
  const end = line.lastIndexOf(' ', WIDTH);
  return `${line.slice(0, end)}\n${fitted(' '.repeat(indent) + line.slice(end + 1), indent)}`;
}

export function version(): string {
  // The program is in a directory of the package.
  const manifest = readFileSync(join(__dirname, '../package.json'), 'utf8');
  return `${NAME} ${JSON.parse(manifest).version}\n`;
}

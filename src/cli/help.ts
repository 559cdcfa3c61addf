/** The usage text, `--help` and `--version`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OPTIONS } from './options.js';

const NAME = 'mosquitto-passwd-ts';
const WIDTH = 100;

const SYNOPSIS = [
  '[options] [-c [--force]] passwordfile username',
  '[options] [-c [--force]] -b passwordfile username password',
  '-D [options] passwordfile username...',
  '-U [options] passwordfile',
  '--import FILE|- [-c] [options] passwordfile',
  '--provision [--prefix P] [--count N] [--json] [-c] [options] passwordfile',
  '--verify [-b] [options] passwordfile username [password]',
  '--list [--json] passwordfile',
  '--check [--broker 2.0|2.1] [--json] passwordfile',
];

export function usage(): string {
  return `${synopsis()}\n\n${NAME} --help tells all.\n`;
}

/** Begins as the usage of mosquitto_passwd does. */
function synopsis(): string {
  const lines = SYNOPSIS.map((line, i) => `${i === 0 ? 'Usage:' : '      '} ${NAME} ${line}`);
  return `${NAME} is a tool for managing password files for mosquitto.\n\n${lines.join('\n')}`;
}

const STATUSES = [
  ['0', 'Done. To --verify: yes. To --check: no errors.'],
  [
    '1',
    'Failed, and nothing was changed. To --verify: no. To --check: errors. To -D: a name was not there; the others are deleted. To -U: a line could be neither read nor hashed; the others are hashed.',
  ],
  ['2', 'The two passwords that were typed are not the same. To --verify and --check: failed.'],
  [
    '3',
    'The file was changed, but something failed after that: telling the broker, confirming that all is on disk, or printing.',
  ],
  ['130', 'Interrupted by ctrl-C. Nothing was changed.'],
] as const;

const DIFFERENCES = [
  'The default hash is the one that every 2.x broker reads: 12 bytes of salt, 101 iterations. --broker 2.1 hashes as mosquitto_passwd 2.1 does. There is no -H argon2id: stock brokers cannot read it.',
  'Comments, empty lines and whatever else is not to be changed stay as they are. An add to a file without a final newline ends that line first.',
  'A change is made whole or not at all, is on disk when the program ends, and loses nothing to other programs of this kind that change the file at the same time.',
  '-c does not throw an existing file away (2.0 did); --force does, in one step with the new user.',
  '-U leaves hashed lines as they are, hashes all of a password with a : in it, and goes by -I.',
  'Names and passwords with which no client could log in are refused, and so are arguments too many.',
  'A name that stands twice stands once after its password is set.',
  'ctrl-C at a prompt gives the status 130, --help the status 0. A usage text comes with the reason, on standard error.',
] as const;

export function help(): string {
  const options = OPTIONS.map(option => {
    const value = 'value' in option ? ` ${option.value}` : '';
    return entry(` ${option.flag}${value}`, option.help);
  });
  const statuses = STATUSES.map(([status, text]) => entry(` ${status}`, text));
  const differences = DIFFERENCES.map(text => entry(' -', text, 3));
  return `${synopsis()}

Options come before the password file.

${options.join('\n')}

Exit status:
${statuses.join('\n')}

Unlike mosquitto_passwd:
${differences.join('\n')}
`;
}

const INDENT = 24;

/** A term and, beside it, what it means. */
function entry(term: string, meaning: string, indent = INDENT): string {
  const lines: string[] = [];
  let line = term.length < indent ? term.padEnd(indent) : `${term}\n${' '.repeat(indent)}`;
  let used = indent;
  for (const word of meaning.split(' ')) {
    if (used + word.length > WIDTH) {
      lines.push(line.trimEnd());
      line = ' '.repeat(indent);
      used = indent;
    }
    line += `${word} `;
    used += word.length + 1;
  }
  return [...lines, line.trimEnd()].join('\n');
}

export function version(): string {
  // The program lies one folder below its package, built or not.
  const manifest = readFileSync(join(__dirname, '../package.json'), 'utf8');
  return `${NAME} ${JSON.parse(manifest).version}\n`;
}

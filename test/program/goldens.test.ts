/** The recorded calls of mosquitto_passwd 2.1.2, repeated with the program, and compared. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { verifyPasswordSync } from 'mosquitto-passwd-ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { call } from '../support/cli.js';
import { decode, type Golden, goldens, passwordGiven } from '../support/goldens.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';

const calls = goldens.filter(({ version }) => version === '2.1.2');

/** All calls, but only a fifth of the many that each hash a password in the same way. */
const rows = calls.filter(({ what }, i) => !/^(hash|hash sha512|random)$/.test(what) || i % 5 === 0);

/** The result of a call: exit status, output, and the file that it left. */
interface Outcome {
  exit: number | null;
  stdout: string;
  stderr: string;
  file: string | null;
  mode: string | null;
  left: string[];
}

/** A call with another result, why, and the parts of the result that differ. */
interface Difference {
  what: string;
  argv?: string[];
  why: string;
  ours: { [K in keyof Outcome]?: Outcome[K] | RegExp };
}

const USAGE =
  /^mosquitto-passwd-ts is a tool for managing password files for mosquitto\.\n\nUsage: mosquitto-passwd-ts /;
const NEW = (name: string) => `${name}:<7 101 12>\n`;
const OLD = (name: string) => `${name}:<7 1000 64>\n`;

const DIFFERENCES: Difference[] = [
  { what: 'arguments', argv: [], why: 'a usage text of its own', ours: { stdout: USAGE } },
  ...[
    { argv: ['-x'], stderr: "Error: Unknown option '-x'.\n" },
    { argv: ['PWFILE'], stderr: 'Error: Password file or username missing.\n' },
    {
      argv: ['-b', 'PWFILE', 'alice'],
      stderr: 'Error: -b argument given but password file, username, or password missing.\n',
    },
    {
      argv: ['PWFILE', 'a', 'b', 'c'],
      stderr:
        'Error: Too many arguments. A password on the command line takes -b; options go before the password file.\n',
    },
  ].map(({ argv, stderr }) => ({
    what: 'arguments',
    argv,
    why: 'the usage text comes with the reason',
    ours: { stdout: USAGE, stderr },
  })),
  ...['-h', '--help'].map(flag => ({
    what: 'arguments',
    argv: [flag],
    why: 'asking for help is no mistake',
    ours: { exit: 0, stdout: USAGE },
  })),
  {
    what: 'arguments',
    argv: ['-H', 'argon2id', '-c', '-b', 'PWFILE', 'alice', 'x'],
    why: 'it leaves no empty file, and says why',
    ours: {
      exit: 1,
      stdout: '',
      stderr: 'Error: -H takes sha512-pbkdf2 or sha512, which stock brokers read.\n',
      file: null,
      mode: null,
    },
  },
  {
    what: 'arguments',
    argv: ['-D', 'PWFILE', 'bad:name'],
    why: 'the file is missing, whatever the name',
    ours: { stderr: 'Error: Unable to open password file PWFILE. No such file or directory.\n' },
  },
  ...[
    { argv: ['-H', 'nohash'], takes: 'sha512-pbkdf2 or sha512, which stock brokers read' },
    { argv: ['-I', '0'], takes: 'a whole number from 1 to 1000000' },
  ].map(({ argv: [flag = '', value = ''], takes }) => ({
    what: 'arguments',
    argv: [flag, value],
    why: 'it says what the option takes',
    ours: { stderr: `Error: ${flag} takes ${takes}.\n` },
  })),
  ...[
    { what: 'refused: a colon in the name', stderr: /^Error: The user name contains ':', .* Use '\/', / },
    {
      what: 'refused: a control character in the name',
      stderr: /^Error: .* control character .* Remove it\.\n$/,
    },
    { what: 'refused: a long name', stderr: /^Error: The user name is longer .* Use a shorter name\.\n$/ },
  ].map(({ what, stderr }) => ({ what, why: 'it says what to do', ours: { stderr } })),
  ...[
    { what: 'refused? an empty name', stderr: /^Error: The user name is empty\. / },
    { what: 'a C1 control in the name', stderr: /^Error: The user name contains a control character or / },
    { what: 'an empty password', stderr: /^Error: The password is empty\. / },
    {
      what: 'user name',
      argv: ['-c', '-b', 'PWFILE', '#hash', 'secret'],
      stderr: /^Error: The user name starts with '#'\. /,
    },
    ...[' alice', 'alice '].map(name => ({
      what: 'user name',
      argv: ['-c', '-b', 'PWFILE', name, 'secret'],
      stderr: /^Error: The user name starts or ends with a blank\. /,
    })),
  ].map(({ stderr, ...row }) => ({
    ...row,
    why: 'no client could log in',
    ours: { exit: 1, stdout: '', stderr, file: null, mode: null },
  })),
  {
    what: 'edit: add where the last newline is missing',
    why: 'the new user has a line of its own',
    ours: { file: OLD('alice') + OLD('bob') + NEW('carol') },
  },
  {
    what: 'edit: add to a file with a comment',
    why: 'the comment and the others stay',
    ours: { stderr: '', file: `# comment\n${OLD('alice')}${OLD('bob')}${NEW('carol')}` },
  },
  {
    what: 'edit: add to a file with an empty line',
    why: 'the others stay',
    ours: { stderr: '', file: `\n${OLD('alice')}${OLD('bob')}${NEW('carol')}` },
  },
  {
    what: 'edit: update a name that stands twice',
    why: 'it stands once after that',
    ours: { file: OLD('alice') + NEW('bob') },
  },
  {
    what: 'edit: update in a CR LF file',
    why: 'the line ends as it did',
    ours: { file: (NEW('alice') + OLD('bob')).replaceAll('\n', '\r\n') },
  },
  {
    what: 'upgrade: lines already hashed',
    why: 'hashes are not hashed',
    ours: { file: OLD('alice') + OLD('bob') },
  },
  {
    what: 'upgrade: a comment',
    why: 'comments stay',
    ours: { exit: 0, stderr: '', file: `# c\n${NEW('alice')}` },
  },
  {
    what: 'upgrade: CR LF',
    why: 'the line ends as it did',
    ours: { file: NEW('alice').replace('\n', '\r\n') },
  },
];

const parent = temporaryDirectory('golden', memoryDirectory());
let outcomes: Map<Golden, Outcome>;
let outcomesAs21: Map<Golden, Outcome>;
/** The text that each call wrote, with its hashes. */
const written = new Map<Golden, string>();

beforeAll(async () => {
  outcomes = await repeatAll(rows, 'plain');
  outcomesAs21 = await repeatAll(alikeEdits, 'as-2.1', '--broker', '2.1');
}, 240_000);

afterAll(() => parent[Symbol.dispose]());

/** Repeats the calls, three at a time, with these options before theirs. */
async function repeatAll(
  golden: readonly Golden[],
  name: string,
  ...options: string[]
): Promise<Map<Golden, Outcome>> {
  const made = new Map<Golden, Outcome>();
  const entries = golden.entries();
  const lane = async () => {
    for (const [i, row] of entries) {
      const directory = join(parent.path, `${name}-${i}`);
      await mkdir(directory);
      made.set(row, await repeat(row, directory, options));
    }
  };
  await Promise.all([lane(), lane(), lane()]);
  return made;
}

async function repeat(row: Golden, directory: string, options: string[]): Promise<Outcome> {
  const { argv, input, before } = row;
  const path = join(directory, 'PWFILE');
  if (before !== undefined) writeFileSync(path, Buffer.from(before, 'base64'), { mode: 0o600 });
  const { status, stdout, stderr } = await call([...options, ...argv], { cwd: directory, input });
  const file = existsSync(path) ? readFileSync(path, 'utf8') : null;
  written.set(row, file ?? stdout);
  return {
    exit: status,
    stdout: told(stdout),
    stderr: stderr.replaceAll(directory, '/tmp/golden'),
    file: file === null ? null : told(file),
    mode: file === null ? null : `0o${(statSync(path).mode & 0o777).toString(8)}`,
    left: readdirSync(directory).filter(name => name !== 'PWFILE'),
  };
}

/** The result of the tool; with `asOurs`, as if it had hashed with the iterations and salts of this program. */
function theirs(golden: Golden, asOurs: boolean): Outcome {
  const { exit, stdout, stderr, file, mode, left = [] } = golden;
  const before = new Set(lines(decode(golden.before)));
  const translate = (line: string) => {
    const written = told(line);
    if (!asOurs || before.has(line)) return written;
    return written.replace(
      golden.argv.includes('-I') ? /(?<=<7 \d+) 64>/ : /(?<=<7 )1000 64>|(?<=<6) 64>/,
      found => (found.startsWith('1000') ? '101 12>' : ' 12>'),
    );
  };
  const translated = (text: string) => lines(text).map(translate).join('');
  return {
    exit,
    stdout: translated(stdout),
    stderr,
    file: file === null ? null : translated(decode(file)),
    mode,
    left,
  };
}

/** Replaces hashes by their type, iterations and the length of their salt. */
function told(text: string): string {
  const bytes = (base64: string) => Buffer.from(base64, 'base64').length;
  return text.replace(
    /\$([67])\$(?:(\d+)\$)?([A-Za-z0-9+/]+=*)\$([A-Za-z0-9+/]{86}==)/g,
    (_, type, iterations, salt) =>
      `<${type}${iterations === undefined ? '' : ` ${iterations}`} ${bytes(salt)}>`,
  );
}

function lines(text: string): string[] {
  return text.split(/(?<=\n)/);
}

function differenceOf({ what, argv }: Golden): Difference | undefined {
  const isSame = (wanted: string[]) => JSON.stringify(wanted) === JSON.stringify(argv);
  return DIFFERENCES.find(
    difference => difference.what === what && (difference.argv === undefined || isSame(difference.argv)),
  );
}

function titleOf({ what, argv }: Golden): string {
  const words = argv.map(word => (word.length > 24 ? `${word.slice(0, 20)}… (${word.length})` : word));
  return `${what}: ${JSON.stringify(words.join(' ')).slice(1, -1)}`;
}

const alike = rows.filter(row => differenceOf(row) === undefined);
const unlike = rows.filter(row => differenceOf(row) !== undefined);

const alikeEdits = alike.filter(({ what }) => /^edit|^upgrade|^-c to stdout|-I$/.test(what));

describe(`like mosquitto_passwd 2.1.2: ${alike.length} of ${rows.length} calls`, () => {
  for (const row of alike) {
    test(titleOf(row), () => {
      expect(outcomes.get(row)).toEqual(theirs(row, true));
      const [name, password] = passwordGiven(row) ?? [];
      if (name !== undefined) expect(verifyPasswordSync(password as string, hashOf(row, name))).toBe(true);
    });
  }
});

function hashOf(row: Golden, name: string): string {
  const line = written
    .get(row)
    ?.split('\n')
    .find(each => each.startsWith(`${name}:`));
  return line?.slice(name.length + 1) ?? '';
}

describe('like mosquitto_passwd 2.1.2 with --broker 2.1, hashes included', () => {
  for (const row of alikeEdits) {
    test(titleOf(row), () => {
      expect(outcomesAs21.get(row)).toEqual(theirs(row, false));
    });
  }
});

describe('unlike mosquitto_passwd 2.1.2, in favour of the user', () => {
  for (const row of unlike) {
    const { why, ours } = differenceOf(row) as Difference;
    test(`${titleOf(row)}: ${why}`, () => {
      const wanted: Record<string, unknown> = { ...theirs(row, true) };
      for (const [key, value] of Object.entries(ours)) {
        wanted[key] = value instanceof RegExp ? expect.stringMatching(value) : value;
      }
      expect(outcomes.get(row)).toEqual(wanted);
      expect(outcomes.get(row)).not.toEqual(theirs(row, true));
    });
  }

  test('upgrade: a password with a colon is hashed as a whole, which the tool cuts at the colon', () => {
    const row = rows.find(({ what }) => what === 'upgrade: a colon in the password') as Golden;
    expect(verifyPasswordSync('one:two', hashOf(row, 'alice'))).toBe(true);
    const [hash = ''] = decode(row.file).trimEnd().split(':').slice(1);
    expect(verifyPasswordSync('one', hash)).toBe(true);
  });

  test('each difference in the list is shown by a call', () => {
    const isShown = (difference: Difference) => unlike.some(row => differenceOf(row) === difference);
    expect(DIFFERENCES.filter(difference => !isShown(difference))).toEqual([]);
  });
});

/** Recorded calls of real mosquitto_passwd programs: fixtures/mosquitto_passwd-goldens.json and argon2id-goldens.json. */
import { readFileSync } from 'node:fs';

/** A call of mosquitto_passwd; `before` and `file` are base64. */
export interface Golden {
  version: string;
  what: string;
  /** The file is called PWFILE. */
  argv: string[];
  /** Standard input. */
  input?: string;
  /** The file before; `undefined`: there was none. */
  before?: string;
  exit: number | null;
  stdout: string;
  stderr: string;
  /** The file after; `null`: there is none. */
  file: string | null;
  mode: string | null;
  /** Other files left beside it. */
  left?: string[];
}

export const goldens: readonly Golden[] = load('mosquitto_passwd-goldens.json');
export const argon2idGoldens: ReadonlyArray<{ password: string; line: string }> =
  load('argon2id-goldens.json');
export const versions = [...new Set(goldens.map(({ version }) => version))];

/** A line of a password file, and its password. */
export interface GoldenLine {
  username: string;
  password: string;
  hash: string;
}

/** The lines that the calls wrote which gave a user a password. */
export function writtenLines(calls: readonly Golden[]): GoldenLine[] {
  return calls.flatMap(call => {
    const given = passwordGiven(call);
    if (given === undefined) return [];
    const [username, password] = given;
    const written = call.argv.includes('-') ? call.stdout : decode(call.file);
    // The tool changes the first line of a duplicate name.
    const line = written.split(/\r?\n/).find(each => each.startsWith(`${username}:`));
    // After a last line without a line feed the tool writes no line of its own.
    return line === undefined ? [] : [{ username, password, hash: line.slice(username.length + 1) }];
  });
}

/** The user and the password of a successful call that set one; `undefined`: it set none. */
export function passwordGiven({ argv, input, exit }: Golden): [string, string] | undefined {
  if (exit !== 0 || argv.includes('-D') || argv.includes('-U')) return undefined;
  const [username = '', password = input?.split('\n')[0] ?? ''] = argv.slice(argv.findIndex(isFile) + 1);
  return [username, password];
}

function isFile(argument: string): boolean {
  return argument === 'PWFILE' || argument === '-';
}

export function decode(base64: string | null | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString('utf8');
}

/** The text without salts and keys, in which only they may differ. */
export function withoutSalts(text: string): string {
  return text.replace(/\$([67])\$(?:(\d+)\$)?[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+/g, '<$1 $2>');
}

function load<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), 'utf8'));
}

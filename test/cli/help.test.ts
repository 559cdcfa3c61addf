import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { OPTIONS } from '../../src/cli/arguments.js';
import { help, usage } from '../../src/cli/help.js';

const page = readFileSync(new URL('../../man/mosquitto-passwd-ts.1', import.meta.url), 'utf8');
const section = (title: string) =>
  new RegExp(`^\\.SH ${title}\\n(.*?)(?=^\\.SH )`, 'ms').exec(page)?.[1] ?? '';
/** The term below each `.TP`, in plain text. */
const terms = (title: string) =>
  [...section(title).matchAll(/^\.TP\n\.(?:BI?|BR) (.*)$/gm)].map(([, term = '']) => plain(term));
const plain = (roff: string) =>
  roff
    .replace(/\\-/g, '-')
    .replace(/\\f[BIR]|"/g, '')
    .replace(/ +/g, ' ');

test('the usage and --help fit into 80 columns', () => {
  const lengths = (usage() + help()).split('\n').map(line => line.length);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(80);
});

test('the man page has the options of --help in their order', () => {
  const options = [...help().matchAll(/^ (-[^ ]+(?: [A-Z:[\]]+)?)(?: {2,}|$)/gm)].map(([, option]) => option);
  expect(options).toHaveLength(OPTIONS.length);
  expect(terms('OPTIONS').map(term => term.replace(' , -h', ''))).toEqual(options);
});

test('the man page has the synopsis of --help', () => {
  const synopsis = [...help().matchAll(/^(?:Usage:| {6}) (mosquitto-passwd-ts .*(?:\n {10}.*)*)$/gm)];
  const lines = section('SYNOPSIS').trimEnd().split('\n').slice(1, -1);
  expect(lines.length).toBeGreaterThan(5);
  expect(lines.map(line => plain(line.replace(/^\.B /, '')))).toEqual(
    synopsis.map(([, line = '']) => line.replace(/\n +/g, ' ')),
  );
});

test('the man page has the exit statuses of --help', () => {
  const text = help();
  const statuses = [...text.slice(text.indexOf('Exit status:')).matchAll(/^ (\d[\d, ]*?) {2}/gm)];
  expect(terms('EXIT STATUS')).toEqual(statuses.map(([, status]) => status));
});

import { expect, test } from 'vitest';
import { type Given, OPTIONS, parseArguments } from '../../src/cli/arguments.js';
import { CliError } from '../../src/cli/output.js';

function errorOf(argv: string[]): CliError {
  try {
    parseArguments(argv);
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error('It was accepted.');
}

test.each([
  [['--force', '-b', 'passwd', 'a', 'b'], '--force is for -c, --dynsec.'],
  [['--role', 'x', '-b', 'passwd', 'a', 'b'], '--role is for --dynsec.'],
  [['--dynsec', 'x', '-c', 'passwd'], '-c and --dynsec cannot be used together.'],
  [['--dynsec', 'x'], '--dynsec argument given but password file missing.'],
  [['-I', '1000001', '-b', 'passwd', 'a', 'b'], '-I takes a whole number from 1 to 1000000.'],
  [['--json', '-b', 'passwd', 'a', 'b'], '--json is for --provision, --list, --check.'],
  [['--generate', '-b', 'passwd', 'a'], '-b and --generate cannot be used together.'],
  [['-U', '--generate', 'passwd'], '--generate and -U cannot be used together.'],
  [['--import', 'x', '-D', 'passwd'], '-D and --import cannot be used together.'],
  [['--list', '--check', 'passwd'], '--list and --check cannot be used together.'],
  [['--broker', '1.6', '-b', 'passwd', 'a', 'b'], '--broker takes 2.0 or 2.1.'],
  [['-I', '12abc', '-b', 'passwd', 'a', 'b'], '-I takes a whole number from 1 to 1000000.'],
  [['-I', 'abc', '-b', 'passwd', 'a', 'b'], '-I takes a whole number from 1 to 1000000.'],
  [['--count'], '--count argument given but not enough other arguments.'],
  [['--count', '0'], '--count takes a whole number from 1 to 100000.'],
  ...[
    'localhost:0',
    'localhost:65536',
    'local host',
    'a:b:c',
    ':1883',
    '[]',
    '[:::]:1883',
    '[::1',
    '[host]',
    'alice@host',
    'mqtt://alice:secret@host',
  ].map((value): [string[], string] => [
    ['--reload', '1', '--confirm', value, '-b', 'passwd', 'a', 'b'],
    `--confirm takes HOST or HOST:PORT with a port from 1 to 65535.`,
  ]),
  [['--dynsec', 'x', '--role', '', 'passwd'], '--role takes the name of a role.'],
  [['-c', '--generate', '-', 'a'], '--generate needs a password file, not standard output.'],
  [['-c', '--provision', '-'], '--provision needs a password file, not standard output.'],
  [['-c', '--reload', 'x', '-b', '-', 'a', 'b'], '--reload needs a password file, not standard output.'],
  [['--list'], '--list argument given but password file missing.'],
  [
    ['--verify', '-b', 'passwd', 'alice'],
    '--verify argument given but password file, username, or password missing.',
  ],
  ...[
    ...OPTIONS.filter(option => 'value' in option).map(({ flag }) => [flag, 'x\ufffd', 'passwd']),
    ['--list', 'passwd\ufffd'],
    ['-D', 'passwd', 'alice', 'b\ufffd'],
    ['-b', 'passwd', 'a', 'x\ufffd'],
  ].map((argv): [string[], string] => [
    argv,
    'An argument is not valid UTF-8. Use a shell or terminal that speaks UTF-8.',
  ]),
  [['-n', '-b', 'alice', 'one'], 'There is no -n. To print the line instead, use -c with - for the file.'],
])('the arguments %j are refused', (argv, message) => {
  const error = errorOf(argv);
  expect([error.message, error.options.showsUsage ?? false]).toEqual([message, false]);
});

test.each([
  [[], ''],
  [['--password-stdni', 'passwd', 'a'], "Unknown option '--password-stdni'."],
  [['-psecret', 'passwd', 'a'], "Unknown option '-p'."],
  ...['-bsecret', '-I5', '-H=sha512'].map((argument): [string[], string] => [
    [argument, 'passwd', 'a'],
    `${argument.slice(0, 2)} stands alone: write each option, and its value, as an argument of its own.`,
  ]),
  [['--quiet=yes', 'passwd', 'a'], "Unknown option '--quiet'."],
  [['--generate', 'passwd'], '--generate argument given but password file or username missing.'],
  [['-U', 'passwd', 'alice'], 'Too many arguments. Options go before the password file.'],
  [
    ['-c', '-b', 'new', 'alice', 'correct', 'horse'],
    'Too many arguments. Options go before the password file.',
  ],
])('the arguments %j are refused with the usage', (argv, message) => {
  const error = errorOf(argv);
  expect([error.message, error.options.showsUsage]).toEqual([message, true]);
});

test('arguments after the password file are operands, even with a hyphen in front', () => {
  expect(parseArguments(['-b', 'passwd', '-U', '--quiet'])).toMatchObject({
    mode: 'set',
    path: 'passwd',
    usernames: ['-U'],
    password: '--quiet',
  });
  expect(parseArguments(['-c', '-b', '--', '-odd', 'alice', 'one'])).toMatchObject({ path: '-odd' });
  expect(parseArguments(['-D', 'passwd', 'alice', '-D'])).toMatchObject({ usernames: ['alice', '-D'] });
});

test.each(['localhost', 'a.example:8883', '127.0.0.1:1', '[::1]', '[fe80::1%eth0]:1883'])(
  '--confirm takes the address %s',
  address => {
    const argv = ['--reload', '1', '--confirm', address, '--generate', 'passwd', 'a'];
    expect(parseArguments(argv).given.get('--confirm')).toBe(address);
  },
);

test('the value of an option is the next argument or follows an equals sign', () => {
  for (const argv of [
    ['--broker', '2.0', '--count', '7', '--provision', 'passwd'],
    ['--provision', '--count=7', '--broker=2.0', 'passwd'],
  ]) {
    const { mode, given } = parseArguments(argv);
    expect([mode, given.get('--broker'), given.get('--count')]).toEqual(['provision', '2.0', '7']);
  }
});

test('parseArguments reports the options before an error', () => {
  const read = (...argv: string[]) => {
    const given: Given = new Map();
    expect(() => parseArguments(argv, given)).toThrow(CliError);
    return [...given.keys()];
  };
  expect(read('--broker', '1.6', '--check', 'passwd')).toEqual(['--broker', '--check']);
  expect(read('--check', '--none', 'passwd')).toEqual(['--check']);
  expect(read('-b', '--check', '--password-file')).toEqual(['-b', '--check']);
  expect(read('-b', 'passwd', '--check')).toEqual(['-b']);
  expect(read('--password-file', '--check', 'passwd')).toEqual(['--password-file']);
});

test('each option that selects a mode is allowed in that mode', () => {
  for (const option of OPTIONS)
    if ('selects' in option) expect([...option.modes, 'help', 'version']).toContain(option.selects);
});

/** The program called as a process: what it does beyond mosquitto_passwd. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { checkPasswordFile, hashPasswordSync, PasswordFile, parseHash } from 'mosquitto-passwd-ts';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type CallOptions, call, type Ended, PROGRAM } from '../support/cli.js';
import { testDirectory } from '../support/directory.js';
import { linux, needs, program, root } from '../support/require.js';
import { perl, standIn, uniqueName } from '../support/stand-in.js';
import { tracing } from '../support/strace.js';
import { quoted } from '../support/terminal.js';

let directory: string;
let path: string;
let file: PasswordFile;
const HASH = hashPasswordSync('one', { salt: Buffer.alloc(12, 1) });
const ALICE = `alice:${HASH}\n`;

beforeEach(() => {
  directory = testDirectory();
  path = join(directory, 'passwd');
  file = new PasswordFile(path);
  writeFileSync(path, ALICE, { mode: 0o600 });
});

const zero = { what: '/dev/zero', isProgram: false, met: () => existsSync('/dev/zero') };

function run(argv: readonly string[], options: CallOptions = {}): Promise<Ended> {
  return call(argv, { cwd: directory, ...options });
}

/** A call that succeeds. */
async function done(argv: readonly string[], input?: string | Uint8Array): Promise<string> {
  const { status, stdout, stderr } = await run(argv, { input });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

/** A call that fails, and does not change the file. */
async function refused(argv: readonly string[], input?: string | Uint8Array, status = 1): Promise<string> {
  const before = readFileSync(path, 'utf8');
  const ended = await run(argv, { input });
  expect({ ...ended, stderr: '' }).toEqual({ status, signal: null, stdout: '', stderr: '' });
  expect(readFileSync(path, 'utf8')).toBe(before);
  expect(readdirSync(directory)).not.toContain('passwd.writer');
  return ended.stderr;
}

describe('the password of a new user', () => {
  test.each([
    ['without a line end', 'pass word:1'],
    ['with LF', 'pass word:1\n'],
    ['with CR LF', 'pass word:1\r\n'],
  ])('is read by --password-stdin and --password-file, %s', async (_title, text) => {
    expect(await done(['--password-stdin', 'passwd', 'bob'], text)).toBe('Adding password for user bob\n');
    expect(await file.verify('bob', 'pass word:1')).toBe(true);
    writeFileSync(join(directory, 'secret'), text);
    expect(await done(['--password-file', 'secret', 'passwd', 'carol'])).toBe(
      'Adding password for user carol\n',
    );
    expect(await file.verify('carol', 'pass word:1')).toBe(true);
  });

  test('may be bytes that are not UTF-8, by --password-stdin and at prompts without a terminal', async () => {
    const bytes = Buffer.from([0xe9, 0xff, 0x20]);
    await done(['--password-stdin', 'passwd', 'bob'], bytes);
    expect(await file.verify('bob', bytes)).toBe(true);
    await done(['passwd', 'carol'], Buffer.concat([bytes, Buffer.from('\n'), bytes]));
    expect(await file.verify('carol', bytes)).toBe(true);
  });

  test.each([
    ['x\rx\nx\rx\n', 'x\rx'],
    ['x\r\nx\r\n', 'x'],
    ['x\r\nx', 'x'],
    [`${'é'.repeat(32_767)}\n${'é'.repeat(32_767)}\n`, 'é'.repeat(32_767)],
  ])(
    'is a line that LF or CR LF ends at prompts without a terminal, as for mosquitto_passwd: %j',
    async (text, password) => {
      await done(['passwd', 'bob'], text);
      expect(await file.verify('bob', password)).toBe(true);
    },
  );

  test('may be asked for and typed line by line without a terminal', async () => {
    const ended = await run(['passwd', 'bob'], {
      keepsInput: true,
      onStart: ({ stdin, stdout }) => {
        stdout?.on('data', (text: string) => /assword: $/.test(text) && stdin?.write('one\n'));
      },
    });
    expect(ended).toEqual({
      status: 0,
      signal: null,
      stdout: 'Password: \nReenter password: \nAdding password for user bob\n',
      stderr: '',
    });
  });

  needs(zero).test('is refused if its line has no end', () => {
    for (const argv of [
      ['passwd', 'bob'],
      ['--password-stdin', 'passwd', 'bob'],
    ]) {
      const command = `${quoted(process.execPath, PROGRAM, ...argv)} </dev/zero`;
      const { status, stderr } = spawnSync('sh', ['-c', command], { cwd: directory, encoding: 'utf8' });
      expect({ status, stderr }).toEqual({
        status: 1,
        stderr: expect.stringMatching(/^Error: The password contains a NUL, [^\n]*\n$/),
      });
    }
    expect(readFileSync(path, 'utf8')).toBe(ALICE);
  });

  test('may not be empty or longer than one line', async () => {
    expect(await refused(['--password-stdin', 'passwd', 'bob'], '')).toMatch(
      /^Error: The password is empty\./,
    );
    expect(await refused(['--password-stdin', 'passwd', 'bob'], '\n')).toMatch(
      /^Error: The password is empty\./,
    );
    expect(await refused(['--password-stdin', 'passwd', 'bob'], 'pw\npw\n')).toBe(
      'Error: Standard input holds more than one line. A password is one line.\n',
    );
    expect(await refused(['--password-file', 'none', 'passwd', 'bob'])).toBe(
      'Error: Unable to open file none. No such file or directory.\n',
    );
  });

  test('is generated and printed alone by --generate', async () => {
    const password = await done(['--generate', 'passwd', 'bob']);
    expect(password).toMatch(/^[\w-]{32}\n$/);
    expect(await file.verify('bob', password.trimEnd())).toBe(true);
    const other = await done(['--generate', 'passwd', 'bob']);
    expect(other).not.toBe(password);
    expect(await file.verify('bob', other.trimEnd())).toBe(true);
  });
});

describe('--provision', () => {
  test('prints a line for each user, and adds the users to the file', async () => {
    const stdout = await done(['--provision', '--count', '5', '--prefix', 'meter/', 'passwd']);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(5);
    for (const line of lines) {
      const [, name = '', password = ''] = /^(meter\/[a-z0-9]{8}):([\w-]{32})$/.exec(line) ?? [];
      expect(await file.verify(name, password)).toBe(true);
    }
    expect(await file.users()).toHaveLength(6);
    expect(readFileSync(path, 'utf8').startsWith(ALICE)).toBe(true);
  });

  test('prints the users as JSON with --json', async () => {
    const [made, ...others] = JSON.parse(await done(['--provision', '--json', '-c', 'new']));
    expect(others).toEqual([]);
    expect(Object.keys(made)).toEqual(['username', 'password']);
    expect(await new PasswordFile(join(directory, 'new')).verify(made.username, made.password)).toBe(true);
  });

  test('adds a thousand users', async () => {
    const stdout = await done(['--provision', '--count', '1000', '-I', '1', 'passwd']);
    expect(new Set(stdout.trimEnd().split('\n')).size).toBe(1_000);
    expect(await file.users()).toHaveLength(1_001);
  });

  test('draws another name in place of one that the file or another new user has', async () => {
    const before = `device_aaaaaaaa:${HASH}\n`;
    writeFileSync(path, before);
    const preload = join(directory, 'preload.cjs');
    const draw = 'max => (max === 36 && drawn++ < 32 ? 0 : randomInt(max))';
    writeFileSync(
      preload,
      `const crypto = require('node:crypto'); const { randomInt } = crypto; let drawn = 0; crypto.randomInt = ${draw};`,
    );
    const node = ['--require', preload];
    const { status, stdout } = await run(['--provision', '--count', '3', '--json', 'passwd'], { node });
    expect(status).toBe(0);
    const logins: Array<{ username: string; password: string }> = JSON.parse(stdout);
    const names = logins.map(({ username }) => username);
    expect(new Set(['device_aaaaaaaa', ...names]).size).toBe(4);
    expect(await file.users()).toEqual(['device_aaaaaaaa', ...names]);
    expect(readFileSync(path, 'utf8').startsWith(before)).toBe(true);
    for (const { username, password } of logins) expect(await file.verify(username, password)).toBe(true);
  });

  test('refuses a prefix with a colon', async () => {
    expect(await refused(['--provision', '--prefix', 'a:', 'passwd'])).toMatch(
      /^Error: The user name contains ':'/,
    );
  });
});

describe('--import', () => {
  const LIST = '# users\n\nalice:one\r\nbob:two:2 \n  \ncarol: three';

  test('sets the users of a list, each with the text after the first colon as the password', async () => {
    writeFileSync(join(directory, 'list'), LIST);
    expect(await done(['--import', 'list', 'passwd'])).toBe(
      'Imported 3 users: 2 added, 0 updated, 1 unchanged, 0 removed.\n',
    );
    expect(readFileSync(path, 'utf8').startsWith(ALICE)).toBe(true);
    expect(await file.verify('bob', 'two:2 ')).toBe(true);
    expect(await file.verify('carol', ' three')).toBe(true);
    expect(await done(['-c', '--quiet', '--import', '-', 'new'], LIST)).toBe('');
    expect(await new PasswordFile(join(directory, 'new')).users()).toEqual(['alice', 'bob', 'carol']);
  });

  test('changes nothing if one line of the list is wrong', async () => {
    expect(await refused(['--import', '-', 'passwd'], 'bob:two\nbroken')).toBe(
      "Error: Standard input:2: There is no ':' between a user name and what follows. Nothing was changed.\n",
    );
  });
});

describe('--export and --import-hashes', () => {
  test('keep a replica of a file', async () => {
    await file.setHash('bob', HASH);
    const lines = await done(['--export', 'passwd']);
    expect(lines).toBe(`${ALICE}bob:${HASH}\n`);
    writeFileSync(join(directory, 'replica'), `# staff\nold:${HASH}\n${ALICE}`, { mode: 0o600 });
    expect(await done(['--import-hashes', '-', '--remove-others', 'replica'], lines)).toBe(
      'Imported 2 users: 1 added, 0 updated, 1 unchanged, 1 removed.\n',
    );
    expect(readFileSync(join(directory, 'replica'), 'utf8')).toBe(`# staff\n${lines}`);
    await done(['-c', '--quiet', '--import-hashes', 'replica', 'new']);
    expect(readFileSync(join(directory, 'new'), 'utf8')).toBe(lines);
  });

  test.each([
    ['', 'Error: The list holds no users. Nothing was changed.\n'],
    [`bob:${HASH}\ncarol:plain\n`, /^Error: Standard input:2: .* Nothing was changed\.\n$/],
    [`bob:${HASH}\ncarol\n`, /^Error: Standard input:2: There is no ':' .* Nothing was changed\.\n$/],
  ])('refuse the list %j, and change nothing', async (list, message) => {
    const stderr = await refused(['--import-hashes', '-', '--remove-others', 'passwd'], list);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('plain');
  });

  test('report a user whose password is in plain text, and leave that user out', async () => {
    writeFileSync(path, `${ALICE}bob:plain\n`);
    const { status, stdout, stderr } = await run(['--export', 'passwd']);
    expect({ status, stdout }).toEqual({ status: 1, stdout: ALICE });
    expect(stderr).toMatch(/^passwd:2: error: [^\n]*\n$/);
  });

  test.each([
    ['has an odd hash', `bob:${HASH.replace('$101$', '$0101$')}\n`],
    ['would be a comment', ` #bob:${HASH}\n`],
  ])('exit with 1 if they leave out a user who can log in, whose line %s', async (_what, line) => {
    writeFileSync(path, ALICE + line);
    expect((await run(['--check', 'passwd'])).status).toBe(0);
    const { status, stdout, stderr } = await run(['--export', 'passwd']);
    expect({ status, stdout }).toEqual({ status: 1, stdout: ALICE });
    expect(stderr).toMatch(/^passwd:2: warning: [^\n]*\n$/);
  });
});

describe('-D', () => {
  test('deletes several users in one commit', async () => {
    await file.setUsers([
      ['bob', 'two'],
      ['carol', 'three'],
    ]);
    expect(await done(['-D', 'passwd', 'alice', 'carol'])).toBe('');
    expect(await file.users()).toEqual(['bob']);
  });

  test('warns of names that are not in the file, and deletes the others', async () => {
    const ended = await run(['-D', 'passwd', 'nobody', 'alice', 'nobody']);
    expect(ended).toMatchObject({
      status: 1,
      stdout: '',
      stderr: 'Warning: User nobody not found in password file.\n',
    });
    expect(readFileSync(path, 'utf8')).toBe('');
  });

  test('names a user without what follows a colon, which may be a password', async () => {
    const message = 'Warning: User alice:… not found in password file.\n';
    expect(await refused(['-D', 'passwd', 'alice:sec\nret'])).toBe(message);
  });

  test('reports a missing file, whatever the names', async () => {
    for (const name of ['bad:name', 'bad\tname', 'alice']) {
      expect(await refused(['-D', 'none', name])).toBe(
        'Error: Unable to open password file none. No such file or directory.\n',
      );
    }
  });

  test('deletes names that cannot be added', async () => {
    writeFileSync(path, `${ALICE}bad\tname:${HASH}\n`);
    await done(['-D', 'passwd', 'bad\tname']);
    expect(readFileSync(path, 'utf8')).toBe(ALICE);
  });
});

describe('--verify', () => {
  test('exits with 0 if the password is right, else with 1', async () => {
    expect(await done(['--verify', '-b', 'passwd', 'alice', 'one'])).toBe(
      'User alice and this password match.\n',
    );
    expect(await done(['--verify', '--quiet', '--password-stdin', 'passwd', 'alice'], 'one\n')).toBe('');
    expect(await done(['--verify', 'passwd', 'alice'], 'one\n')).toMatch(/^Password: \n/);
    for (const [name, password] of [
      ['alice', 'two'],
      ['bob', 'one'],
      ['alice', ''],
    ] as const) {
      expect(await refused(['--verify', '-b', 'passwd', name, password])).toBe(
        `User ${name} and this password do not match.\n`,
      );
    }
  });

  test('exits with 2 if standard input holds no password', async () => {
    const { status, stdout, stderr } = await run(['--verify', '--password-stdin', 'passwd', 'alice'], {
      input: '',
    });
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^Error: The password is empty\./);
  });

  test('verifies as the broker of the release in --broker does', async () => {
    await file.setHash('bob', hashPasswordSync('two', { salt: Buffer.alloc(64, 2) }));
    await done(['--verify', '-b', 'passwd', 'bob', 'two']);
    await refused(['--verify', '--broker', '2.0', '-b', 'passwd', 'bob', 'two']);
  });

  test('warns on standard error if the broker does not load the file', async () => {
    writeFileSync(path, `${ALICE}bob:plain\n`);
    const warning = 'Warning: The broker does not load passwd. --check says why.\n';
    const right = await run(['--verify', '-b', 'passwd', 'alice', 'one']);
    expect(right).toMatchObject({
      status: 0,
      stdout: 'User alice and this password match.\n',
      stderr: warning,
    });
    expect(await refused(['--verify', '-b', 'passwd', 'alice', 'two'])).toBe(
      `${warning}User alice and this password do not match.\n`,
    );
    expect(await done(['--verify', '--broker', '2.0', '-b', 'passwd', 'alice', 'one'])).toBe(right.stdout);
    expect(await done(['--verify', '--quiet', '-b', 'passwd', 'alice', 'one'])).toBe('');
  });

  test('exits with 2 if it fails, as --check does', async () => {
    expect(await refused(['--verify', '-b', 'none', 'alice', 'one'], undefined, 2)).toBe(
      'Error: Unable to open password file none. No such file or directory.\n',
    );
    await refused(['--broker', '1.6', '--check', 'passwd'], undefined, 2);
    await refused(['--broker', '1.6', '-b', 'passwd', 'alice', '--check']);
    await refused(['--broker=2.0', '--verify', '-b', 'none', 'alice', 'one'], undefined, 2);
  });
});

describe('--list and --check', () => {
  test('--list prints the user names, with --json as JSON', async () => {
    writeFileSync(path, `# staff\n${ALICE}bob:plain\nälice:${HASH}\n`);
    expect(await done(['--list', 'passwd'])).toBe('alice\nbob\nälice\n');
    expect(JSON.parse(await done(['--list', '--json', 'passwd']))).toEqual(['alice', 'bob', 'älice']);
    expect(await refused(['--list', 'none'])).toBe(
      'Error: Unable to open password file none. No such file or directory.\n',
    );
  });

  test('--json escapes control characters, which a terminal may obey', async () => {
    const name = 'a\u009b31mb\u007f\u0001';
    writeFileSync(path, `${name}:${HASH}\n`);
    expect(await done(['--list', '--json', 'passwd'])).toBe('["a\\u009b31mb\\u007f\\u0001"]\n');
    const { stdout } = await run(['--check', '--json', 'passwd']);
    expect(JSON.parse(stdout).findings).toMatchObject([{ code: 'UNSENDABLE_NAME', username: name }]);
    expect(stdout).toMatch(/^[ -~]*\n$/);
  });

  test('--check prints nothing for a good file', async () => {
    expect(await done(['--check', 'passwd'])).toBe('');
  });

  test('--check prints findings as compilers do, with the options that are their remedies', async () => {
    writeFileSync(path, `${ALICE}bob:plain\n${ALICE}carol:${HASH}`);
    const { status, stdout, stderr } = await run(['--check', 'passwd']);
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' });
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^passwd:2: error: .*Hash it with upgrade\(\) \(on the command line -U\), or /);
    expect(lines[1]).toMatch(/^passwd:3: error: An earlier line has the same user name\./);
    expect(lines[2]).toMatch(/^passwd:4: warning: No line feed ends the file/);
    const missing = await run(['--check', 'none']);
    expect(missing).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^none: error: .*Use create\(\) \(on the command line -c\)\.\n$/),
    });
  });

  test('--check checks for the release in --broker, and exits with 0 after warnings', async () => {
    writeFileSync(path, `alice:${hashPasswordSync('one', { salt: Buffer.alloc(64, 2) })}\n`);
    expect(await done(['--check', 'passwd'])).toMatch(/^passwd:1: warning: /);
    expect(await done(['--check', '--broker', '2.1', '--quiet', 'passwd'])).toBe('');
    const { status, stdout } = await run(['--check', '--broker', '2.0', 'passwd']);
    expect({ status, stdout }).toEqual({ status: 1, stdout: expect.stringMatching(/^passwd:1: error: /) });
  });

  test('--check --json is the report of the library, which names the options that are remedies', async () => {
    writeFileSync(path, `${ALICE}bob:plain\nalice:again\n`);
    const { status, stdout } = await run(['--check', '--json', 'passwd']);
    expect(status).toBe(1);
    const report = JSON.parse(stdout);
    expect(report).toEqual(checkPasswordFile(readFileSync(path), { broker: '2.1' }));
    expect(report.findings[0]).toMatchObject({
      code: 'PLAIN_TEXT',
      message: expect.stringMatching(
        / Hash it with upgrade\(\) \(on the command line -U\), or set a new password\. /,
      ),
    });
    expect(JSON.parse((await run(['--check', '--json', 'none'])).stdout).findings).toEqual([
      expect.objectContaining({
        code: 'MISSING_FILE',
        message: expect.stringMatching(/Use create\(\) \(on the command line -c\)\.$/),
      }),
    ]);
  });

  test('accepts a symbolic link if the variable is set with which Mosquitto 2.1 follows links', async () => {
    symlinkSync('passwd', join(directory, 'link'));
    expect(await run(['--check', '--quiet', 'link'])).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('(for the program, the same variable).'),
    });
    vi.stubEnv('MOSQUITTO_UNSAFE_ALLOW_SYMLINKS', '');
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(await done(['--check', '--quiet', 'link'])).toBe('');
  });
});

describe('-c', () => {
  test('with --force replaces all users of an existing file by the new one', async () => {
    writeFileSync(path, `# staff\n${ALICE}bob:plain\n:nameless\nalice:again\n`);
    expect(await done(['-c', '--force', '-b', 'passwd', 'dave', 'four'])).toBe(
      'Adding password for user dave\n',
    );
    expect(readFileSync(path, 'utf8')).toMatch(/^# staff\ndave:\$7\$[^\n]+\n$/);
    expect(await done(['-c', '--force', '-b', 'passwd', 'dave', 'five'])).toBe(
      'Updating password for user dave\n',
    );
    expect(await file.verify('dave', 'five')).toBe(true);
    await done(['-c', '--force', '-b', 'new', 'dave', 'six']);
    expect(existsSync(join(directory, 'new'))).toBe(true);
  });

  test('creates the target of a dangling symbolic link', async () => {
    symlinkSync('target', join(directory, 'link'));
    await done(['-c', '-b', 'link', 'alice', 'one']);
    expect(readFileSync(join(directory, 'target'), 'utf8')).toMatch(/^alice:/);
  });

  test('creates a file with --generate and with --provision', async () => {
    await done(['-c', '--generate', 'a', 'alice']);
    await done(['-c', '--provision', 'b']);
    expect(await refused(['--provision', 'c'])).toBe(
      'Error: Unable to open password file c. No such file or directory.\n',
    );
    expect(await refused(['-c', '--provision', 'passwd'])).toMatch(
      /^Error: Unable to open file .* File exists\.\n$/,
    );
  });
});

test('-H, -I and --broker set algorithm, iterations and salt length of hashes', async () => {
  const hashes = async (...options: string[]) => {
    writeFileSync(path, 'bob:plain\n');
    await done([...options, '-b', 'passwd', 'alice', 'one']);
    await done([...options, '-U', 'passwd']);
    await done([...options, '--import', '-', 'passwd'], 'carol:three');
    await done([...options, '--provision', 'passwd']);
    const made = readFileSync(path, 'utf8').matchAll(/^[^:]+:(.+)$/gm);
    const kinds = [...made].map(([, hash = '']) => {
      const { salt, ...parsed } = parseHash(hash);
      return `${parsed.algorithm} ${'iterations' in parsed ? parsed.iterations : ''} ${salt.length}`;
    });
    expect(kinds).toHaveLength(4);
    return [...new Set(kinds)];
  };
  expect(await hashes()).toEqual(['pbkdf2-sha512 101 12']);
  expect(await hashes('--broker', '2.1')).toEqual(['pbkdf2-sha512 1000 64']);
  expect(await hashes('-I', '7', '--broker=2.1')).toEqual(['pbkdf2-sha512 7 64']);
  expect(await hashes('-H', 'sha512')).toEqual(['sha512  12']);
});

test('-U hashes the other lines, exits with 1 and reports lines that it cannot hash', async () => {
  writeFileSync(path, `alice:$7$101$damaged\nbob:plain\n# comment\n`);
  const { status, stdout, stderr } = await run(['-U', 'passwd']);
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toMatch(/^passwd:1: error: The hash is cut short[^\n]*\n$/);
  expect(readFileSync(path, 'utf8')).toMatch(/^alice:\$7\$101\$damaged\nbob:\$7\$101\$.*\n# comment\n$/);
});

describe('--reload', () => {
  test('changes nothing if the certificates for the confirmed login cannot be read', async () => {
    const confirm = ['--reload', 'nobody-here', '--confirm', 'localhost', '--cafile', 'none'];
    const message = 'Error: Unable to open file none. No such file or directory.\n';
    expect(await refused([...confirm, '-b', 'passwd', 'bob', 'two'])).toBe(message);
    expect(await refused([...confirm, '--provision', 'passwd'])).toBe(message);
  });

  test.each([
    ['', 'an empty file'],
    ['127.0.0.1 localhost\n', 'a file without a certificate'],
    ['-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n', 'a broken certificate'],
  ])('changes nothing if the text for --cafile is %j, %s', async text => {
    writeFileSync(join(directory, 'ca'), text);
    const confirm = ['--reload', 'nobody-here', '--confirm', 'localhost', '--cafile', 'ca'];
    expect(await refused([...confirm, '-b', 'passwd', 'bob', 'two'])).toBe(
      'Error: ca holds no certificate in PEM. Nothing was changed.\n',
    );
  });

  test('exits with 3 if the reload after an edit fails', async () => {
    const ended = await run(['--reload', 'nobody-here', '-b', 'passwd', 'bob', 'two']);
    expect(ended).toMatchObject({ status: 3, stdout: 'Adding password for user bob\n' });
    expect(ended.stderr).toMatch(
      /^Error: None of the \d+ processes here is called nobody-here\. .* name its process, mosquitto, /,
    );
    expect(ended.stderr).toMatch(
      /\nThe password file holds the change\. The broker has not read the file\.\n$/,
    );
    expect(await file.verify('bob', 'two')).toBe(true);
  });

  test.each([
    ['a password that a user has', ['-b', 'passwd', 'alice', 'one'], ''],
    [
      'a name that is not there',
      ['-D', 'passwd', 'nobody'],
      'Warning: User nobody not found in password file.\n',
    ],
  ])(
    'exits with 3 if the reload after %s fails, and does not speak of a change',
    async (_what, argv, warning) => {
      const { status, stderr } = await run(['--reload', './none.pid', ...argv]);
      const [error, ...others] = stderr.slice(warning.length).split('\n');
      expect(stderr.slice(0, warning.length)).toBe(warning);
      expect(error).toMatch(/^Error: The pid file \.\/none\.pid cannot be read/);
      expect({ status, others }).toEqual({ status: 3, others: ['The broker has not read the file.', ''] });
      expect(readFileSync(path, 'utf8')).toBe(ALICE);
    },
  );

  needs(linux, root, perl).describe('a broker whose user may read the file', () => {
    test.each([0, 54_321])(
      'reads the file of user %i after each call, even if nothing was changed',
      async uid => {
        const name = uniqueName();
        const broker = await standIn({ name, as: { user: 54_322 } });
        chmodSync(directory, 0o755);
        chownSync(path, uid, 54_322);
        chmodSync(path, 0o640);
        for (let calls = 0; calls < 2; calls++) {
          await done(['--quiet', '--reload', name, '-b', 'passwd', 'bob', 'two']);
          expect(await broker.hangups()).toBe(1);
        }
      },
    );
  });

  needs(linux, perl).test('that is interrupted ends without waiting for the broker', async () => {
    const broker = await standIn({ work: 60_000 });
    // Node emits this event if the program does not exit, but waits for nothing any more.
    const preload = join(directory, 'preload.cjs');
    writeFileSync(preload, "process.on('beforeExit', () => console.error('It has waited.'));");
    const ended = await run(['--reload', String(broker.pid), '-b', 'passwd', 'bob', 'two'], {
      node: ['--require', preload],
      onStart: async child => {
        await broker.hangup();
        child.kill('SIGINT');
      },
    });
    expect(ended).toEqual({
      status: 3,
      signal: null,
      stdout: 'Adding password for user bob\n',
      stderr: 'The password file holds the change. The broker has not read the file.\n',
    });
    expect(await file.verify('bob', 'two')).toBe(true);
    expect(readdirSync(directory).sort()).toEqual(['passwd', 'preload.cjs']);
  });

  test('exits with 3 and does not try a reload if the broker would not load the file', async () => {
    writeFileSync(path, `${ALICE}bob:plain\n`);
    const { status, stderr } = await run(['--reload', 'nobody-here', '-D', 'passwd', 'alice']);
    expect(status).toBe(3);
    expect(stderr).toMatch(
      /^Error: The broker was not made to reload .*\/passwd, which it would not load: line 1: .*\.\n.* The broker has not read the file\.\n$/,
    );
  });

  test.each([
    ['--reload', '999999999', /^Error: .*999999999/],
    ['--reload', './none', /^Error: .*\.\/none/],
    ['--reload', 'none.pid', /^Error: .*none\.pid/],
  ])('exits with 3 for %s %s, which is no broker', async (option, broker, message) => {
    const { status, stderr } = await run([option, broker, '-b', 'passwd', 'bob', 'two']);
    expect(status).toBe(3);
    expect(stderr).toMatch(message);
  });
});

test('wrong arguments print the usage on standard output and the reason on standard error', async () => {
  const { status, stdout, stderr } = await run(['-U', 'passwd', 'alice']);
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: 'Error: Too many arguments. Options go before the password file.\n',
  });
  expect(stdout).toMatch(
    /\n\nUsage: mosquitto-passwd-ts .*\n\nmosquitto-passwd-ts --help explains all\.\n$/s,
  );
  expect(readFileSync(path, 'utf8')).toBe(ALICE);
});

test('arguments that are not UTF-8 are refused', async () => {
  const message = 'Error: An argument is not valid UTF-8. Use a shell or terminal that speaks UTF-8.\n';
  const latin1 = (line: string) => {
    const ended = spawnSync('sh', ['-c', `set -- "$(printf '\\351')"; ${line}`], { cwd: directory });
    return { status: ended.status, stdout: String(ended.stdout), stderr: String(ended.stderr) };
  };
  const command = quoted(process.execPath, PROGRAM);
  expect(latin1(`${command} -c -b "new$1" a x`)).toEqual({
    status: 1,
    stdout: '',
    stderr: message,
  });
  for (const rest of [
    '--provision --prefix "$1" passwd',
    '-b passwd "$1" x',
    '-b passwd a "$1"',
    '-D passwd "$1"',
  ]) {
    expect(latin1(`${command} ${rest}`)).toMatchObject({ status: 1, stderr: message });
  }
  expect(latin1(`${command} --verify -b passwd "$1" x`)).toMatchObject({ status: 2, stderr: message });
  expect(readdirSync(directory)).toEqual(['passwd']);
  expect(readFileSync(path, 'utf8')).toBe(ALICE);
});

test('a path below a file is an error with the text of ENOTDIR', async () => {
  expect(await refused(['-b', 'passwd/x', 'a', 'b'])).toBe(
    'Error: Unable to open password file passwd/x. Not a directory.\n',
  );
});

test('--version prints the version of the package', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  expect(await done(['--version'])).toBe(`mosquitto-passwd-ts ${version}\n`);
});

describe('standard output', () => {
  const shell = (command: string) => spawnSync('sh', ['-c', command], { cwd: directory, encoding: 'utf8' });
  const command = (...argv: string[]) => quoted(process.execPath, PROGRAM, ...argv);

  test('may be closed by the reader before its end', async () => {
    await file.update(draft => {
      for (let i = 0; i < 10_000; i++) draft.set(`user_with_a_long_name_${i}`, HASH);
    });
    const { stdout, stderr } = shell(`${command('--list', 'passwd')} | head -1`);
    expect({ stdout, stderr }).toEqual({ stdout: 'alice\n', stderr: '' });
  });

  needs(program('mkfifo')).describe('without a reader', () => {
    test.each([
      ['--verify', ['--verify', '-b', 'passwd', 'alice', 'one'], 2],
      ['--check', ['--check', '--json', 'passwd'], 2],
      ['--list', ['--list', 'passwd'], 1],
    ])('is a failure of %s, and no answer', (_option, argv, status) => {
      // Descriptor 4 writes to a pipe that no descriptor reads any more.
      const closed = 'mkfifo pipe; exec 3<>pipe; exec 4>pipe; exec 3>&-';
      expect(shell(`${closed}; ${command(...argv)} >&4`)).toMatchObject({ status, stderr: '' });
    });
  });

  const full = { what: '/dev/full', isProgram: false, met: () => existsSync('/dev/full') };
  needs(full).test('that cannot take a generated password causes exit status 3', () => {
    const { status, stderr } = shell(`${command('--generate', 'passwd', 'bob')} >/dev/full`);
    expect({ status, stderr }).toEqual({
      status: 3,
      stderr: 'Error: Passwords were set, but could not be printed. Set others for bob.\n',
    });
    const provisioned = shell(`${command('--provision', '--count', '2', 'passwd')} >/dev/full`);
    expect(provisioned.stderr).toMatch(/ Set others for device_[a-z0-9]+, device_[a-z0-9]+\.\n$/);
    expect(shell(`${command('-b', 'passwd', 'bob', 'two')} >/dev/full`)).toMatchObject({
      status: 0,
      stderr: '',
    });
    expect(shell(`${command('--list', 'passwd')} >/dev/full`)).toMatchObject({
      status: 1,
      stderr: 'Error: Cannot write the output: ENOSPC.\n',
    });
  });
});

needs(linux, perl).test(
  'all output reaches the reader of a pipe that another program has made non-blocking',
  async () => {
    const text = Array.from({ length: 2_000 }, (_, i) => `user${i}:${HASH}\n`).join('');
    writeFileSync(path, text);
    const unblock = 'use Fcntl; fcntl(STDOUT, F_SETFL, O_WRONLY | O_NONBLOCK)';
    // It reads when the pipe is full (FIONREAD).
    const read =
      'do { ioctl STDIN, 0x541B, $n = pack "L", 0 } until unpack("L", $n) >= 65536; print while <STDIN>';
    const exporting = quoted(process.execPath, PROGRAM, '--export', 'passwd');
    const script = `(${quoted('perl', '-e', unblock)}; ${exporting}) | ${quoted('perl', '-e', read)}`;
    const { stdout, stderr } = spawnSync('sh', ['-c', script], { cwd: directory, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(stdout === text).toBe(true);
  },
);

needs(linux, ...tracing).describe('where the directory cannot be synced', () => {
  test.each([
    ['--generate', ['passwd', 'alice']],
    ['--provision', ['passwd']],
  ])('%s prints the password, because the file holds it', async (option, operands) => {
    const inject = ['-f', '-qq', '-o', '/dev/null', '-P', directory, '-e', 'inject=fsync:error=EIO'];
    const argv = [...inject, process.execPath, PROGRAM, option, ...operands];
    const { status, stdout, stderr } = spawnSync('strace', argv, { cwd: directory, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 3, stderr: expect.stringContaining('could not be synced') });
    const [, name = 'alice', password = ''] = /^(?:(.*):)?([\w-]{32})\n$/.exec(stdout) ?? [];
    expect(await file.verify(name, password)).toBe(true);
  });
});

test.each([
  ['--generate', ['passwd', 'bob']],
  ['--provision', ['passwd']],
])('%s prints no password if the file cannot be edited', async (option, operands) => {
  linkSync(path, join(directory, 'second-name'));
  expect(await refused([option, ...operands])).toContain('has 2 hard links');
});

describe('generated passwords in a file', () => {
  const shell = (command: string) => spawnSync('sh', ['-c', command], { cwd: directory, encoding: 'utf8' });
  const command = (...argv: string[]) => quoted(process.execPath, PROGRAM, ...argv);

  test.each([
    ['--generate', ['passwd', 'bob']],
    ['--provision', ['passwd']],
  ])('%s warns if other users may read the file', async (option, operands) => {
    for (const [umask, mode] of [
      ['022', '0644'],
      ['027', '0640'],
    ]) {
      expect(shell(`umask ${umask}; ${command(option, ...operands)} >out-${umask}`)).toMatchObject({
        status: 0,
        stderr: `Warning: Passwords are printed into a file of mode ${mode}, which other users may read. Use umask 077 before, or chmod 600 now.\n`,
      });
    }
    for (const silent of [
      `umask 077; ${command(option, ...operands)} >private`,
      `umask 022; ${command(option, '--quiet', ...operands)} >quiet`,
      `umask 022; ${command(option, ...operands)} | cat >piped`,
    ]) {
      expect(shell(silent)).toMatchObject({ status: 0, stderr: '' });
    }
  });
});

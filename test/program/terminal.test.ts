/** The program on a pseudo-terminal: prompts, signals, and what the screen shows. */
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { beforeEach, expect, test } from 'vitest';
import { PROGRAM } from '../support/cli.js';
import { testDirectory } from '../support/directory.js';
import { linux, needs, program, root } from '../support/require.js';
import { onTerminal, pseudoTerminal, quoted } from '../support/terminal.js';

const SECRET = 'correct horse';
const ALICE = `alice:$7$101$AQIDBAUGBwgJCgsM$${'A'.repeat(86)}==\n`;
const ENTER = '\r';
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const CTRL_BACKSLASH = '\u001c';
const CTRL_Z = '\u001a';
const BACKSPACE = '\u007f';

let directory: string;
let path: string;

beforeEach(() => {
  directory = testDirectory();
  path = join(directory, 'passwd');
  writeFileSync(path, ALICE);
});

function command(...argv: string[]): string {
  return quoted(process.execPath, PROGRAM, ...argv);
}

/** Prints the settings of the terminal. `SANE`: it echoes, reads line by line, and makes signals of keys. */
const STATE = 'stty -a | tr " ;" "\\n\\n" | grep -xE -- "-?(echo|icanon|isig)" | sort | tr "\\n" " "';
const SANE = 'echo icanon isig ';

needs(pseudoTerminal).describe('on a terminal', () => {
  test('a password that is typed shows if the program does not hide it, which this harness would notice', async () => {
    const { screen } = await onTerminal('echo go; read line', [['go', `${SECRET}\n`]]);
    expect(screen).toContain(SECRET);
  });

  test('the prompts hide the password that is typed', async () => {
    const { screen } = await onTerminal(`${command(path, 'bob')}; echo "status $?"; ${STATE}`, [
      ['Password: ', SECRET + ENTER],
      ['Reenter password: ', SECRET + ENTER],
    ]);
    expect(screen).toBe(`Password: \nReenter password: \nAdding password for user bob\nstatus 0\n${SANE}`);
    expect(await new PasswordFile(path).verify('bob', SECRET)).toBe(true);
  });

  test.each(['dumb', 'xterm'])(
    'passwords may be typed before the prompt, and a backspace corrects them, on a terminal of type %s',
    async type => {
      const typed = `x${BACKSPACE}${SECRET}${ENTER}${SECRET}${ENTER}`;
      const { screen } = await onTerminal(`TERM=${type} ${command(path, 'bob')}`, [['Password: ', typed]]);
      expect(screen).not.toContain('horse');
      expect(await new PasswordFile(path).verify('bob', SECRET)).toBe(true);
    },
  );

  test.each([
    ['ctrl-C at the first prompt', CTRL_C, ['Password: ']],
    ['ctrl-C at the second prompt', CTRL_C, ['Password: ', 'Reenter password: ']],
    ['ctrl-\\ at a prompt', CTRL_BACKSLASH, ['Password: ']],
  ])('%s leaves the terminal sane and the file as it was', async (_title, key, prompts) => {
    const typed = prompts.map(
      (prompt, i) => [prompt, SECRET + (i === prompts.length - 1 ? key : ENTER)] as [string, string],
    );
    const { screen } = await onTerminal(`${command(path, 'bob')}; echo "status $?"; ${STATE}`, typed);
    expect(screen).toBe(`${prompts.join('\n')}\nstatus 130\n${SANE}`);
    expect(readFileSync(path, 'utf8')).toBe(ALICE);
    expect(readdirSync(directory)).toEqual(['passwd']);
  });

  test('ctrl-Z at a prompt does nothing, and the password that follows is hidden', async () => {
    const typed = CTRL_Z + SECRET + ENTER;
    const { screen } = await onTerminal(`${command(path, 'bob')}; echo "status $?"; ${STATE}`, [
      ['Password: ', typed],
      ['Reenter password: ', typed],
    ]);
    expect(screen).toBe(`Password: \nReenter password: \nAdding password for user bob\nstatus 0\n${SANE}`);
    expect(await new PasswordFile(path).verify('bob', SECRET)).toBe(true);
  });

  test.each([
    ['--verify', 2],
    ['--quiet', 1],
  ])(
    '%s exits with %i if the program ends at the prompt because it waits for no event',
    async (option, status) => {
      const preload = join(directory, 'unref.cjs');
      writeFileSync(preload, 'process.stdin.unref();');
      const program = quoted(process.execPath, '--require', preload, PROGRAM, option, path, 'alice');
      expect((await onTerminal(program)).status).toBe(status);
    },
  );

  test.each([
    ['SIGHUP', 129],
    ['SIGTERM', 143],
  ] as const)(
    '%s at a prompt restores the terminal and leaves the file as it was',
    async (signal, status) => {
      const pidFile = join(directory, 'pid');
      const program = `sh -c ${quoted(`echo $$ > ${quoted(pidFile)}; exec ${command(path, 'bob')}`)}`;
      const kill = () => process.kill(Number(readFileSync(pidFile, 'utf8')), signal);
      const { screen } = await onTerminal(`${program}; echo "status $?"; ${STATE}`, [['Password: ', kill]]);
      // The shell reports a hangup.
      expect(screen.replace(/^.*\bHangup\b.*\n/m, '')).toBe(`Password: \nstatus ${status}\n${SANE}`);
      expect(readFileSync(path, 'utf8')).toBe(ALICE);
    },
  );

  needs(program('mkfifo')).test(
    'a prompt whose terminal goes away ends by SIGHUP, without a message',
    async () => {
      const preload = join(directory, 'exit.cjs');
      writeFileSync(preload, "process.on('exit', code => console.error('exit', code));");
      const errors = join(directory, 'errors');
      execFileSync('mkfifo', [errors]);
      const reader = spawn('cat', [errors]);
      const text = reader.stdout.setEncoding('utf8').toArray();
      const pidFile = join(directory, 'pid');
      const program = quoted(process.execPath, '--require', preload, PROGRAM, path, 'bob');
      const line = `echo $PPID >${quoted(pidFile)}; exec ${program} 2>${quoted(errors)}`;
      const close = () => process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
      await onTerminal(line, [['Password: ', close]]);
      expect((await text).join('')).toBe('');
      expect(readFileSync(path, 'utf8')).toBe(ALICE);
    },
  );

  needs(linux).test(
    'a prompt hides the password again after the shell has continued the program',
    async () => {
      const preload = join(directory, 'continued.cjs');
      const script = "process.on('SIGCONT', () => setImmediate(() => process.stdout.write('continued')));";
      writeFileSync(
        preload,
        `require('node:fs').writeFileSync('${directory}/pid', String(process.pid)); ${script}`,
      );
      const resume = () => {
        const pid = Number(readFileSync(join(directory, 'pid'), 'utf8'));
        execFileSync('stty', ['-F', readlinkSync(`/proc/${pid}/fd/0`), 'sane']);
        process.kill(pid, 'SIGCONT');
      };
      const program = quoted(process.execPath, '--require', preload, PROGRAM, path, 'bob');
      const { screen } = await onTerminal(`${program}; ${STATE}`, [
        ['Password: ', resume],
        ['continued', SECRET + ENTER],
        ['Reenter password: ', SECRET + ENTER],
      ]);
      expect(screen).toBe(`Password: continued\nReenter password: \nAdding password for user bob\n${SANE}`);
    },
  );

  test.each([
    ['two different passwords', [SECRET + ENTER, `other${ENTER}`], 2, 'Passwords do not match.'],
    ['nothing', [ENTER], 1, 'Empty password.'],
    ['the end of the input', [CTRL_D], 1, 'Empty password.'],
  ] as const)('the prompts refuse %s', async (_title, answers, status, message) => {
    const prompts = ['Password: ', 'Reenter password: '];
    const steps = answers.map((typed, i) => [prompts[i], typed] as [string, string]);
    const ended = await onTerminal(command(path, 'bob'), steps);
    expect(ended.screen).toMatch(new RegExp(`\nError: ${message}\n$`));
    expect(ended.status).toBe(status);
    expect(readFileSync(path, 'utf8')).toBe(ALICE);
  });

  test('--verify prompts once', async () => {
    await new PasswordFile(path).setUser('bob', SECRET);
    const { screen, status } = await onTerminal(command('--verify', path, 'bob'), [
      ['Password: ', SECRET + ENTER],
    ]);
    expect(screen).toBe('Password: \nUser bob and this password match.\n');
    expect(status).toBe(0);
  });

  test.each([
    ['the printed line goes', ['-c', '-', 'bob'], /^bob:\$7\$101\$[^\n]*\n$/],
    ['the messages go', ['passwd', 'bob'], /^Adding password for user bob\n$/],
  ])('prompts are on the terminal if %s to a file', async (_title, argv, wanted) => {
    const output = join(directory, 'output');
    const line = `cd ${quoted(directory)}; ${command(...argv)} >${quoted(output)}`;
    const { screen } = await onTerminal(line, [
      ['Password: ', SECRET + ENTER],
      ['Reenter password: ', SECRET + ENTER],
    ]);
    expect(screen).toBe('Password: \nReenter password: \n');
    expect(readFileSync(output, 'utf8')).toMatch(wanted);
  });

  test('no password is asked for if the file cannot be used', async () => {
    const missing = await onTerminal(command(join(directory, 'missing'), 'bob'));
    expect(missing.screen).toMatch(
      /^Error: Unable to open password file .*\. No such file or directory\.\n$/,
    );
    const present = await onTerminal(command('-c', path, 'bob'));
    expect(present.screen).toMatch(/^Error: Unable to open file .* for writing\. File exists\.\n$/);
  });

  needs(root).test(
    '-c warns that only root can read the file, only if that is so, and not with --quiet',
    async () => {
      const create = (name: string, ...options: string[]) =>
        onTerminal(command('-c', ...options, join(directory, name), 'bob'), [
          ['Password: ', SECRET + ENTER],
          ['Reenter password: ', SECRET + ENTER],
        ]);
      expect((await create('of-root')).screen).toMatch(
        /\nAdding password for user bob\nWarning: Only root can read .*of-root\. .* for example: chown mosquitto /,
      );
      expect((await create('quietly', '--quiet')).screen).not.toContain('Warning');
      chownSync(directory, 1883, 1883);
      expect((await create('of-broker')).screen).not.toContain('Warning');
    },
  );

  test('-b prints one warning, and only on a terminal', async () => {
    const { screen } = await onTerminal(command('-b', path, 'bob', SECRET));
    expect(screen.match(/Warning/g)).toHaveLength(1);
    expect(screen).toMatch(/^Warning: With -b .* --password-stdin, .*\nAdding password for user bob\n$/);
    const quiet = await onTerminal(command('--quiet', '-b', path, 'bob', SECRET));
    expect(quiet.screen).toBe('');
    const errors = join(directory, 'errors');
    await onTerminal(`${command('-b', path, 'bob', SECRET)} 2>${quoted(errors)}`);
    expect(readFileSync(errors, 'utf8')).toBe('');
  });

  test.each([[['--password-stdin']], [['--password-file', '-']]])(
    '%j is refused on a terminal, which would show the password',
    async options => {
      const { screen, status } = await onTerminal(command(...options, path, 'bob'));
      expect(screen).toBe(`Error: ${options.join(' ')} is for a pipe or file. Leave it out to be asked.\n`);
      expect(status).toBe(1);
    },
  );

  test('hashing many users shows its progress, which is erased at the end', async () => {
    writeFileSync(path, plainLines(3_000));
    const { screen, status } = await onTerminal(command('-U', '-I', '1', path));
    const [first, ...further] = screen.split('\r');
    expect(first).toBe('');
    expect(further.pop()).toBe('\u001b[K');
    expect(further.length).toBeGreaterThan(0);
    for (const each of further) expect(each).toMatch(/^Hashed \d+ of 3000 passwords$/);
    expect(status).toBe(0);
    writeFileSync(path, plainLines(100));
    expect((await onTerminal(command('-U', path))).screen).toBe('');
  });

  test('ctrl-C during hashing leaves the file as it was, and nothing beside it', async () => {
    const lines = plainLines(20_000);
    writeFileSync(path, lines);
    const { screen, status } = await onTerminal(command('-U', path), [['Hashed', CTRL_C]]);
    expect(status).toBe(130);
    expect(screen).not.toContain('Error');
    expect(readFileSync(path, 'utf8')).toBe(lines);
    expect(readdirSync(directory)).toEqual(['passwd']);
  });

  test('control characters in names do not reach the terminal', async () => {
    const evil = 'evil\u001b[2J\u009b2J';
    writeFileSync(path, `${evil}:${ALICE.slice('alice:'.length)}`);
    expect((await onTerminal(command('--list', path))).screen).toBe('evil?[2J?2J\n');
    const { screen } = await onTerminal(
      `${command('-D', path, `${evil}!`)} >${quoted(join(directory, 'output'))}`,
    );
    expect(screen).toBe('Warning: User evil?[2J?2J! not found in password file.\n');
  });
});

function plainLines(count: number): string {
  return Array.from({ length: count }, (_, i) => `user${i}:password${i}\n`).join('');
}

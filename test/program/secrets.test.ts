/** No output of the program and no list of processes shows a password, but the output of --generate and --provision. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { hashPasswordSync } from 'mosquitto-passwd-ts';
import { beforeEach, expect, test } from 'vitest';
import { call, type Ended, PROGRAM } from '../support/cli.js';
import { testDirectory } from '../support/directory.js';
import { needs } from '../support/require.js';

const SECRET = 'Tr0ub4dor';
let directory: string;

beforeEach(() => {
  directory = testDirectory();
  writeFileSync(join(directory, 'passwd'), `alice:${hashPasswordSync(SECRET)}\nbob:${SECRET}\n`);
  writeFileSync(join(directory, 'secret'), SECRET);
  writeFileSync(join(directory, 'two-lines'), `${SECRET}\n${SECRET}\n`);
  writeFileSync(join(directory, 'list'), `carol:${SECRET}\n`);
  writeFileSync(join(directory, 'no-colon'), `${SECRET}\n`);
  writeFileSync(join(directory, 'no-name'), `:${SECRET}\n`);
  writeFileSync(join(directory, 'nul'), `carol:${SECRET}\0\n`);
});

/** Calls of all kinds, right and wrong ones, each with the password in its arguments, input or files. */
const CALLS: Array<[argv: string[], input?: string]> = [
  [['-b', 'passwd', 'alice', SECRET]],
  [['-c', '-b', '-', 'alice', SECRET]],
  [['-c', '-b', 'passwd', 'alice', SECRET]],
  [['-c', 'passwd', 'alice', SECRET]],
  [['passwd', 'alice', SECRET]],
  [['-b', 'passwd', 'al:ice', SECRET]],
  [['-b', 'passwd', 'alice', SECRET, '--quiet']],
  [['-D', 'passwd', 'alice', '--quiet']],
  [['-D', 'passwd', `alice:${SECRET}`]],
  [['--verify', '-b', 'passwd', `alice:${SECRET}`, 'x']],
  [['--verify', 'passwd', `alice:${SECRET}`], 'x\n'],
  [['passwd', `alice:${SECRET}`]],
  [[`-p${SECRET}`, 'passwd', 'alice']],
  [[`--password=${SECRET}`, 'passwd', 'alice']],
  [[`--generate=${SECRET}`, 'passwd', 'alice']],
  [['-b', 'passwd', 'alice', `${SECRET}\ufffd`]],
  [['passwd', 'alice'], `${SECRET}\n${SECRET}\n`],
  [['passwd', 'alice'], `${SECRET}\nother\n`],
  [['passwd', 'alice'], SECRET],
  [['--password-stdin', 'passwd', 'alice'], SECRET],
  [['--password-stdin', 'passwd', 'alice'], `${SECRET}\n\n`],
  [['--password-stdin', 'passwd', 'alice'], `${SECRET}\0`],
  [['--password-file', 'secret', 'passwd', 'alice']],
  [['--password-file', 'two-lines', 'passwd', 'alice']],
  [['--import', 'list', 'passwd']],
  [['--import', 'no-colon', 'passwd']],
  [['--import', 'no-name', 'passwd']],
  [['--import', 'nul', 'passwd']],
  [['--import', '-', 'passwd'], `carol:${SECRET}\n`],
  [['--verify', '-b', 'passwd', 'alice', SECRET]],
  [['--verify', '-b', 'passwd', 'bob', SECRET]],
  [['--check', 'passwd']],
  [['--check', '--json', 'passwd']],
  [['--list', 'passwd']],
  [['--reload', 'nobody-here', '-b', 'passwd', 'alice', SECRET]],
  [['--reload', 'nobody-here', '-D', 'passwd', 'alice']],
  [['-U', 'passwd']],
];

test.each(CALLS)('the output of the call %j does not hold the password', async (argv, input) => {
  const { stdout, stderr } = await call(argv, { cwd: directory, input });
  expect(stdout + stderr).not.toContain(SECRET);
});

const proc = { what: '/proc', isProgram: false, met: () => readFileSync('/proc/self/cmdline').length > 0 };

needs(proc).describe('the process list', () => {
  test.each([
    ['standard input', ['--password-stdin', 'passwd', 'alice'], SECRET],
    ['a prompt', ['passwd', 'alice'], `${SECRET}\n${SECRET}\n`],
    ['a file', ['--password-file', 'secret', 'passwd', 'alice'], undefined],
    ['a list', ['--import', '-', 'passwd'], `alice:${SECRET}\n`],
    ['--generate', ['--generate', 'passwd', 'alice'], undefined],
    ['--provision', ['--provision', 'passwd'], undefined],
  ])('does not hold a password from %s', async (_title, argv, input) => {
    const { ended, seen } = await watched(['-I', '300000', ...argv], input);
    expect(ended.status).toBe(0);
    expect(seen).toContain(PROGRAM);
    expect(seen).not.toContain(SECRET);
    for (const generated of ended.stdout.match(/[\w-]{32}/g) ?? []) expect(seen).not.toContain(generated);
  });
});

/** Makes a call, and reads its command line and environment in /proc again and again until it ends. */
async function watched(argv: string[], input: string | undefined): Promise<{ ended: Ended; seen: string }> {
  let seen = '';
  let isRunning = true;
  let watching: Promise<void> | undefined;
  const watch = async (pid: number) => {
    while (isRunning) {
      for (const name of ['cmdline', 'environ']) seen += readFileSync(`/proc/${pid}/${name}`, 'latin1');
      await pause(10);
    }
  };
  const ended = await call(argv, {
    cwd: directory,
    input,
    onStart: ({ pid }) => {
      watching = watch(pid as number).catch(() => undefined);
    },
  });
  isRunning = false;
  await watching;
  return { ended, seen };
}

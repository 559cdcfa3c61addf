/** The program is ended by signals, as by ctrl-C, while it reads, waits or writes. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { hashPasswordSync } from 'mosquitto-passwd-ts';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { tempFileName } from '../../src/storage/lock-owner.js';
import { type CallOptions, call, type Ended, PROGRAM } from '../support/cli.js';
import { testDirectory } from '../support/directory.js';
import { needs, program } from '../support/require.js';
import { tracing } from '../support/strace.js';

const HASH = hashPasswordSync('one', { salt: Buffer.alloc(12, 1) });
const ALICE = `alice:${HASH}\n`;
const BOB = `bob:${HASH}\n`;
const REPLACE = ['--remove-others', '--import-hashes'];

let directory: string;
let path: string;

beforeEach(() => {
  directory = testDirectory();
  path = join(directory, 'passwd');
  writeFileSync(path, ALICE);
});

/** Runs the program, which must leave the password file as it was. */
async function interrupted(argv: readonly string[], options: CallOptions): Promise<Ended> {
  const ended = await call(argv, { cwd: directory, ...options });
  expect(readFileSync(path, 'utf8')).toBe(ALICE);
  return ended;
}

/** How a signal ends the program that catches none. */
function killedBy(signal: NodeJS.Signals): Ended {
  return { status: null, signal, stdout: '', stderr: '' };
}

/** Opens a FIFO for writing, which waits until the program has opened it. */
async function fifoWriter(fifo: string): Promise<Writable> {
  const child = spawn('sh', ['-c', 'exec 3>"$0" && echo open && exec cat >&3', fifo]);
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  child.stdin.on('error', () => undefined);
  await once(child.stdout, 'data');
  return child.stdin;
}

describe('a list that is cut off because its writer got the same signal', () => {
  needs(program('mkfifo')).describe('is not taken for complete', () => {
    test.each(['SIGHUP', 'SIGINT', 'SIGTERM'] as const)(
      'if %s comes before the end of a FIFO',
      async signal => {
        const fifo = join(directory, 'list');
        execFileSync('mkfifo', [fifo]);
        const ended = await interrupted([...REPLACE, fifo, 'passwd'], {
          onStart: async child => {
            const writer = await fifoWriter(fifo);
            child.kill(signal);
            writer.end(BOB);
          },
        });
        expect(ended).toEqual(killedBy(signal));
      },
    );
  });

  test.each([
    [[...REPLACE, '-', 'passwd'], BOB],
    [['--password-stdin', 'passwd', 'alice'], 'pass'],
  ])('is not taken for complete if the signal comes just after the end of a pipe: %j', async (argv, text) => {
    const preload = join(directory, 'preload.cjs');
    const kill = "setTimeout(() => process.kill(process.pid, 'SIGINT'), 1)";
    writeFileSync(preload, `process.stdin.on('end', () => ${kill});`);
    const ended = await interrupted(argv, { node: ['--require', preload], input: text });
    expect(ended).toEqual(killedBy('SIGINT'));
  });
});

describe('a signal while standard input stays open', () => {
  test.each(['--import', '--import-hashes'])('ends %s', async option => {
    const ended = await interrupted([option, '-', 'passwd'], {
      keepsInput: true,
      // All of this is written only if the program reads it.
      onStart: child => child.stdin?.write('# users\n'.repeat(200_000), () => child.kill('SIGHUP')),
    });
    expect(ended).toEqual(killedBy('SIGHUP'));
  });

  test('ends a prompt', async () => {
    const ended = await interrupted(['passwd', 'bob'], {
      keepsInput: true,
      onStart: child => child.stdout?.once('data', () => child.kill('SIGHUP')),
    });
    expect(ended).toEqual({ ...killedBy('SIGHUP'), stdout: 'Password: ' });
  });
});

test('a signal ends --export while the reader of its output has stalled', async () => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `device_${i}:${HASH}\n`).join('');
  writeFileSync(path, lines);
  const { status, signal } = await call(['--export', path], {
    onStart: child => {
      child.stdout?.once('data', () => {
        child.stdout?.pause();
        child.kill('SIGTERM');
      });
      child.once('exit', () => child.stdout?.resume());
    },
  });
  expect({ status, signal }).toEqual({ status: null, signal: 'SIGTERM' });
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)(
  '%s during the wait for another writer ends the program, which leaves nothing behind',
  async (name, status) => {
    mkdirSync(`${path}.writer`);
    writeFileSync(join(`${path}.writer`, tempFileName('0123456789abcdef')), '');
    const isWaiting = () => readdirSync(directory).length > 2;
    const ended = await interrupted(['-b', 'passwd', 'bob', 'two'], {
      onStart: async child => {
        while (!isWaiting() && child.exitCode === null) await pause(5);
        child.kill(name);
      },
    });
    expect(ended).toEqual({ status, signal: null, stdout: '', stderr: '' });
    expect(readdirSync(directory).sort()).toEqual(['passwd', 'passwd.writer']);
  },
);

needs(...tracing).test(
  'from its message of success to its end, the program does not let signals end it',
  () => {
    const log = join(directory, 'log');
    const traced = ['-f', '-s', '99', '-o', log, '-e', 'trace=write,rt_sigaction,exit_group'];
    const argv = [PROGRAM, '-b', path, 'bob', 'two'];
    expect(spawnSync('strace', [...traced, process.execPath, ...argv]).status).toBe(0);
    const [before, after] = readFileSync(log, 'latin1').split('Adding password for user bob');
    for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
      expect(before).toContain(`rt_sigaction(${signal}, {sa_handler=0x`);
      expect(after).not.toContain(`rt_sigaction(${signal}, {sa_handler=SIG_DFL`);
    }
    expect(after).toContain('exit_group(0)');
  },
);

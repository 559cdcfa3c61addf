/** Directories and mounts that are removed when the test that made them has ended, however it ended. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { undoing } from './leftovers.js';

function undoAfterTest(undo: () => void): void {
  const undone = undoing(undo);
  onTestFinished(() => undone[Symbol.dispose]());
}

/** An empty directory that all users can look into. */
export function testDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'passwd-'));
  undoAfterTest(() => {
    try {
      rmSync(directory, { recursive: true, force: true });
    } catch {
      // The test may have made it read-only.
      run('chmod', '-R', 'u+rwX', directory);
      rmSync(directory, { recursive: true, force: true });
    }
  });
  chmodSync(directory, 0o755);
  return directory;
}

/** `mount` with arguments, the last of which is where. */
export function mount(...args: [string, ...string[]]): void {
  run('mount', ...args);
  // Unmounted lazily, because a PasswordFile keeps the file open that it has read.
  undoAfterTest(() => run('umount', '-l', args.at(-1) as string));
}

/** Runs a command; throws if it fails. */
export function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`);
}

/** Expects that a directory contains exactly these names. */
export function expectOnly(directory: string, ...names: string[]): void {
  expect(readdirSync(directory).sort()).toEqual(names.sort());
}

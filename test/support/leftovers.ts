/** What must not outlive a test, even one that fails or is broken off: processes, mounts, directories. */
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Undo = () => void;
const left = new Set<Undo>();

function undoAll(): void {
  for (const undo of [...left].reverse()) {
    left.delete(undo);
    try {
      undo();
    } catch {
      // The others still have to go.
    }
  }
}

process.once('exit', undoAll);
// Vitest ends a worker by the first where a test still waits; the second is Ctrl-C.
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    undoAll();
    process.kill(process.pid, signal);
  });
}

/** Has something undone: when this is disposed of, and else when the process ends. Synchronous. */
export function undoing(undo: Undo): Disposable {
  left.add(undo);
  return {
    [Symbol.dispose]() {
      if (left.delete(undo)) undo();
    },
  };
}

/** A directory that goes, with all that is in it, when it is disposed of. */
export function temporaryDirectory(name: string, parent = tmpdir()): Disposable & { path: string } {
  const path = mkdtempSync(join(parent, `${name}-`));
  // Killed processes may still be writing.
  const gone = undoing(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 }));
  return { path, [Symbol.dispose]: () => gone[Symbol.dispose]() };
}

/** Where temporary directories are in memory, if the system has such a place: for what need not reach a disk. */
export function memoryDirectory(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

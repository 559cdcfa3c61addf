/** Removes what must not outlive a test, even one that fails or is interrupted: processes, mounts, directories. */
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
      // The others still have to be undone.
    }
  }
}

process.once('exit', undoAll);
// Vitest ends a worker by SIGTERM while a test still waits. SIGINT is Ctrl-C.
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    undoAll();
    process.kill(process.pid, signal);
  });
}

/** Calls a synchronous function when the result is disposed of, or else when the process ends. */
export function undoing(undo: Undo): Disposable {
  left.add(undo);
  return {
    [Symbol.dispose]() {
      if (left.delete(undo)) undo();
    },
  };
}

/** A directory that is removed with its content when it is disposed of. */
export function temporaryDirectory(name: string, parent = tmpdir()): Disposable & { path: string } {
  const path = mkdtempSync(join(parent, `${name}-`));
  // Retries, because killed processes may still be writing.
  const gone = undoing(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 }));
  return { path, [Symbol.dispose]: () => gone[Symbol.dispose]() };
}

/** A parent for temporary directories that need not reach a disk: in memory, if the system has such a directory. */
export function memoryDirectory(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

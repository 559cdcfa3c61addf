import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const project = (name: string, directories: string[]) => ({
  extends: true as const,
  test: {
    name,
    include: directories.map(directory => `test/${directory}/*.test.ts`),
    globalSetup: ['test/support/build-scripts.ts', 'test/support/build-program.ts'],
  },
});

/** Real brokers, other processes, mounts, whole packages: slower than the library alone. */
const SYSTEM = ['broker', 'live', 'processes', 'faults', 'package', 'program', 'mutants'];

/** Most unit tests take less time than a process takes to start, so the files of a worker share one. */
const unit = {
  extends: true as const,
  test: {
    name: 'unit',
    include: ['test/**/*.test.ts'],
    exclude: [...SYSTEM, 'campaigns'].map(directory => `test/${directory}/**`),
    isolate: false,
  },
};

export default defineConfig({
  resolve: { alias: { 'mosquitto-passwd-ts': fileURLToPath(new URL('./src/index.ts', import.meta.url)) } },
  test: {
    projects: [unit, project('system', SYSTEM), project('campaigns', ['campaigns'])],
    reporters: ['default', './test/support/skipped.ts'],
    // Tests of brokers wait more than they compute.
    maxWorkers: 2 * availableParallelism(),
    sequence: { shuffle: true },
    // The concurrent tests of a file only wait.
    maxConcurrency: 50,
    expect: { requireAssertions: true, poll: { timeout: 50_000 } },
    // Not limits of what tests take, but ends of what hangs.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    coverage: { include: ['src/**'], reporter: ['text', 'json-summary'] },
  },
});

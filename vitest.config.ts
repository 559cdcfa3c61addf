import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const project = (name: string, include: string[], exclude: string[] = []) => ({
  extends: true as const,
  test: {
    name,
    include: include.map(path => `test/${path}/*.test.ts`),
    exclude,
    globalSetup: 'test/support/build-program.ts',
  },
});

export default defineConfig({
  resolve: { alias: { 'mosquitto-passwd-ts': fileURLToPath(new URL('./src/index.ts', import.meta.url)) } },
  test: {
    projects: [
      project('unit', ['**'], ['test/{live,faults,package,program,campaigns}/**']),
      project('system', ['live', 'faults', 'package', 'program']),
      project('campaigns', ['campaigns']),
    ],
    reporters: ['default', './test/support/skipped.ts'],
    // Tests of brokers wait more than they compute.
    maxWorkers: 2 * availableParallelism(),
    sequence: { shuffle: true },
    expect: { requireAssertions: true, poll: { timeout: 50_000 } },
    // Not limits of what tests take, but ends of what hangs.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    coverage: { include: ['src/**'], reporter: ['text', 'json-summary'] },
  },
});

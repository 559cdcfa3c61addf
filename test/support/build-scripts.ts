/** Builds src and test/support once for all tests of a project, for tests that start processes of their own. */
import { chmod, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** A directory with src and test/support in JavaScript, file by file. */
    scripts: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const outdir = await mkdtemp(join(tmpdir(), 'scripts-'));
  // Tests run them as other users too.
  await chmod(outdir, 0o755);
  await symlink(resolve('node_modules'), join(outdir, 'node_modules'));
  await build({
    entryPoints: ['src/**/*.ts', 'test/support/*.ts'],
    outbase: '.',
    format: 'esm',
    target: 'node20',
    outdir,
  });
  project.provide('scripts', outdir);
  return () => rm(outdir, { recursive: true, force: true });
}

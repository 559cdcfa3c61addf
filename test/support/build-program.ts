/** Builds the program once for all tests of a project, as the package has it. */
import { chmod, copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, type Options } from 'tsup';
import type { TestProject } from 'vitest/node';
import { library, program } from '../../tsup.config.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** The path of the program. */
    program: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), 'built-'));
  // Tests run it as other users too.
  await chmod(directory, 0o755);
  const outDir = join(directory, 'dist');
  const variant: Options = { outDir, config: false, silent: true, sourcemap: false };
  await Promise.all([
    build({ ...library, ...variant, format: 'cjs' }),
    build({ ...program, ...variant }),
    // The program reads its version from the package.json above it.
    copyFile('package.json', join(directory, 'package.json')),
  ]);
  project.provide('program', join(outDir, 'cli.cjs'));
  return () => rm(directory, { recursive: true, force: true });
}

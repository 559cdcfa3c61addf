/** Builds the program once for all tests that call it: from the sources as they are, as the package has it. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
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
  const directory = await mkdtemp(join(tmpdir(), 'program-'));
  const outDir = join(directory, 'dist');
  const variant: Options = { outDir, config: false, silent: true, sourcemap: false };
  // The program reads its version in the package that it is in.
  await copyFile('package.json', join(directory, 'package.json'));
  await Promise.all([build({ ...library, ...variant, format: 'cjs' }), build({ ...program, ...variant })]);
  project.provide('program', join(outDir, 'cli.cjs'));
  return () => rm(directory, { recursive: true, force: true });
}

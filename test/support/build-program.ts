/**
 * Builds once for all tests of a project what they run in processes of their own: the sources and, but for unit tests, the
 * program as the package has it.
 */
import { chmod, copyFile, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { build, type Options } from 'tsup';
import type { TestProject } from 'vitest/node';
import { library, program } from '../../tsup.config.js';

declare module 'vitest' {
  interface ProvidedContext {
    /** The path of the program. */
    program: string;
    /** A directory with src and test/support in JavaScript, file by file. */
    scripts: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), 'built-'));
  // Other users run it too.
  await chmod(directory, 0o755);
  const outDir = join(directory, 'dist');
  const variant: Options = { outDir, config: false, silent: true, sourcemap: false };
  const ofPackage: Options[] = [
    { ...library, ...variant, format: 'cjs' },
    { ...program, ...variant },
  ];
  await Promise.all([
    ...(project.name === 'unit' ? [] : ofPackage).map(build),
    build({
      ...variant,
      entry: ['src/**/*.ts', 'test/support/*.ts'],
      bundle: false,
      format: 'esm',
      target: 'node20',
      outDir: directory,
    }),
    symlink(resolve('node_modules'), join(directory, 'node_modules')),
    // The program reads its version in the package that it is in.
    copyFile('package.json', join(directory, 'package.json')),
  ]);
  project.provide('program', join(outDir, 'cli.cjs'));
  project.provide('scripts', directory);
  return () => rm(directory, { recursive: true, force: true });
}

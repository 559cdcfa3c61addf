/** The time to import the package, compared with what people would import instead, and its size. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { spread } from './measure.js';
import type { Row } from './report.js';
import { directory } from './setting.js';

const DIST = new URL('../dist/index.js', import.meta.url);

/** The time to import the package, and others, after `node:crypto` and `node:fs`. */
export async function importing(rounds: number): Promise<Row[]> {
  const empty = join(directory, 'empty.mjs');
  writeFileSync(empty, '');
  const recipe = ['proper-lockfile', 'write-file-atomic'].map(name => import.meta.resolve(name));
  const programs = [[DIST.href], recipe, [empty]].map(programImporting);
  const times: number[][] = programs.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, program] of programs.entries()) times[i]?.push(millisecondsOf(program));
  }
  const [ours, recipes, empties] = times as [number[], number[], number[]];
  const what = 'import of the package, over node:crypto and node:fs';
  const against = (rival: string, theirs: number[]): Row => {
    const ratio = spread(theirs.map((time, round) => time / (ours[round] as number)));
    return { what, rival, ours: spread(ours), theirs: spread(theirs), ratio };
  };
  const size = `ESM build minified and gzipped: ${await gzippedSize()} bytes`;
  return [
    { what, ours: spread(ours), goal: { atMost: 5 }, note: size },
    against('proper-lockfile and write-file-atomic', recipes),
    { ...against('an empty module', empties), note: 'what Node takes for any file' },
  ];
}

/** Writes a program that imports these modules and prints the milliseconds that this takes. Returns its path. */
function programImporting(modules: readonly string[], index: number): string {
  const program = join(directory, `import-${index}.mjs`);
  const lines = [
    "import 'node:crypto';",
    "import 'node:fs';",
    'const start = performance.now();',
    ...modules.map(name => `await import(${JSON.stringify(name)});`),
    'console.log(performance.now() - start);',
  ];
  writeFileSync(program, lines.join('\n'));
  return program;
}

/** Runs the program in a process of its own, where nothing has been loaded. */
function millisecondsOf(program: string): number {
  return Number(execFileSync(process.execPath, [program], { encoding: 'utf8' }));
}

async function gzippedSize(): Promise<number> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(DIST)],
    minify: true,
    format: 'esm',
    platform: 'node',
    write: false,
  });
  return gzipSync(outputFiles[0]?.contents ?? readFileSync(DIST)).length;
}

/** What importing the package costs, beside what people would import instead, and how large it is. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { type Spread, spread } from './measure.js';
import type { Row } from './report.js';
import { folder } from './setting.js';

const DIST = new URL('../dist/index.js', import.meta.url);

/** How long programs that have imported `node:crypto` and `node:fs` take to import something more. */
export async function importing(rounds: number): Promise<Row[]> {
  const empty = join(folder, 'empty.mjs');
  writeFileSync(empty, '');
  const recipe = ['proper-lockfile', 'write-file-atomic'].map(name => import.meta.resolve(name));
  const programs = [[DIST.href], recipe, [empty]].map(programImporting);
  const times: number[][] = programs.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, program] of programs.entries()) times[i]?.push(millisecondsOf(program));
  }
  const [ours, recipes, empties] = times.map(spread) as [Spread, Spread, Spread];
  const what = 'import of the package, over node:crypto and node:fs';
  const against = (rival: string, theirs: Spread): Row => {
    const ratio = spread([theirs.median / ours.median]);
    return { what, rival, ours, theirs, ratio };
  };
  return [
    { what, ours, goal: { atMost: 5 }, note: `ESM build minified and gzipped: ${await gzippedSize()} bytes` },
    against('proper-lockfile and write-file-atomic', recipes),
    { ...against('an empty module', empties), note: 'what Node takes for any file' },
  ];
}

/** The path of a program that prints how many milliseconds it has taken. */
function programImporting(modules: readonly string[], index: number): string {
  const program = join(folder, `import-${index}.mjs`);
  const imports = modules.map(name => `await import(${JSON.stringify(name)});\n`).join('');
  writeFileSync(
    program,
    `import 'node:crypto';\nimport 'node:fs';\nconst start = performance.now();\n${imports}console.log(performance.now() - start);\n`,
  );
  return program;
}

/** In a process of its own, where nothing has been loaded. */
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

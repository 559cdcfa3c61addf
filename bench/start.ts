/** What importing the package costs, beside what people would import instead, and how large it is. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { type Spread, spread, timed } from './measure.js';
import type { Row } from './report.js';
import { expectEqual, folder } from './setting.js';

const DIST = new URL('../dist/index.js', import.meta.url);

/** Whole processes that import `node:crypto`, `node:fs` and something more, over those that import these two alone. */
export async function importing(rounds: number): Promise<Row[]> {
  const empty = join(folder, 'empty.mjs');
  writeFileSync(empty, '');
  const recipe = ['proper-lockfile', 'write-file-atomic'].map(name => import.meta.resolve(name));
  const ways = [[], [DIST.href], recipe, [empty]];
  const over: number[][] = ways.map(() => []);
  for (let round = 0; round < rounds; round++) {
    const times: number[] = [];
    for (const way of round % 2 === 0 ? ways : ways.toReversed())
      times.push(await timed(() => importAll(way)));
    if (round % 2 === 1) times.reverse();
    for (const [i, time] of times.entries()) over[i]?.push(time - (times[0] ?? 0));
  }
  const [, ours, recipes, empties] = over.map(spread) as [Spread, Spread, Spread, Spread];
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

function importAll(modules: readonly string[]): void {
  const program = ['node:crypto', 'node:fs', ...modules]
    .map(name => `await import(${JSON.stringify(name)});`)
    .join('');
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { stdio: 'ignore' });
  expectEqual(status, 0, 'exit status');
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

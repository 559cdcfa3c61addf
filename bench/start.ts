/** What importing the package costs, and how large it is. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { compare, spread, timed } from './measure.js';
import type { Row } from './report.js';
import { run } from './setting.js';

const DIST = new URL('../dist/index.js', import.meta.url);

export async function importing(rounds: number): Promise<Row[]> {
  const importOf = (...modules: string[]) => {
    const program = modules.map(name => `await import(${JSON.stringify(name)});`).join('');
    return () => timed(() => run(process.execPath, ['--input-type=module', '-e', program]));
  };
  const both = await compare(
    rounds,
    importOf('node:crypto', 'node:fs', DIST.href),
    importOf('node:crypto', 'node:fs'),
  );
  const over = both.ours.median - both.theirs.median;
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(DIST)],
    minify: true,
    format: 'esm',
    platform: 'node',
    write: false,
  });
  const minified = outputFiles[0]?.contents ?? readFileSync(DIST);
  return [
    {
      what: 'import of the package, over node:crypto and node:fs',
      ours: spread([over]),
      goal: { atMost: 5 },
      note: `ESM build minified and gzipped: ${gzipSync(minified).length} bytes`,
    },
  ];
}

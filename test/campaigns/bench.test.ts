/** Runs the benchmarks on small files, so that they keep working. Checks their results, but no durations. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { findBrokers } from '../support/broker.js';
import { testDirectory } from '../support/directory.js';
import { postgres } from '../support/postgres.js';
import { needs, program } from '../support/require.js';

const run = promisify(execFile);

/** Runs a script of bench/ as `npm run` does. */
async function bench(script: string, ...args: string[]): Promise<string> {
  const path = new URL(`../../bench/${script}`, import.meta.url).pathname;
  return (await run(process.execPath, ['--import', 'tsx', path, '--small', ...args])).stdout;
}

needs(program('mosquitto'), program('mosquitto_passwd'), postgres).describe('the benchmarks', () => {
  test('check their results, print a table and draw a chart', async () => {
    const out = testDirectory();
    const printed = await bench('run.ts', `--out=${out}`);
    const { rows, curves, calls } = JSON.parse(await readFile(join(out, 'results.json'), 'utf8'));
    expect(rows).toHaveLength(60 + 10 * findBrokers().length);
    for (const { what, ours } of rows) {
      expect(printed).toContain(what);
      expect(ours.median, what).toEqual(expect.any(Number));
    }
    expect([...curves, ...calls].map(({ points }: { points: unknown[] }) => points.length)).toEqual([
      2, 2, 2, 2, 2, 2, 2,
    ]);
    expect(await readFile(join(out, 'results.svg'), 'utf8')).toMatch(
      /^<svg [\s\S]*<polyline [\s\S]*<\/svg>\n$/,
    );
  });

  test('count lost users and torn files', async () => {
    const printed = await bench('losses.ts');
    const kept = printed.split('\n').find(line => line.includes('users in the file'));
    expect(kept?.split('|').at(-2)?.trim()).toMatch(/^31 of 31$/);
    const torn = printed.split('\n').find(line => line.includes('torn'));
    expect(torn?.split('|').at(-2)?.trim()).toMatch(/^0 of 3$/);
  });
});

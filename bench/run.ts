/**
 * All benchmarks, side by side with what people would use instead: `npm run bench`. Each checks its own result before
 * it counts. `--small` runs the same code on small files, in seconds, so that it cannot rot; its figures mean nothing.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { atOnce, growth, growthOfCalls, oneUser, upgrading } from './editing.js';
import { bestInFlight, hashing } from './hashing.js';
import { checking, manyEdits, memory, stretches, verifying } from './large.js';
import { chart, isMet, type Row, table } from './report.js';
import { machine } from './setting.js';
import { importing } from './start.js';

const small = process.argv.includes('--small');
const out = fileURLToPath(
  new URL(
    process.argv.find(each => each.startsWith('--out='))?.slice(6) ?? '.',
    `file://${fileURLToPath(new URL('.', import.meta.url))}`,
  ),
);

const MILLION = small ? 2_000 : 1_000_000;
const sizes = small ? [100, 1_000] : [1_000, 10_000, 100_000, 1_000_000];
const rounds = small ? 1 : 11;

const start = performance.now();
const rows: Row[] = [];
async function measure(...figures: Array<() => Promise<Row | Row[]>>): Promise<void> {
  for (const figure of figures) {
    const found = [await figure()].flat();
    rows.push(...found);
    console.error(found.map(({ what }) => `done: ${what}`).join('\n'));
  }
}

const best = await bestInFlight(small ? 100 : 5_000);
await measure(
  () => hashing(small ? 200 : 100_000, small ? 1 : 5, best),
  () => upgrading(small ? 200 : 100_000, small ? 1 : 5, best),
  () => atOnce(small ? 10 : 1_000, small ? 1 : 3),
  () => oneUser(1_000, small ? 1 : 15),
  () => oneUser(MILLION, rounds),
  () => manyEdits(MILLION, small ? 100 : 10_000, small ? 1 : 5),
  () => memory(MILLION, small ? 100 : 10_000),
  () => verifying(MILLION, small ? 200 : 20_000, small ? 1 : 9),
  () => checking(MILLION, small ? 1 : 3),
  () => stretches(MILLION),
  () => importing(small ? 1 : 40),
);
const curves = await growth(sizes, small ? 1 : 5);
const calls = await growthOfCalls(sizes, small ? 1 : 3);

const host = await machine();
console.log(host.join('\n'));
console.log(`\n${table(rows)}\n`);
for (const { name, points } of [...curves, ...calls]) {
  console.log(
    `${name.padEnd(24)} ${points.map(([users, ms]) => `${users}: ${ms.toPrecision(3)} ms`).join(', ')}`,
  );
}
console.log(`\n${((performance.now() - start) / 60_000).toFixed(1)} minutes`);

mkdirSync(out, { recursive: true });
writeFileSync(
  `${out}/results.json`,
  `${JSON.stringify({ machine: host, rows: rows.map(row => ({ ...row, met: isMet(row) })), curves, calls }, null, 2)}\n`,
);
writeFileSync(`${out}/results.svg`, chart('Adding one user to a password file', curves));

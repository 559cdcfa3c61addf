/**
 * All benchmarks, each compared with what people would use instead: `npm run bench`. Each checks its result before it
 * counts. `--small` runs the same code on small files, in seconds, so that a test can run it; its figures mean nothing.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startingWithClients } from './dynamic-security.js';
import { atOnce, growth, growthOfCalls, oneUser, upgrading } from './editing.js';
import { replicating } from './fleet.js';
import { hashing } from './hashing.js';
import { aborts, hostileStretches } from './hostile.js';
import { checking, manyEdits, memory, stretches, verifying } from './large.js';
import { small } from './measure.js';
import { losingSignals, registering, registeringMany, reloadingWithClients } from './reload.js';
import { replica } from './replica.js';
import { chart, isMet, type Row, table } from './report.js';
import { machine, run } from './setting.js';
import { importing } from './start.js';

const out = resolve(fileURLToPath(new URL('.', import.meta.url)), option('out') ?? '.');

const MILLION = small ? 2_000 : 1_000_000;
const sizes = small ? [100, 1_000] : [1_000, 10_000, 100_000, 1_000_000];
const rounds = small ? 1 : 9;
const sample = small ? 100 : 5_000;

/** The functions that measure the rows of the table, by the names of `--figure`. */
const figures: Record<string, () => Promise<Row | Row[]>> = {
  hashing: () => hashing(small ? 200 : 100_000, small ? 1 : 5, sample),
  upgrade: () => upgrading(small ? 200 : 100_000, small ? 1 : 5, sample),
  'many at once': () => atOnce(small ? 10 : 1_000, small ? 1 : 3),
  'one user': () => oneUser(1_000, small ? 1 : 15),
  'one user among a million': () => oneUser(MILLION, rounds),
  'many edits': () => manyEdits(MILLION, small ? 100 : 10_000, rounds),
  memory: () => memory(MILLION, small ? 100 : 10_000),
  verify: () => verifying(MILLION, small ? 200 : 10_000, small ? 1 : 21),
  check: () => checking(MILLION, small ? 1 : 3),
  registrations: () => registering(1_000, small ? 3 : 100),
  'many registrations': () => registeringMany(small ? 20 : 10_000, small ? 5 : 100),
  'reloads with clients': () => reloadingWithClients(small ? 20 : 2_000, small ? 0.5 : 20),
  'lost signals': () => losingSignals(small ? 3 : 1_000),
  fleet: () => replicating(1_000, small ? 3 : 100, small ? 20 : 1_000),
  replica: () => replica(small ? 1 : 5),
  'dynamic security': () => startingWithClients(small ? 1 : 3),
  'event loop': () => stretches(MILLION),
  'hostile files': () => hostileStretches(small ? 10_000 : 10_000_000),
  aborts: () => aborts(MILLION),
  import: () => importing(small ? 1 : 80),
};

const chosen = option('figure');
if (chosen === undefined) await runAll();
else console.log(JSON.stringify(await figures[chosen]?.()));

function option(name: string): string | undefined {
  return process.argv.find(each => each.startsWith(`--${name}=`))?.slice(name.length + 3);
}

/** Measures a figure in a process of its own, so that the memory of other figures does not affect it. */
async function measure(figure: string): Promise<Row[]> {
  if (small) return [(await figures[figure]?.()) as Row | Row[]].flat();
  const args = [...process.execArgv, ...process.argv.slice(1), `--figure=${figure}`];
  const { stdout } = await run(process.execPath, args);
  console.error(`done: ${figure}`);
  return [JSON.parse(stdout) as Row | Row[]].flat();
}

async function runAll(): Promise<void> {
  const start = performance.now();
  const rows: Row[] = [];
  for (const figure of Object.keys(figures)) rows.push(...(await measure(figure)));
  const curves = await growth(sizes, small ? 1 : 5);
  const calls = await growthOfCalls(sizes, small ? 1 : 5);

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
}

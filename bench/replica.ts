/**
 * A file as the replica of a database: `setHashes` and `entries` beside the plainest loops over the same rows and lines.
 * `npx tsx bench/replica.ts` after `npm run build`; `--small` runs it in seconds. The memory and the event loop of each
 * are measured in a process of its own.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { compare, small, timed } from './measure.js';
import { expectEqual, folder, library, nameOf, PASSWORD, run } from './setting.js';

const ROWS = small ? 2_000 : 1_000_000;
const ROUNDS = small ? 1 : 5;

const hashes = Array.from({ length: 100 }, (_, i) =>
  library.hashPasswordSync(PASSWORD, { salt: new Uint8Array(12).fill(i) }),
);

/** In the order of their names, as `ORDER BY name` has them, or not. */
function* rows(isOrdered = true): Generator<[string, string]> {
  for (let i = 0; i < ROWS; i++) {
    const user = isOrdered ? i : (i * 7919) % ROWS;
    yield [nameOf(user), hashes[user % hashes.length] as string];
  }
}

/** Each is also run by {@link once}, as text in another process. */
const CALLS = {
  replace: `async (file, rows) => (await file.setHashes(rows, { removeOthers: true })).added`,
  sync: `async (file, rows) => (await file.setHashes(rows, { removeOthers: true })).unchanged`,
  readAll: `async file => { let n = 0; for await (const [, hash] of file.entries()) n += hash.length > 0 ? 1 : 0; return n; }`,
};

type Call = (
  file: InstanceType<typeof library.PasswordFile>,
  rows: Iterable<[string, string]>,
) => Promise<number>;

async function ours(call: keyof typeof CALLS, path: string, isOrdered: boolean): Promise<void> {
  if (call === 'replace') fs.rmSync(path, { force: true });
  const work: Call = new Function(`return ${CALLS[call]}`)();
  expectEqual(await work(new library.PasswordFile(path), rows(isOrdered)), ROWS, 'users');
}

/** The plainest writer: lines into a temp file, synced, renamed. */
function plainWriter(path: string): void {
  fs.rmSync(path, { force: true });
  const fd = fs.openSync(`${path}.tmp`, 'w', 0o600);
  let text = '';
  for (const [name, hash] of rows()) {
    text += `${name}:${hash}\n`;
    if (text.length < 65_536) continue;
    fs.writeSync(fd, text);
    text = '';
  }
  fs.writeSync(fd, text);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  fs.renameSync(`${path}.tmp`, path);
}

function plainLines(path: string): number {
  let count = 0;
  for (const line of fs.readFileSync(path, 'utf8').split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && line.slice(0, colon) !== line.slice(colon + 1)) count++;
  }
  return count;
}

function plainReader(path: string, hasLines: boolean): void {
  let length = 0;
  if (hasLines) expectEqual(plainLines(path), ROWS, 'lines');
  else length += fs.readFileSync(path).length;
  for (const [name, hash] of rows()) length -= name.length + hash.length + 2;
  if (!hasLines) expectEqual(length, 0, 'bytes');
}

type Work = (path: string) => unknown;
type Figure = [what: string, call: keyof typeof CALLS, isOrdered: boolean, theirs: Work, atMost: number];

const bytesAndRows: Work = path => plainReader(path, false);
const linesAndRows: Work = path => plainReader(path, true);
const FIGURES: Figure[] = [
  ['setHashes into a new file / plainest writer', 'replace', true, plainWriter, 2.5],
  ['the same, rows in another order', 'replace', false, plainWriter, 2.5],
  ['setHashes, nothing changed / bytes of the file, and the rows', 'sync', true, bytesAndRows, 2.5],
  ['setHashes, nothing changed / lines of the file, and the rows', 'sync', true, linesAndRows, 2.5],
  ['the same, rows in another order', 'sync', false, linesAndRows, 2.5],
  ['entries() / loop over the lines', 'readAll', true, plainLines, 2],
];

/** In a bare Node: the longest stretch without a turn of the event loop, and the peak of memory over its start. */
async function once(call: keyof typeof CALLS, path: string, isOrdered: boolean): Promise<string> {
  if (call === 'replace') fs.rmSync(path, { force: true });
  const program = `
    import { readFileSync } from 'node:fs';
    import { monitorEventLoopDelay } from 'node:perf_hooks';
    const peak = () => Number(/VmHWM:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024 / 1e6;
    const bare = peak();
    const { PasswordFile } = await import(${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)});
    const ROWS = ${ROWS}, hashes = ${JSON.stringify(hashes)};
    ${nameOf}
    ${rows}
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await new Promise(resolve => setTimeout(resolve, 20));
    delay.reset();
    await (${CALLS[call]})(new PasswordFile(${JSON.stringify(path)}), rows(${isOrdered}));
    await new Promise(resolve => setTimeout(resolve, 5));
    delay.disable();
    console.log((delay.max / 1e6).toFixed(0) + ' ms | ' + (peak() - bare).toFixed(0) + ' MB');`;
  return (await run(process.execPath, ['--input-type=module', '-e', program])).stdout.trim();
}

const path = join(folder, 'replica');
console.log(`${ROWS} rows, ${ROUNDS} rounds\n`);
console.log('| what | ours | theirs | times as long | at most | longest stretch | peak of memory |');
console.log('|---|---|---|---|---|---|---|');
for (const [what, call, isOrdered, theirs, atMost] of FIGURES) {
  await ours('replace', path, true);
  const { ours: own, theirs: other } = await compare(
    ROUNDS,
    () => timed(() => ours(call, path, isOrdered)),
    () => timed(() => theirs(path)),
  );
  await ours('replace', path, true);
  const times = (own.median / other.median).toFixed(1);
  const [a, b] = [own, other].map(({ median }) => `${median.toFixed(0)} ms`);
  console.log(`| ${what} | ${a} | ${b} | ${times} | ${atMost} | ${await once(call, path, isOrdered)} |`);
}

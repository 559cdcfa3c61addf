/** A file as the replica of a database: `setHashes` and `entries`, compared with the plainest loops over rows and lines. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { compare, small, spread, timed } from './measure.js';
import type { Row } from './report.js';
import { directory, expectEqual, library, nameOf, PASSWORD, run } from './setting.js';

const ROWS = small ? 2_000 : 1_000_000;

const hashes = Array.from({ length: 100 }, (_, i) =>
  library.hashPasswordSync(PASSWORD, { salt: new Uint8Array(12).fill(i) }),
);

/** The rows in the order of their names, as `ORDER BY name` has them, or not. */
function* rows(isOrdered = true): Generator<[string, string]> {
  for (let i = 0; i < ROWS; i++) {
    const user = isOrdered ? i : (i * 7919) % ROWS;
    yield [nameOf(user), hashes[user % hashes.length] as string];
  }
}

/** The calls, as text, because {@link once} runs them in another process. */
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

/** The plainest writer: writes lines to a temp file, syncs it and renames it. */
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

type Figure = {
  what: string;
  call: keyof typeof CALLS;
  isOrdered?: boolean;
  rival: string;
  theirs: (path: string) => unknown;
  atMost: number;
};

const WRITER = { rival: 'plainest writer of the rows', theirs: plainWriter, atMost: 2.5 };
const BYTES_AND_ROWS = {
  rival: 'reading the bytes of the file, and the rows',
  theirs: (path: string) => plainReader(path, false),
  atMost: 2.5,
};
const LINES_AND_ROWS = {
  rival: 'reading the lines of the file, and the rows',
  theirs: (path: string) => plainReader(path, true),
  atMost: 2.5,
};
const FIGURES: Figure[] = [
  { what: 'setHashes into a new file', call: 'replace', ...WRITER },
  { what: 'setHashes into a new file, rows in another order', call: 'replace', isOrdered: false, ...WRITER },
  { what: 'setHashes, nothing changed', call: 'sync', ...BYTES_AND_ROWS },
  { what: 'setHashes, nothing changed', call: 'sync', ...LINES_AND_ROWS },
  {
    what: 'setHashes, nothing changed, rows in another order',
    call: 'sync',
    isOrdered: false,
    ...LINES_AND_ROWS,
  },
  { what: 'all entries()', call: 'readAll', rival: 'loop over the lines', theirs: plainLines, atMost: 2 },
];

/** The duration of each call; and in a process of its own, its longest stretch and its memory. */
export async function replica(rounds: number): Promise<Row[]> {
  const path = join(directory, 'replica');
  const table: Row[] = [];
  for (const { what, call, isOrdered = true, rival, theirs, atMost } of FIGURES) {
    await ours('replace', path, true);
    const compared = await compare(
      rounds,
      () => timed(() => ours(call, path, isOrdered)),
      () => timed(() => theirs(path)),
    );
    table.push({ what: `${what}, ${ROWS} users`, rival, ...compared, goal: { ratio: 1 / atMost } });
    if (theirs === LINES_AND_ROWS.theirs && isOrdered) continue;
    await ours('replace', path, true);
    const megabytes = fs.statSync(path).size / 1e6;
    const { stretch, memory } = await once(call, path, isOrdered);
    table.push(
      {
        what: `longest stretch without a turn of the event loop: ${what}, ${ROWS} users`,
        ours: spread([stretch]),
        goal: { atMost: 50 },
      },
      {
        what: `memory of ${what}, ${ROWS} users`,
        ours: spread([memory]),
        unit: 'MB',
        goal: { atMost: call === 'readAll' ? Math.round(megabytes + 100) : 450 },
        note: `peak over a bare Node; the file has ${megabytes.toFixed(0)} MB`,
      },
    );
  }
  return table;
}

/** Runs a call in a new Node: the longest stretch without a turn of the event loop, and the peak memory over that before. */
async function once(
  call: keyof typeof CALLS,
  path: string,
  isOrdered: boolean,
): Promise<{ stretch: number; memory: number }> {
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
    console.log(JSON.stringify({ stretch: delay.max / 1e6, memory: peak() - bare }));`;
  return JSON.parse((await run(process.execPath, ['--input-type=module', '-e', program])).stdout);
}

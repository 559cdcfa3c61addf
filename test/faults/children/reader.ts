/**
 * Reads a file again and again, as a whole and in small pieces, until the test orders it to stop. Reports each read that
 * lacks what must be in the file; at the end, the number of reads and of versions of the file that it saw.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { setImmediate as othersHaveRun } from 'node:timers/promises';
import { argument, orders, tell } from './talk.js';

const { path, base } = argument<{ path: string; base: string }>();
const LINE = /^[\w]+:\$7\$101\$[\w+/]{16}\$[\w+/]{86}==$/;

let stopped = false;
async function untilStopped(): Promise<void> {
  for await (const _stop of orders()) break;
  stopped = true;
}

let reads = 0;
const versions = new Set<string>();
tell('ready');
const end = untilStopped();
while (!stopped) {
  for (const read of [readWhole, readInPieces]) {
    const text = read();
    reads++;
    versions.add(text.slice(base.length));
    if (!text.startsWith(base)) tell({ torn: 'the first users are not all there', text });
    const lines = text.slice(base.length).split('\n');
    if (lines.pop() !== '') tell({ torn: 'the last line has no end', text });
    for (const line of lines) if (!LINE.test(line)) tell({ torn: `a line is ${line}`, text });
  }
  await othersHaveRun();
}
await end;
tell({ reads, versions: versions.size });

function readWhole(): string {
  return readFileSync(path, 'latin1');
}

/** Takes long enough for the file to be replaced meanwhile. */
function readInPieces(): string {
  const fd = openSync(path, 'r');
  const pieces: Buffer[] = [];
  for (;;) {
    const piece = Buffer.alloc(1024);
    const length = readSync(fd, piece);
    if (length === 0) break;
    pieces.push(piece.subarray(0, length));
  }
  closeSync(fd);
  return Buffer.concat(pieces).toString('latin1');
}

/** What is written into a temp file, byte for byte. */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Disk, systemDisk } from '../../src/storage/disk.js';
import { writeAndSync } from '../../src/storage/temp-file.js';
import { testFolder } from '../support/folder.js';

const MIB = 1_048_576;

/** What is in the file after that. */
async function written(disk: Disk, pieces: Array<string | Uint8Array>): Promise<Buffer> {
  const directory = testFolder();
  const name = 'temp';
  const fd = openSync(join(directory, name), 'wx+');
  try {
    await writeAndSync(disk, { directory, name, fd }, pieces);
  } finally {
    closeSync(fd);
  }
  return readFileSync(join(directory, name));
}

/** A disk that takes at most so many bytes of each write. */
function takingAtMost(most: number): Disk {
  return {
    ...systemDisk,
    write: (fd, bytes, position) => systemDisk.write(fd, bytes.subarray(0, most), position),
    writeInPool: (fd, bytes, position) => systemDisk.writeInPool(fd, bytes.subarray(0, most), position),
  };
}

const lines = Array.from({ length: 30_000 }, (_, i) => `gerät-${i}:${'x'.repeat(100)}\n`);

describe.each([
  ['new lines of more than 1 MiB', lines],
  ['new lines between old bytes', lines.flatMap(line => [line, Buffer.from('old:x\n')])],
  ['text of 1 MiB', ['x'.repeat(MIB), 'y']],
  ['text that has 1 MiB as UTF-8', ['é'.repeat(MIB / 2), 'y']],
  ['text of three bytes a character that nearly fills a block', ['ア'.repeat(MIB / 3), 'イウ']],
  ['bytes that fill a block', [Buffer.alloc(MIB, 'x'), Buffer.from('y')]],
  ['bytes that fill a block but for one, then two', [Buffer.alloc(MIB - 1, 'x'), Buffer.from('yz')]],
  ['nothing', []],
])('%s', (_what, pieces) => {
  const expected = Buffer.concat(pieces.map(piece => Buffer.from(piece)));

  test.each([
    ['as it is', systemDisk],
    ['that takes a part of the bytes each time', takingAtMost(300_001)],
  ])('are written as they are, on a disk %s', async (_disk, disk) => {
    // Buffers of that length take long to print.
    expect((await written(disk, pieces)).equals(expected)).toBe(true);
  });
});

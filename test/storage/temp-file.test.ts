/** What is written into a temp file, byte for byte, and its heartbeat. */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Disk, type Ownership, systemDisk } from '../../src/storage/disk.js';
import type { Place } from '../../src/storage/path.js';
import { copyOwnership, startHeartbeat, type TempFile, writeAndSync } from '../../src/storage/temp-file.js';
import { testDirectory } from '../support/directory.js';

const MIB = 1_048_576;

/** What is in the file after that. */
async function written(disk: Disk, pieces: Array<string | Uint8Array>): Promise<Buffer> {
  const directory = testDirectory();
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
  ['bytes of more than a block between fewer', ['é', Buffer.alloc(MIB + 1, 'x'), 'z']],
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

describe('the owner of a temp file', () => {
  const temp: TempFile = { directory: '/data/passwd.writer', name: 'temp', fd: 7 };
  const ours = { uid: 1883, gid: 1883, mode: 0o100600 };
  const place: Place = {
    ...{ path: '/data/passwd', file: '/data/passwd' },
    ...{ directory: { uid: 0, gid: 0, mode: 0o40755 }, close: () => undefined },
  };

  /** On a disk on which every change of an owner fails. Returns the owners that it was asked for. */
  function copied(code: string, old: Ownership, allowOwnerChange: boolean): string[] {
    const asked: string[] = [];
    const chown = (_fd: number, uid: number, gid: number) => {
      asked.push(`${uid}:${gid}`);
      throw Object.assign(new Error(`${code}: chown`), { code });
    };
    const disk: Disk = { ...systemDisk, ownership: () => ours, chown, chmod: () => undefined };
    copyOwnership(disk, temp, place, old, { create: {}, allowOwnerChange });
    return asked;
  }

  test('is not changed to what it is: the file system may have no owners', () => {
    expect(copied('ENOSYS', ours, false)).toEqual([]);
  });

  test.each([
    ['EPERM', 'ERR_OWNERSHIP'],
    ['EINVAL', 'ERR_OWNERSHIP'],
    ['EIO', 'EIO'],
  ])('cannot be changed: %s is an error %s', (code, expected) => {
    expect(() => copied(code, { ...ours, uid: 0 }, false)).toThrow(
      expect.objectContaining({ code: expected }),
    );
  });

  test('cannot be changed and need not: the group is, as far as that goes', () => {
    expect(copied('EPERM', { ...ours, uid: 0, gid: 100 }, true)).toEqual(['0:100', '1883:100']);
    expect(() => copied('EIO', { ...ours, uid: 0 }, true)).toThrow(expect.objectContaining({ code: 'EIO' }));
  });
});

describe('a heartbeat', () => {
  const touched: unknown[] = [];
  beforeEach(() => {
    touched.length = 0;
    vi.useFakeTimers();
  });
  afterEach(() => void vi.useRealTimers());

  const touching = (windows: boolean): Disk => ({
    ...systemDisk,
    windows,
    touch: file => void touched.push(file),
  });
  const temp = { directory: '/directory/passwd.writer', name: 'temp' };

  test('comes every 250 ms until it is stopped', () => {
    const stop = startHeartbeat({ disk: touching(false), temp: { ...temp, fd: 7 } });
    vi.advanceTimersByTime(249);
    expect(touched).toEqual([]);
    vi.advanceTimersByTime(751);
    expect(touched).toEqual([7, 7, 7, 7]);
    stop();
    vi.advanceTimersByTime(1_000);
    expect(touched).toHaveLength(4);
  });

  test.each([
    ['without a temp file', false, undefined, []],
    ['of a closed temp file, where a link could be in its place', false, { ...temp, fd: undefined }, []],
    ['without a temp file on Windows', true, undefined, []],
    ['of a closed temp file on Windows', true, { ...temp, fd: undefined }, ['/directory/passwd.writer/temp']],
  ])('%s', (_what, windows, file, expected) => {
    const stop = startHeartbeat({ disk: touching(windows), temp: file });
    vi.advanceTimersByTime(250);
    stop();
    expect(touched).toEqual(expected);
  });

  test('that fails is followed by the next', () => {
    const disk = touching(false);
    const touch = vi.fn(disk.touch).mockImplementationOnce(() => {
      throw Object.assign(new Error('EIO'), { code: 'EIO' });
    });
    const stop = startHeartbeat({ disk: { ...disk, touch }, temp: { ...temp, fd: 7 } });
    vi.advanceTimersByTime(500);
    stop();
    expect(touched).toEqual([7]);
  });
});

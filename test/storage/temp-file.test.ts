/** The bytes of a temp file, its owner, and its heartbeat. */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Disk, type Ownership, systemDisk } from '../../src/storage/disk.js';
import type { Place } from '../../src/storage/path.js';
import { copyOwnership, startHeartbeat, type TempFile, writeAndSync } from '../../src/storage/temp-file.js';
import { testDirectory } from '../support/directory.js';

const MIB = 1_048_576;

/** Writes the pieces into a file and returns its content. */
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

/** A disk that writes at most this many bytes in each call. */
function takingAtMost(most: number): Disk {
  return {
    ...systemDisk,
    write: (fd, bytes, position) => systemDisk.write(fd, bytes.subarray(0, most), position),
  };
}

const lines = Array.from({ length: 30_000 }, (_, i) => `gerät-${i}:${'x'.repeat(100)}\n`);

describe.each([
  ['new lines of over 1 MiB', lines],
  ['new lines between old bytes', lines.flatMap(line => [line, Buffer.from('old:x\n')])],
  ['text of 1 MiB', ['x'.repeat(MIB), 'y']],
  ['text that has 1 MiB as UTF-8', ['é'.repeat(MIB / 2), 'y']],
  ['text with three bytes a character that nearly fills a block', ['ア'.repeat(MIB / 3), 'イウ']],
  ['bytes that fill a block', [Buffer.alloc(MIB, 'x'), Buffer.from('y')]],
  [
    'bytes that fill a block except one byte, then two bytes',
    [Buffer.alloc(MIB - 1, 'x'), Buffer.from('yz')],
  ],
  ['bytes of over a block between single characters', ['é', Buffer.alloc(MIB + 1, 'x'), 'z']],
  ['no pieces', []],
])('writeAndSync writes %s', (_what, pieces) => {
  const expected = Buffer.concat(pieces.map(piece => Buffer.from(piece)));

  test.each([
    ['on the real disk', systemDisk],
    ['on a disk that accepts a part of the bytes in each call', takingAtMost(300_001)],
  ])('byte for byte %s', async (_disk, disk) => {
    // equals(), because Buffers of that length take long to print.
    expect((await written(disk, pieces)).equals(expected)).toBe(true);
  });
});

test('writeAndSync writes 1 MiB in each call, of small and of large pieces, so that the heartbeat never waits long for one', async () => {
  const lengths: number[] = [];
  const write = (fd: number, bytes: Uint8Array, position: number) => {
    lengths.push(bytes.length);
    return systemDisk.write(fd, bytes, position);
  };
  await written({ ...systemDisk, write }, ['small', 'pieces', Buffer.alloc(3 * MIB, 'x')]);
  expect(lengths).toEqual([MIB, MIB, MIB, 'smallpieces'.length]);
});

test('writeAndSync syncs once, after all bytes are written', async () => {
  const calls: string[] = [];
  const write = (fd: number, bytes: Uint8Array, position: number) => {
    calls.push('write');
    return systemDisk.write(fd, bytes, position);
  };
  const sync = (fd: number) => {
    calls.push('sync');
    return systemDisk.sync(fd);
  };
  await written({ ...systemDisk, write, sync }, [Buffer.alloc(MIB, 'x'), 'y']);
  expect(calls).toEqual(['write', 'write', 'sync']);
});

describe('the owner of a temp file', () => {
  const temp: TempFile = { directory: '/data/passwd.writer', name: 'temp', fd: 7 };
  const ours = { uid: 1883, gid: 1883, mode: 0o100600 };
  const place: Place = {
    ...{ path: '/data/passwd', file: '/data/passwd' },
    ...{ directory: { uid: 0, gid: 0, mode: 0o40755 }, close: () => undefined },
  };

  /** Copies ownership on a disk on which each chown fails. Returns the owners that were asked for. */
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

  test('is not changed if it is right already, because the file system may have no owners', () => {
    expect(copied('ENOSYS', ours, false)).toEqual([]);
  });

  test.each([
    ['EPERM', 'ERR_OWNERSHIP'],
    ['EINVAL', 'ERR_OWNERSHIP'],
    ['EIO', 'EIO'],
  ])('that cannot be changed because of %s is an error %s', (code, expected) => {
    expect(() => copied(code, { ...ours, uid: 0 }, false)).toThrow(
      expect.objectContaining({ code: expected }),
    );
  });

  test('stays, and the group is changed if possible, if allowOwnerChange is set and chown fails with EPERM', () => {
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

  test('touches the temp file every 250 ms until it is stopped', () => {
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
    ['nothing without a temp file', false, undefined, []],
    ['no closed temp file, in whose place a link may be', false, { ...temp, fd: undefined }, []],
    ['nothing without a temp file on Windows', true, undefined, []],
    [
      'a closed temp file on Windows by its path',
      true,
      { ...temp, fd: undefined },
      ['/directory/passwd.writer/temp'],
    ],
  ])('touches %s', (_what, windows, file, expected) => {
    const stop = startHeartbeat({ disk: touching(windows), temp: file });
    vi.advanceTimersByTime(250);
    stop();
    expect(touched).toEqual(expected);
  });

  test('goes on after a touch that fails', () => {
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

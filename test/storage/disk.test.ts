/** What is done in directories that another user may have exchanged meanwhile. */
import { chownSync, lstatSync, mkdirSync, openSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { systemDisk } from '../../src/storage/disk.js';
import { testDirectory } from '../support/directory.js';
import { needs, root } from '../support/require.js';

let directory: string;
/** The directory as the lock reaches it. */
let opened: string;
beforeEach(() => {
  directory = testDirectory();
  opened = `/proc/self/fd/${openSync(directory, 'r')}`;
  mkdirSync(join(directory, 'other'), { mode: 0o700 });
  writeFileSync(join(directory, 'other/temp'), 'not a temp file');
});

const OWNER = { uid: 1883, gid: 1883, mode: 0o6777 };

function stateOf(name: string): unknown[] {
  const { uid, gid, mode } = lstatSync(join(directory, name));
  return [uid, gid, mode, readdirSync(join(directory, name))];
}

describe('a temp file is not created', () => {
  function expectNothing(name: string): void {
    const before = stateOf('other');
    expect(() => systemDisk.create(join(opened, name), 'new', OWNER)).toThrow();
    expect(stateOf('other')).toEqual(before);
  }

  test('in a directory that a link leads to', () => {
    symlinkSync('other', join(directory, 'candidate'));
    expectNothing('candidate');
  });

  test('in a directory that holds something', () => expectNothing('other'));

  needs(root).test("in another user's directory", () => {
    mkdirSync(join(directory, 'candidate'));
    chownSync(join(directory, 'candidate'), 1883, 1883);
    const before = stateOf('candidate');
    expectNothing('candidate');
    expect(stateOf('candidate')).toEqual(before);
  });
});

needs(root).test('a candidate directory gets owner and permissions, and no set-id bit', () => {
  systemDisk.mkdir(join(opened, 'candidate'));
  systemDisk.close(systemDisk.create(join(opened, 'candidate'), 'new', OWNER) as number);
  expect(stateOf('candidate')).toEqual([1883, 1883, 0o040777, ['new']]);
  expect(stateOf('.').slice(0, 2)).toEqual([0, 0]);
});

test('nothing is listed, looked at or removed through a link', () => {
  symlinkSync('other', join(directory, 'link'));
  expect(() => systemDisk.list(join(opened, 'link'), 10)).toThrow('ENOTDIR');
  expect(() => systemDisk.modified(join(opened, 'link'), 'temp')).toThrow('ENOTDIR');
  expect(() => systemDisk.unlink(join(opened, 'link'), 'temp')).toThrow('ENOTDIR');
  expect(readdirSync(join(directory, 'other'))).toEqual(['temp']);
});

test('no more names are read than asked for', () => {
  for (let n = 0; n < 50; n++) writeFileSync(join(directory, String(n)), '');
  expect(systemDisk.list(`${opened}/.`, 10)).toHaveLength(10);
});

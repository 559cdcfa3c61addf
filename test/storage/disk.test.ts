/** System calls in directories that another user may have exchanged meanwhile. */
import fs, {
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { systemDisk } from '../../src/storage/disk.js';
import { as } from '../support/as-user.js';
import { beforeCall, spyOnBuiltin } from '../support/builtins.js';
import { run, testDirectory } from '../support/directory.js';
import { linux, needs, program, root } from '../support/require.js';

let directory: string;
/** The path of the open directory, as the lock uses it. */
let opened: string;
beforeEach(() => {
  directory = testDirectory();
  const fd = openSync(directory, 'r');
  onTestFinished(() => closeSync(fd));
  opened = `/proc/self/fd/${fd}`;
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

  test('in an empty directory that a link leads to', () => {
    mkdirSync(join(directory, 'empty'));
    symlinkSync('empty', join(directory, 'candidate'));
    expectNothing('candidate');
    expect(readdirSync(join(directory, 'empty'))).toEqual([]);
  });

  needs(program('mkfifo')).test(
    'if there is a FIFO in the place of the directory, and the call does not wait',
    () => {
      run('mkfifo', join(directory, 'candidate'));
      expectNothing('candidate');
    },
  );

  needs(linux).test('in a directory that takes the place of the opened one, but in that one', () => {
    mkdirSync(join(directory, 'candidate'));
    mkdirSync(join(directory, 'empty'));
    spyOnBuiltin(fs as { opendirSync(path: string): fs.Dir }, 'opendirSync').mockImplementationOnce(path => {
      renameSync(join(directory, 'candidate'), join(directory, 'moved'));
      symlinkSync('empty', join(directory, 'candidate'));
      return fs.opendirSync(path);
    });
    systemDisk.close(systemDisk.create(join(opened, 'candidate'), 'new', OWNER) as number);
    expect(readdirSync(join(directory, 'empty'))).toEqual([]);
    expect(readdirSync(join(directory, 'moved'))).toEqual(['new']);
  });

  test('in a directory that is not empty', () => expectNothing('other'));

  needs(linux).test('where a link has its name, which is not followed', () => {
    mkdirSync(join(directory, 'candidate'));
    beforeCall('openSync', join(directory, 'candidate/new'), () =>
      symlinkSync(join(directory, 'other/temp'), join(directory, 'candidate/new')),
    );
    expect(() => systemDisk.create(join(opened, 'candidate'), 'new', OWNER)).toThrow(/^EEXIST/);
  });

  needs(root).test('in a directory that belongs neither to this user nor to the owner of its parent', () => {
    mkdirSync(join(directory, 'candidate'));
    chownSync(join(directory, 'candidate'), 1234, 1883);
    const before = stateOf('candidate');
    expect(() => systemDisk.create(join(opened, 'candidate'), 'new', OWNER)).toThrow(
      `user 0 has made ${opened}/candidate, but it belongs to user 1234.`,
    );
    expect(stateOf('candidate')).toEqual(before);
  });
});

describe('a candidate directory', () => {
  const create = () => systemDisk.close(systemDisk.create(join(opened, 'candidate'), 'new', OWNER) as number);

  test('and its temp file give no permission to others at first', () => {
    systemDisk.mkdir(join(opened, 'candidate'));
    expect(lstatSync(join(directory, 'candidate')).mode).toBe(0o040700);
    create();
    expect(lstatSync(join(directory, 'candidate/new')).mode).toBe(0o100600);
  });

  needs(root).test('gets owner and permissions of its parent, and no set-id bit', () => {
    systemDisk.mkdir(join(opened, 'candidate'));
    create();
    expect(stateOf('candidate')).toEqual([1883, 1883, 0o040777, ['new']]);
    expect(stateOf('.').slice(0, 2)).toEqual([0, 0]);
  });

  needs(root).test(
    'gets these only when the temp file is in it, because nobody else could reach into it before',
    () => {
      const held: string[][] = [];
      for (const name of ['fchownSync', 'fchmodSync'] as const) {
        const real = fs[name] as (...args: number[]) => void;
        spyOnBuiltin(fs as Record<typeof name, typeof real>, name).mockImplementation((...args) => {
          held.push(readdirSync(join(directory, 'candidate')));
          real(...args);
        });
      }
      systemDisk.mkdir(join(opened, 'candidate'));
      create();
      expect(held).toEqual([['new'], ['new']]);
    },
  );

  needs(root).test('that belongs to the owner of its parent keeps its group and permissions', () => {
    systemDisk.mkdir(join(opened, 'candidate'));
    chownSync(join(directory, 'candidate'), 1883, 1234);
    create();
    expect(stateOf('candidate')).toEqual([1883, 1234, 0o040700, ['new']]);
  });

  needs(root).test('gets the group of its parent if it cannot get the owner', async () => {
    chmodSync(directory, 0o777);
    await as({ uid: 1234, gid: 1234, groups: [OWNER.gid] }, () => {
      systemDisk.mkdir(join(opened, 'candidate'));
      create();
    });
    expect(stateOf('candidate')).toEqual([1234, OWNER.gid, 0o040777, ['new']]);
  });

  test('keeps its owner and permissions where there are no user ids, as on Windows', () => {
    vi.spyOn(process as { geteuid: unknown }, 'geteuid', 'get').mockReturnValue(undefined);
    onTestFinished(() => void vi.restoreAllMocks());
    systemDisk.mkdir(join(directory, 'candidate'));
    systemDisk.close(systemDisk.create(join(directory, 'candidate'), 'new', OWNER) as number);
    expect(lstatSync(join(directory, 'candidate')).mode).toBe(0o040700);
    expect(readdirSync(join(directory, 'candidate'))).toEqual(['new']);
  });
});

test('list, modified and unlink fail with ENOTDIR for a link in the place of a directory', () => {
  symlinkSync('other', join(directory, 'link'));
  expect(() => systemDisk.list(join(opened, 'link'), 10)).toThrow('ENOTDIR');
  expect(() => systemDisk.modified(join(opened, 'link'), 'temp')).toThrow('ENOTDIR');
  expect(() => systemDisk.unlink(join(opened, 'link'), 'temp')).toThrow('ENOTDIR');
  expect(readdirSync(join(directory, 'other'))).toEqual(['temp']);
});

test('list reads no more names than asked for', () => {
  for (let n = 0; n < 50; n++) writeFileSync(join(directory, String(n)), '');
  expect(systemDisk.list(`${opened}/.`, 10)).toHaveLength(10);
});

test.each([
  ['path', (path: string) => systemDisk.touch(path)],
  [
    'descriptor',
    (path: string) => {
      const fd = openSync(path, 'r+');
      systemDisk.touch(fd);
      closeSync(fd);
    },
  ],
])('touch sets the time of modification to now, by %s', (_what, touch) => {
  const path = join(directory, 'other/temp');
  utimesSync(path, 0, 0);
  const before = Date.now();
  touch(path);
  const { mtimeMs } = statSync(path);
  // touch passes the time as a fraction of seconds.
  expect(Math.round(mtimeMs)).toBeGreaterThanOrEqual(before);
  expect(Math.round(mtimeMs)).toBeLessThanOrEqual(Date.now());
});

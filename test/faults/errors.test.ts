/**
 * Each system call of an update is made to fail, one at a time, by strace on a child process. Before the commit, the
 * edit rejects with the cause, the old file is whole, and nothing is left beside it. After the commit, the new file is
 * whole, and an error, if any, says `committed`. The same instance works again.
 */
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { afterEach, expect, test } from 'vitest';
import { type Child, startChild } from '../support/children.js';
import { mountTmpfs } from '../support/disk.js';
import { diskCalls } from '../support/disk-calls.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';
import { mounting, needs } from '../support/require.js';
import { stamp, stampedLines } from '../support/stamps.js';
import { type Call, isOn, numbered, type Point, trace, tracing } from '../support/strace.js';
import type { EditReport } from './children/editor.js';

const ERRORS = ['ENOSPC', 'EIO', 'EDQUOT', 'EMFILE', 'EACCES', 'EROFS'] as const;
type Errno = (typeof ERRORS)[number];

/** A process that edits one file, and what that file holds before. */
class EditedFile implements AsyncDisposable {
  readonly path: string;
  #edits = 0;

  private constructor(
    readonly directory: ReturnType<typeof temporaryDirectory>,
    readonly elsewhere: ReturnType<typeof temporaryDirectory>,
    readonly child: Child,
    readonly original: string | undefined,
  ) {
    this.path = join(directory.path, 'passwords');
  }

  static async start(original: string | undefined): Promise<EditedFile> {
    const directory = temporaryDirectory('errors', memoryDirectory());
    const elsewhere = temporaryDirectory('warm', memoryDirectory());
    const child = await startChild(
      'editor',
      { path: join(directory.path, 'passwords'), warmUp: join(elsewhere.path, 'passwords') },
      { env: { UV_THREADPOOL_SIZE: '1' } },
    );
    return new EditedFile(directory, elsewhere, child, original);
  }

  /** Makes the file what it was at first. */
  reset(): void {
    if (this.original === undefined) rmSync(this.path, { force: true });
    else writeFileSync(this.path, this.original, { mode: 0o600 });
  }

  content(): string | undefined {
    return existsSync(this.path) ? readFileSync(this.path, 'latin1') : undefined;
  }

  leftovers(): string[] {
    return readdirSync(this.directory.path).filter(name => name !== 'passwords');
  }

  /** The files in the directory that the process has open. A close that was made to fail leaves one open for ever. */
  openFiles(): string[] {
    const descriptors = `/proc/${this.child.pid}/fd`;
    return readdirSync(descriptors)
      .map(fd => readlinkSync(join(descriptors, fd)))
      .filter(file => file.startsWith(this.directory.path));
  }

  /** Makes the process add a user while the calls named by `inject` fail. */
  async edit(inject: string[]): Promise<Edit> {
    const edit = { name: 'new', hash: stamp(1, ++this.#edits) };
    this.reset();
    const openBefore = this.openFiles().length;
    await using tracing = await trace(this.child.pid, { inject });
    const report = await this.child.ask<EditReport>(edit);
    const calls = await tracing.end();
    return {
      report,
      calls,
      openBefore,
      repeat: () => this.child.ask<EditReport>(edit),
      expected: `${this.original ?? ''}${edit.name}:${edit.hash}\n`,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child[Symbol.asyncDispose]();
    this.directory[Symbol.dispose]();
    this.elsewhere[Symbol.dispose]();
  }
}

interface Edit {
  report: EditReport;
  calls: Call[];
  /** How many files in the directory the process had open before. */
  openBefore: number;
  /** Makes the same edit again, without failures. */
  repeat(): Promise<EditReport>;
  /** The content of the new file. */
  expected: string;
}

/** Expects what must hold after any failure. Returns whether the edit rejected. */
async function expectSound(edited: EditedFile, edit: Edit, errno: Errno): Promise<boolean> {
  const { report, expected } = edit;
  const injected = edit.calls.filter(call => call.injected);
  const context = [...injected.map(call => call.text), JSON.stringify(report)].join('\n');
  expect(injected, context).not.toEqual([]);

  const content = edited.content();
  const committed = content === expected;
  if (!committed) expect(content === edited.original, context).toBe(true);
  if (report.error === undefined) {
    expect(committed, context).toBe(true);
  } else {
    expect(report.error, context).toMatchObject({
      name: 'PasswordFileError',
      errno: -constants.errno[errno],
    });
    expect(report.error.committed ?? false, context).toBe(committed);
  }
  if (!injected.some(call => isRemoval(call))) expect(edited.leftovers(), context).toEqual([]);

  const repeated = await edit.repeat();
  expect(repeated.error, context).toBeUndefined();
  expect(repeated.outcome, context).toBe(committed ? 'unchanged' : 'added');
  expect(edited.content() === expected, context).toBe(true);
  expect(edited.leftovers(), context).toEqual([]);
  if (!injected.some(call => call.name === 'close')) {
    // The cache keeps a file open that has not changed since it was read.
    expect(edited.openFiles().length, context).toBeLessThanOrEqual(edit.openBefore + (committed ? 1 : 0));
  }
  return report.error !== undefined;
}

function isRemoval({ name }: Call): boolean {
  return name === 'unlink' || name === 'rmdir' || name === 'unlinkat';
}

needs(...tracing).describe(
  'a system call that fails leaves the old file or the new one, in an update',
  () => {
    const anyCall = /./;
    const small = stampedLines('user', 100);
    const scenarios = [
      { title: 'of a file that does not exist yet', old: undefined, names: anyCall },
      { title: 'of a small file', old: small, names: anyCall },
      {
        title: 'of a file that is read and written in pieces',
        old: stampedLines('user', 45_000),
        names: /^(pread64|pwrite64|fsync)$/,
      },
    ];

    for (const { title, old, names } of scenarios) {
      test(title, async () => {
        await using edited = await EditedFile.start(old);
        const points = await pointsOf(edited, names);
        let rejections = 0;
        for (const point of points) {
          for (const errno of ERRORS) {
            if (await expectSound(edited, await edited.edit([failing(point, errno)]), errno)) rejections++;
          }
        }
        console.info(
          `an update ${title}: ${points.length} calls failed in ${ERRORS.length} ways, ${rejections} rejections`,
        );
      });
    }

    test('whose clean-up after that fails too', async () => {
      await using edited = await EditedFile.start(small);
      const points = await pointsOf(edited, anyCall);
      let removals = 0;
      for (const point of points) {
        for (const removal of ['unlink', 'rmdir']) {
          if (point.call.name === removal) continue;
          const edit = await edited.edit([failing(point, 'ENOSPC'), `${removal}:error=EIO`]);
          if (edit.calls.some(call => call.injected && call.name === removal)) removals++;
          await expectSound(edited, edit, 'ENOSPC');
        }
      }
      expect(removals).toBeGreaterThan(points.length);
      console.info(`${removals} removals failed after ${points.length} failures`);
    });

    test('whose clean-up after that fails too, and is made by another process later', async () => {
      await using edited = await EditedFile.start(small);
      const { report } = await edited.edit(['pwrite64:error=ENOSPC', 'unlink:error=EIO']);
      expect(report.error).toMatchObject({ errno: -constants.errno.ENOSPC });
      expect(edited.leftovers()).toEqual(['passwords.writer']);
      const file = new PasswordFile(edited.path, { lock: { stale: 1_000 } });
      expect(await file.setHash('new', stamp(2, 1))).toBe('added');
      expect(edited.content()).toBe(`${small}new:${stamp(2, 1)}\n`);
      expect(edited.leftovers()).toEqual([]);
    });

    async function pointsOf(edited: EditedFile, names: RegExp): Promise<Point[]> {
      const { calls, expected } = await edited.edit([]);
      expect(edited.content() === expected).toBe(true);
      const points = numbered(calls).filter(
        ({ call }) => names.test(call.name) && isOn(edited.directory.path, call),
      );
      expect(points.length).toBeGreaterThan(5);
      return points;
    }

    function failing({ call, ordinal }: Point, errno: Errno): string {
      return `${call.name}:error=${errno}:when=${ordinal}`;
    }
  },
);

needs(mounting).describe('an update on a nearly full disk', () => {
  const BLOCK = 4096;
  const sizes = [
    // Two calls: one takes a part of the bytes, the next fails.
    { title: 'of a file that is written at once', users: 3_000, calls: 2 },
    // Two pieces of 1 MiB fit before that.
    { title: 'of a file that is written in pieces', users: 45_000, calls: 4 },
  ];

  afterEach(() => {
    diskCalls.before = undefined;
  });

  for (const { title, users, calls } of sizes) {
    /** A file and, on the same disk, another one that leaves room for half of the first. */
    function crowded() {
      const old = stampedLines('user', users);
      const disk = mountTmpfs(2 * BLOCK * Math.ceil(old.length / BLOCK));
      const path = join(disk.path, 'passwords');
      writeFileSync(path, old);
      const filler = join(disk.path, 'filler');
      writeFileSync(filler, Buffer.alloc(old.length / 2));
      return { disk, old, path, filler };
    }

    /** Calls `run` before the `n`th step of this name. Returns a function that says how many there have been. */
    function at(n: number, name: string, run: () => void): () => number {
      let count = 0;
      diskCalls.before = call => {
        if (call.startsWith(name) && ++count === n) run();
      };
      return () => count;
    }

    test(`${title}: fails with ERR_WRITE_FAILED on ENOSPC and leaves the file unchanged`, async () => {
      const { disk, old, path, filler } = crowded();
      using _ = disk;
      let written = 0;
      const writes = at(2, 'write', () => {
        const directory = `${path}.writer`;
        written = statSync(join(directory, `${readdirSync(directory)[0]}`)).size;
      });
      const file = new PasswordFile(path);
      await expect(file.setHash('new', stamp(1, 1))).rejects.toMatchObject({
        code: 'ERR_WRITE_FAILED',
        cause: { code: 'ENOSPC' },
      });
      expect(writes()).toBe(calls);
      expect(written).toBeGreaterThan(0);
      expect(written).toBeLessThan(old.length);
      expect(readFileSync(path, 'latin1') === old).toBe(true);
      expect(readdirSync(disk.path).toSorted()).toEqual(['filler', 'passwords']);

      rmSync(filler);
      expect(await file.setHash('new', stamp(1, 1))).toBe('added');
      expect(readFileSync(path, 'latin1') === `${old}new:${stamp(1, 1)}\n`).toBe(true);
    });

    test(`${title}: writes the rest after a short write if there is room by then`, async () => {
      const { disk, old, path, filler } = crowded();
      using _ = disk;
      const writes = at(2, 'write', () => rmSync(filler));
      await new PasswordFile(path).setHash('new', stamp(1, 1));
      expect(writes()).toBeGreaterThanOrEqual(2);
      expect(existsSync(filler)).toBe(false);
      expect(readFileSync(path, 'latin1') === `${old}new:${stamp(1, 1)}\n`).toBe(true);
      expect(readdirSync(disk.path)).toEqual(['passwords']);
    });
  }
});

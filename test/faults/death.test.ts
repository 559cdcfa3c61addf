/**
 * A writer is killed at each file-system call of an update. The file then holds the old bytes or the new ones, and the
 * next writer goes on at once and cleans up.
 */
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { describe, expect, test } from 'vitest';
import { tempFileName } from '../../src/storage/lock-owner.js';
import { type Child, startChild } from '../support/children.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';
import { needs, root } from '../support/require.js';
import { stamp, stampedLines } from '../support/stamps.js';
import { type Call, isOn, numbered, trace, tracing } from '../support/strace.js';
import type { EditOrder, EditReport } from './children/editor.js';

interface Scenario {
  title: string;
  old: string | undefined;
  owner?: number;
  /** Whether writers that were killed have left their directories. */
  leftovers?: boolean;
  /** The steps of one update; a writer is killed before each. A new step in the code has to be added here. */
  steps: string[];
}

const ACQUIRE = ['mkdir', 'create', 'rename', 'list'];
const COMMIT_AND_CLEAN_UP = ['rename', 'close', 'unlink', 'rmdir', 'syncDirectory', 'close'];

const freshFile: Scenario = {
  title: 'of a file that does not exist yet',
  old: undefined,
  steps: [...ACQUIRE, 'chmod', 'write', 'sync', ...COMMIT_AND_CLEAN_UP],
};
const smallFile: Scenario = {
  title: 'of a small file',
  old: stampedLines('user', 100),
  steps: [...ACQUIRE, 'chmod', 'write', 'sync', ...COMMIT_AND_CLEAN_UP],
};
const largeFile: Scenario = {
  title: 'of a file that is read and written in pieces',
  old: stampedLines('user', 45_000),
  // The file has five blocks of 1 MiB, and a smaller one.
  steps: [...ACQUIRE, 'chmod', ...Array(6).fill('write'), 'sync', ...COMMIT_AND_CLEAN_UP],
};
const foreignFile: Scenario = {
  title: 'of a file of another user',
  old: stampedLines('user', 100),
  owner: 1883,
  steps: [...ACQUIRE, 'chown', 'chmod', 'write', 'sync', ...COMMIT_AND_CLEAN_UP],
};

const fileWithLeftovers: Scenario = {
  title: 'of a file whose last writers were killed',
  old: stampedLines('user', 100),
  leftovers: true,
  steps: [
    ...['mkdir', 'create', 'rename', 'list', 'unlink', 'rmdir', 'rename', 'list'],
    // Two directories are swept, one of them empty.
    ...['list', 'unlink', 'rmdir', 'list', 'rmdir'],
    ...['chmod', 'write', 'sync', ...COMMIT_AND_CLEAN_UP],
  ],
};

const NAME = 'new';
const HASH = stamp(1, 1);
const EDIT: EditOrder = { name: NAME, hash: HASH };

/** A file to be updated, and its two contents before and after that. */
class EditedFile implements Disposable {
  readonly #directory = temporaryDirectory('death', memoryDirectory());
  readonly path = join(this.#directory.path, 'passwords');
  readonly #old: string | undefined;
  readonly #new: string;

  constructor({ old, owner, leftovers }: Scenario) {
    this.#old = old;
    this.#new = `${old ?? ''}${NAME}:${HASH}\n`;
    if (old !== undefined) writeFileSync(this.path, old, { mode: 0o600 });
    if (owner !== undefined) chownSync(this.path, owner, owner);
    if (leftovers) this.#leftovers();
  }

  #leftovers(): void {
    const dead = spawnSync('true').pid;
    const temp = tempFileName('').replace(String(process.pid), String(dead));
    const nonces = ['00000000000000d1', '00000000000000d2', '00000000000000d3'] as const;
    const directories = [
      `${this.path}.writer`,
      `${this.path}.${nonces[1]}.writer`,
      `${this.path}.${nonces[2]}.writer`,
    ];
    for (const directory of directories) mkdirSync(directory);
    for (const n of [0, 1] as const)
      writeFileSync(join(`${directories[n]}`, `${nonces[n]}${temp}`), 'half of');
  }

  get directory(): string {
    return this.#directory.path;
  }

  /** Whether the file holds all of the old bytes, or all of the new ones. */
  state(): 'old' | 'new' | 'torn' {
    const bytes = existsSync(this.path) ? readFileSync(this.path, 'latin1') : undefined;
    return bytes === this.#old ? 'old' : bytes === this.#new ? 'new' : 'torn';
  }

  /** Expects that another writer can add a user, and leaves nothing beside the file. */
  async expectNextWriterSucceeds(): Promise<void> {
    const before = existsSync(this.path) ? readFileSync(this.path, 'latin1') : '';
    // With these options the lock is broken only if its owner is known to be dead.
    const lock = { stale: 2 ** 31 - 1, timeout: 10_000 };
    await new PasswordFile(this.path, { lock }).setHash('next', stamp(2, 1));
    expect(readFileSync(this.path, 'latin1') === `${before}next:${stamp(2, 1)}\n`).toBe(true);
    expect(readdirSync(this.directory)).toEqual(['passwords']);
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}

/** Runs the tasks, four at a time. */
async function inParallel(tasks: Array<() => Promise<void>>): Promise<void> {
  const lane = async () => {
    for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) await task();
  };
  await Promise.all(Array.from({ length: 4 }, lane));
}

describe('a kill before any step leaves the old file or the new one, in an update', () => {
  for (const scenario of [freshFile, smallFile, largeFile, fileWithLeftovers]) {
    test(scenario.title, () => expectSurvival(scenario));
  }
  needs(root).test(foreignFile.title, () => expectSurvival(foreignFile));

  async function expectSurvival(scenario: Scenario): Promise<void> {
    const { steps } = scenario;
    // Directories are swept in the order in which the file system lists them.
    expect((await stepsWithoutDeath(scenario)).toSorted()).toEqual(steps.toSorted());
    const deaths = steps.map((_, index) => async () => {
      using edited = new EditedFile(scenario);
      await using child = await startChild('editor', { path: edited.path });
      child.send({ ...EDIT, dieBefore: index + 1 });
      expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' });
      expect(edited.state()).toBe(index > steps.lastIndexOf('rename') ? 'new' : 'old');
      await edited.expectNextWriterSucceeds();
    });
    await inParallel(deaths);
  }

  async function stepsWithoutDeath(scenario: Scenario): Promise<string[]> {
    using edited = new EditedFile(scenario);
    await using child = await startChild('editor', { path: edited.path });
    const report = await child.ask<EditReport>(EDIT);
    expect(report.outcome).toBe('added');
    expect(edited.state()).toBe('new');
    return report.steps;
  }
});

/** The same by strace, which sees and can kill at each system call, also at those that are no step of the `Disk` port. */
needs(...tracing).describe(
  'a kill at any system call leaves the old file or the new one, in an update',
  () => {
    /** A child whose pool thread runs already, so that all of its further system calls belong to the update. */
    function startEditor(edited: EditedFile, elsewhere: string): Promise<Child> {
      return startChild(
        'editor',
        { path: edited.path, warmUp: join(elsewhere, 'passwords') },
        { env: { UV_THREADPOOL_SIZE: '1' } },
      );
    }

    async function callsWithoutDeath(scenario: Scenario) {
      using edited = new EditedFile(scenario);
      using elsewhere = temporaryDirectory('warm', memoryDirectory());
      await using child = await startEditor(edited, elsewhere.path);
      await using tracing = await trace(child.pid);
      const { steps } = await child.ask<EditReport>(EDIT);
      const calls = await tracing.end();
      return {
        steps,
        calls: calls.filter(call => isOn(edited.directory, call)),
        points: numbered(calls).filter(({ call }) => isOn(edited.directory, call)),
      };
    }

    const scenarios = [
      { ...smallFile, names: /./ },
      // Only the calls that differ from those of a small file.
      { ...largeFile, names: /^(pread64|pwrite64|fsync)$/ },
    ];

    for (const { names, ...scenario } of scenarios) {
      test(scenario.title, async () => {
        const { steps, calls, points: all } = await callsWithoutDeath(scenario);
        // Each system call that changes something is a function of the `Disk` port, so that the kills above miss none.
        expect(calls.flatMap(call => changeBy(call) ?? [])).toEqual(
          steps.map(step => step.replace('InPool', '')).filter(step => step !== 'list' && step !== 'close'),
        );
        const points = all.filter(({ call }) => names.test(call.name));
        expect(points.length).toBeGreaterThan(5);
        const deaths = points.map(({ call, ordinal }) => async () => {
          using edited = new EditedFile(scenario);
          using elsewhere = temporaryDirectory('warm', memoryDirectory());
          await using child = await startEditor(edited, elsewhere.path);
          await using _ = await trace(child.pid, { inject: [`${call.name}:signal=KILL:when=${ordinal}`] });
          child.send(EDIT);
          expect(await child.exited, call.text).toEqual({ code: null, signal: 'SIGKILL' });
          expect(edited.state(), call.text).not.toBe('torn');
          await edited.expectNextWriterSucceeds();
        });
        await inParallel(deaths);
        console.info(`an update ${scenario.title}: killed at ${points.length} system calls`);
      });
    }
  },
);

/** The function of the `Disk` port that makes this call. `undefined`: it only looks, or is a heartbeat or part of `create`. */
function changeBy({ name, text }: Call): string | undefined {
  const [, opened = ''] = /^\w+\(\d+<([^>]*)>/.exec(text) ?? [];
  const isDirectory = !/\/(passwords|[0-9a-f]{16}\.[^/]*)$/.test(opened);
  if (/^(mkdir|rmdir|unlink|rename)/.test(name)) return name.replace(/at2?$/, '');
  if (name === 'openat' && text.includes('O_CREAT')) return 'create';
  if (name === 'fchown' || name === 'fchmod') return isDirectory ? undefined : name.slice(1);
  if (name === 'fsync') return isDirectory ? 'syncDirectory' : 'sync';
  if (name === 'pwrite64') return 'write';
  if (
    /^(statx|statfs|newfstatat|fstat|stat|lstat|readlink|access|openat|close|pread64|getdents64|utimensat)$/.test(
      name,
    )
  )
    return undefined;
  return `unknown: ${text}`;
}

/**
 * The power goes off while a writer acknowledges edits. The disk of that moment, mounted again, has each edit that was
 * acknowledged before. `FreezableDisk` says what a disk is here. The test shows that the library syncs what it must, in
 * the right order. It does not show that drives write what they are asked to.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { RegistrarArgument } from '../faults/children/registrar.js';
import { type Child, startChild } from '../support/children.js';
import { FreezableDisk, freezableDisks } from '../support/disk.js';
import { memoryDirectory, temporaryDirectory } from '../support/leftovers.js';
import { needs } from '../support/require.js';

const POWER_CUTS = 12;
const LINES = /^(user_\d+:\$7\$101\$[\w+/]{16}\$[\w+/]{86}==\n)*$/;

interface AfterPowerCut {
  /** The users whose edits had been acknowledged before. */
  acknowledged: string[];
  /** The content of the file; `undefined`: there is none. */
  text: string | undefined;
}

/** A disk, and a process that adds users to a file on it. */
class Registry implements AsyncDisposable {
  readonly #disk = new FreezableDisk();
  readonly #elsewhere = temporaryDirectory('acknowledged', memoryDirectory());
  readonly #log = join(this.#elsewhere.path, 'log');
  registrar: Child | undefined;

  async start(users: number, omitSyncOf?: 'files' | 'directories'): Promise<Child> {
    const argument: RegistrarArgument = {
      path: join(this.#disk.path, 'passwords'),
      log: this.#log,
      users,
      omitSyncOf,
    };
    this.registrar = await startChild('registrar', argument);
    return this.registrar;
  }

  cutPower(): AfterPowerCut {
    const acknowledged = readFileSync(this.#log, 'utf8').split('\n').slice(0, -1);
    return { acknowledged, text: this.#disk.afterPowerCut(directory => read(join(directory, 'passwords'))) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.registrar?.[Symbol.asyncDispose]();
    this.#disk[Symbol.dispose]();
    this.#elsewhere[Symbol.dispose]();
  }
}

function read(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'latin1') : undefined;
}

/** The users who were acknowledged and are not in the file. */
function lost({ acknowledged, text = '' }: AfterPowerCut): string[] {
  const present = new Set(text.split('\n').map(line => line.split(':')[0]));
  return acknowledged.filter(name => !present.has(name));
}

needs(freezableDisks).describe('a power cut', () => {
  test('loses no acknowledged edit', async () => {
    await using registry = new Registry();
    await registry.start(Number.MAX_SAFE_INTEGER);
    let last = 0;
    for (let cut = 0; cut < POWER_CUTS; cut++) {
      await passed(20 + 100 * Math.random());
      const after = registry.cutPower();
      expect(lost(after)).toEqual([]);
      expect(after.text ?? '').toMatch(LINES);
      last = after.acknowledged.length;
    }
    expect(last).toBeGreaterThan(POWER_CUTS);
    console.info(`${POWER_CUTS} power cuts, the last after ${last} acknowledged edits`);
  });

  // These show that the test above can fail.
  for (const omitted of ['files', 'directories'] as const) {
    test(`loses acknowledged edits of a writer that does not sync ${omitted}`, async () => {
      await using registry = new Registry();
      const registrar = await registry.start(20, omitted);
      expect(await registrar.next()).toBe('done');
      expect(lost(registry.cutPower())).not.toEqual([]);
    });
  }
});

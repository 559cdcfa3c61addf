/**
 * The power goes while a writer acknowledges: what the disk holds at that moment, mounted again, has every edit that
 * was acknowledged before. See `FreezableDisk` for what a disk is here. This shows that the library asks for
 * everything to be written that has to be, in the right order; not that drives do as they are asked.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startChild } from '../support/children.js';
import { FreezableDisk, freezableDisks } from '../support/disk.js';
import { memoryFolder, temporaryFolder } from '../support/leftovers.js';
import { needs } from '../support/require.js';
import type { RegistrarArgument } from './children/registrar.js';

const POWER_CUTS = 12;
const LINES = /^(user_\d+:\$7\$101\$[\w+/]{16}\$[\w+/]{86}==\n)*$/;

interface AfterPowerCut {
  /** Who had been acknowledged before. */
  acknowledged: string[];
  /** What stands in the file; `undefined`: there is none. */
  text: string | undefined;
}

/** Cuts the power at random moments while a process adds users, for as long as it is wanted to. */
async function* powerCuts(omitSyncOf?: 'files' | 'folders'): AsyncGenerator<AfterPowerCut> {
  using disk = new FreezableDisk();
  using elsewhere = temporaryFolder('acknowledged', memoryFolder());
  const log = join(elsewhere.path, 'log');
  const argument: RegistrarArgument = { path: join(disk.path, 'passwords'), log, omitSyncOf };
  await using _ = await startChild('registrar', argument);
  for (;;) {
    await passed(20 + 100 * Math.random());
    const acknowledged = readFileSync(log, 'utf8').split('\n').slice(0, -1);
    yield { acknowledged, text: disk.afterPowerCut(folder => read(join(folder, 'passwords'))) };
  }
}

function read(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'latin1') : undefined;
}

/** Those that were acknowledged and are not there. */
function lost({ acknowledged, text = '' }: AfterPowerCut): string[] {
  const present = new Set(text.split('\n').map(line => line.split(':')[0]));
  return acknowledged.filter(name => !present.has(name));
}

needs(freezableDisks).describe('when the power goes', () => {
  test('no acknowledged edit is lost', async () => {
    let cuts = 0;
    for await (const after of powerCuts()) {
      expect(lost(after)).toEqual([]);
      expect(after.text ?? '').toMatch(LINES);
      if (++cuts < POWER_CUTS) continue;
      console.info(`${cuts} power cuts, the last after ${after.acknowledged.length} acknowledged edits`);
      break;
    }
  });

  // What the test above is worth.
  for (const omitted of ['files', 'folders'] as const) {
    test(`edits are lost by a writer that does not sync ${omitted}`, async () => {
      let cuts = 0;
      for await (const after of powerCuts(omitted)) {
        if (lost(after).length > 0) break;
        expect(++cuts).toBeLessThan(5 * POWER_CUTS);
      }
    });
  }
});

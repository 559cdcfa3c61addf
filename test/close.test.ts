import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { PasswordFile } from '../src/password-file.js';
import { descriptors, openIn } from './support/descriptors.js';
import { HASH, newFile, quick } from './support/password-file.js';
import { needs } from './support/require.js';

let directory: string;
let path: string;
let file: PasswordFile;
beforeEach(async () => {
  ({ directory, path, file } = newFile());
  await writeFile(path, `alice:${HASH}\n`);
});

/** Whether this process has the password file open. */
const isOpen = () => openIn(directory).length > 0;

describe('close', () => {
  needs(descriptors).test('closes the file at once, until the next read', async () => {
    expect(await file.verify('alice', 'secret')).toBe(true);
    expect(isOpen()).toBe(true);
    expect(file.close()).toBeUndefined();
    expect(isOpen()).toBe(false);
    expect(await file.verify('alice', 'secret')).toBe(true);
    expect(isOpen()).toBe(true);
    file.close();
    file.close();
    expect(isOpen()).toBe(false);
  });

  needs(descriptors).test('closes the file at the end of a read that has just been called', async () => {
    const read = file.users();
    file.close();
    expect(await read).toEqual(['alice']);
    await vi.waitFor(() => expect(isOpen()).toBe(false));
  });

  test('cancels no edit and no read', async () => {
    const calls = [file.setHash('bob', HASH), file.users(), file.verify('alice', 'secret')];
    file.close();
    expect(await calls[0]).toBe('added');
    expect(await calls[1]).toContain('alice');
    expect(await calls[2]).toBe(true);
    expect(await file.users()).toEqual(['alice', 'bob']);
  });

  test('cancels no reload', async () => {
    const reloaded = join(directory, 'reloaded');
    const reloading = new PasswordFile(path, { ...quick, reload: { command: ['touch', reloaded] } });
    await reloading.setHash('bob', HASH);
    reloading.close();
    await reloading.reloaded();
    expect(existsSync(reloaded)).toBe(true);
  });

  test.skipIf((Symbol as { dispose?: symbol }).dispose === undefined)(
    'is called by Symbol.dispose',
    async () => {
      expect(await file.verify('alice', 'secret')).toBe(true);
      const { dispose } = Symbol as unknown as { dispose: symbol };
      (file as unknown as Record<symbol, () => void>)[dispose]?.();
      expect(isOpen()).toBe(false);
      expect(await file.verify('alice', 'secret')).toBe(true);
    },
  );

  test.skipIf((Symbol as { dispose?: symbol }).dispose === undefined)(
    'leaves Symbol.dispose to a subclass that has its own',
    () => {
      const { dispose } = Symbol as unknown as { dispose: symbol };
      const disposed: string[] = [];
      class Store extends PasswordFile {
        [dispose](): void {
          disposed.push('method');
        }
      }
      class Field extends PasswordFile {
        [dispose] = (): unknown => disposed.push('field');
      }
      (new Store(path) as unknown as Record<symbol, () => void>)[dispose]?.();
      (new Field(path) as unknown as Record<symbol, () => void>)[dispose]?.();
      expect(disposed).toEqual(['method', 'field']);
    },
  );
});

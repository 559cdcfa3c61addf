import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { expect, test } from 'vitest';
import { errorLine } from '../../src/cli/output.js';
import { tempFileName } from '../../src/storage/lock-owner.js';
import { testFolder } from '../support/folder.js';

test('an error of the lock names no option of the library', async () => {
  const path = join(testFolder(), 'passwd');
  mkdirSync(`${path}.writer`);
  writeFileSync(join(`${path}.writer`, tempFileName('0123456789abcdef')), '');
  const file = new PasswordFile(path, { missing: 'empty', lock: { timeout: 0 } });
  const error = await file.setUser('alice', 'one').catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'ERR_LOCK_TIMEOUT', message: expect.stringContaining('lock.timeout') });
  expect(errorLine(error)).toMatch(
    /^Error: Waited .* Find out what that process waits for\. Then repeat the command\.\n$/,
  );
});

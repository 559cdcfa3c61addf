/** A worker thread with a small stack, which holds the arguments of calls. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect, inject, test } from 'vitest';
import { testDirectory } from '../support/directory.js';

test('upgrade hashes the passwords of more users than a call can have arguments', async () => {
  const path = join(testDirectory(), 'passwd');
  const names = Array.from({ length: 15_000 }, (_, i) => `user${i}`);
  await writeFile(path, names.map(name => `${name}:secret\n`).join(''), { mode: 0o600 });
  // With the default of 4 MiB, this would take 500,000 users.
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.library).then(async ({ PasswordFile }) => {
      const file = new PasswordFile(workerData.path, { hash: { algorithm: 'sha512' } });
      parentPort.postMessage(await file.upgrade());
    });`,
    {
      eval: true,
      workerData: { library: pathToFileURL(join(inject('scripts'), 'src/index.js')).href, path },
      resourceLimits: { stackSizeMb: 0.3 },
    },
  );
  expect(await once(worker, 'message')).toEqual([names]);
});

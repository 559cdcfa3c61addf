/** Two copies of the package in one process, as when one dependency imports it and another requires it. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import * as esm from 'mosquitto-passwd-ts';

const { path } = JSON.parse(process.argv[2]);
const commonjs = createRequire(import.meta.url)('mosquitto-passwd-ts');
const copies = [esm, commonjs];

assert.deepEqual(Object.keys(esm).sort(), Object.keys(commonjs).sort());
assert.notEqual(esm.PasswordFile, commonjs.PasswordFile);

// An error of the one is no instance of the other's class: its code is what both know.
const error = await new commonjs.PasswordFile(path).setUser('service:pulse', 'x').catch(reason => reason);
assert.equal(error instanceof commonjs.PasswordFileError, true);
assert.equal(error instanceof esm.PasswordFileError, false);
assert.equal(error.code, 'ERR_INVALID_USERNAME');

// Neither loses an edit of the other, whether its callers wait for each other or not.
const expected = [];
const edits = copies.map(async ({ PasswordFile }, copy) => {
  const file = new PasswordFile(path);
  const name = number => {
    expected.push(`${copy}-${number}`);
    return `${copy}-${number}`;
  };
  await Promise.all(Array.from({ length: 50 }, (_, number) => file.setUser(name(number), 'together')));
  for (let number = 50; number < 100; number++) await file.addUser(name(number), 'in turn');
});
await Promise.all(edits);
assert.deepEqual((await new esm.PasswordFile(path).users()).sort(), expected.sort());

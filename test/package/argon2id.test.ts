/** argon2id hashes need crypto.argon2, which the Node that runs the tests may lack. */
import { expect } from 'vitest';
import { argon2idGoldens } from '../support/goldens.js';
import { NODE_24, node24 } from '../support/node24.js';
import { needs } from '../support/require.js';
import { runScript } from '../support/script.js';

needs(node24).test('argon2id hashes of mosquitto_passwd 2.1.2 verify under Node 24', async () => {
  const body = `
    const { verifyPassword, verifyPasswordSync } = await load('src/hash/hash.ts');
    const answers = [];
    for (const [password, hash] of args) {
      for (const each of [password, password + ' ']) {
        answers.push(await verifyPassword(each, hash), verifyPasswordSync(each, hash));
      }
    }
    return answers;
  `;
  const args = argon2idGoldens.map(({ password, line }) => [password, line.slice(6).trimEnd()]);
  expect(args.length).toBe(8);
  const answers = await runScript(body, { args, node: NODE_24 });
  expect(answers).toEqual(args.flatMap(() => [true, true, false, false]));
});

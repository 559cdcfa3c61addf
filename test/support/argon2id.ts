/** Verifies the argon2id goldens and prints the answers; for a Node that has argon2. */
import { verifyPassword, verifyPasswordSync } from '../../src/hash/hash.js';
import { argon2idGoldens } from './goldens.js';

const answers = [];
for (const { password, line } of argon2idGoldens) {
  const hash = line.trimEnd().slice('alice:'.length);
  answers.push({
    right: [await verifyPassword(password, hash), verifyPasswordSync(password, hash)],
    wrong: [await verifyPassword(`${password} `, hash), verifyPasswordSync(`${password} `, hash)],
  });
}
console.log(JSON.stringify(answers));

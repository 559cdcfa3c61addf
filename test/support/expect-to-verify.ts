import { expect } from 'vitest';
import { formatHash, parseHash } from '../../src/hash/encoding.js';
import { type HashOptions, hashPassword, verifyPassword } from '../../src/hash/hash.js';
import type { GoldenLine } from './goldens.js';

/** How a hash was made, so that it can be made again. */
function recipeOf(hash: string): HashOptions {
  const parsed = parseHash(hash);
  if (parsed.algorithm === 'argon2id') throw new Error('is never made');
  const { algorithm, salt } = parsed;
  return { algorithm, salt, iterations: parsed.algorithm === 'sha512' ? undefined : parsed.iterations };
}

/** That they verify, no other password does, and hashing with the same salt gives the same line, byte for byte. */
export async function expectToVerify(lines: GoldenLine[]): Promise<void> {
  for (const { password, hash } of lines) {
    const others = [`${password}x`, `x${password}`, password.slice(1), password.toUpperCase()];
    const isCostly = hash.startsWith('$7$100000$');
    const verified: string[] = [];
    for (const each of new Set([password, ...(isCostly ? others.slice(0, 1) : others)])) {
      if (await verifyPassword(each, hash)) verified.push(each);
    }
    // The tool hashes an empty password, but no client can log in with one.
    const lets = password !== '';
    const again = lets ? await hashPassword(password, recipeOf(hash)) : hash;
    expect({ verified, parsed: formatHash(parseHash(hash)), again }).toEqual({
      verified: lets ? [password] : [],
      parsed: hash,
      again: hash,
    });
  }
}

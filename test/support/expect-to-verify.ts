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

/** That they verify, and that hashing with the same salt gives the same line, byte for byte. */
export async function expectToVerify(lines: GoldenLine[]): Promise<void> {
  for (const { password, hash } of lines) {
    // The tool hashes an empty password, but no client can log in with one.
    const lets = password !== '';
    expect({ password, hash, verifies: await verifyPassword(password, hash) }).toEqual({
      password,
      hash,
      verifies: lets,
    });
    const others = [`${password}x`, `x${password}`, password.slice(1), password.toUpperCase()];
    const isCostly = hash.startsWith('$7$100000$');
    for (const other of isCostly ? others.slice(0, 1) : others) {
      if (other !== password) expect(await verifyPassword(other, hash), other).toBe(false);
    }
    expect(formatHash(parseHash(hash))).toBe(hash);
    if (lets) expect(await hashPassword(password, recipeOf(hash))).toBe(hash);
  }
}

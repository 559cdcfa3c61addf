import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { expectToVerify } from '../support/expect-to-verify.js';
import { decode, type Golden, goldens, withoutSalts, writtenLines } from '../support/goldens.js';
import { describePasswdTools } from '../support/require.js';

describePasswdTools('fixtures/record.ts', ({ version }) => {
  test('records hashes that verify, and the same results as the fixtures', async () => {
    const program = fileURLToPath(new URL('../../fixtures/record.ts', import.meta.url));
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--import', 'tsx', program, version], {
      encoding: 'utf8',
      maxBuffer: 1 << 24,
    });
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    const fresh: Golden[] = JSON.parse(stdout);
    expect(fresh.every(call => call.version === version)).toBe(true);
    const lines = writtenLines(fresh);
    expect(lines.length).toBeGreaterThan(130);
    await expectToVerify(lines);

    const known = goldens.filter(golden => golden.version === version);
    if (known.length > 0) expect(fresh.map(comparable)).toEqual(known.map(comparable));
  });
});

function comparable({ file, stdout, ...call }: Golden): object {
  return { ...call, stdout: withoutSalts(stdout), file: file === null ? null : withoutSalts(decode(file)) };
}

import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { beforeAll, expect, test } from 'vitest';

/** The library in one file, as it is published. */
let library: string;
beforeAll(async () => {
  library = await bundle({ entryPoints: ['src/index.ts'] });
});

async function bundle(options: Parameters<typeof build>[0]): Promise<string> {
  const common = { bundle: true, platform: 'node', format: 'esm', target: 'node20', write: false } as const;
  const { outputFiles } = await build({ ...common, ...options });
  return outputFiles?.[0]?.text ?? '';
}

/** What is left of the library where a program uses one export alone. */
function bundleOf(name: string, minify: boolean): Promise<string> {
  const contents = `${library}\nconsole.log(${name});`.replace(/^export \{[^}]*\};$/m, '');
  return bundle({ stdin: { contents }, minify });
}

test('a program that uses hashPassword alone bundles at most 3 kB, gzipped', async () => {
  const minified = await bundleOf('hashPassword', true);
  expect(minified).toContain('pbkdf2');
  expect(gzipSync(minified).length).toBeLessThanOrEqual(3_000);
});

test.each([
  ['hashPassword', ['node:crypto']],
  ['verifyPassword', ['node:crypto']],
  ['generateCredentials', ['node:crypto']],
  ['checkPasswordFile', ['node:crypto']],
])('a program that uses %s alone imports nothing but %j', async (name, modules) => {
  const text = await bundleOf(name, false);
  const imported = [...text.matchAll(/^import .*"(.+)";$/gm)].map(([, module]) => module);
  expect(imported).toEqual(modules);
});

import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { beforeAll, expect, test } from 'vitest';

/** The library bundled into one file, as it is published. */
let library: string;
beforeAll(async () => {
  library = await bundle({ entryPoints: ['src/index.ts'] });
});

async function bundle(options: Parameters<typeof build>[0]): Promise<string> {
  const common = { bundle: true, platform: 'node', format: 'esm', target: 'node20', write: false } as const;
  const { outputFiles } = await build({ ...common, ...options });
  return outputFiles?.[0]?.text ?? '';
}

/** The bundle of a program that uses one export of the library. */
function bundleOf(name: string, minify: boolean): Promise<string> {
  const contents = `${library}\nconsole.log(${name});`.replace(/^export \{[^}]*\};$/m, '');
  return bundle({ stdin: { contents }, minify });
}

test('the bundle of a program that uses only hashPassword is at most 3 kB, gzipped', async () => {
  const minified = await bundleOf('hashPassword', true);
  expect(minified).toContain('pbkdf2');
  expect(gzipSync(minified).length).toBeLessThanOrEqual(3_000);
});

test.each([
  ['hashPassword', ['node:crypto']],
  ['verifyPassword', ['node:crypto']],
  ['generateCredentials', ['node:crypto']],
  ['checkPasswordFile', ['node:crypto']],
])('the bundle of a program that uses only %s imports nothing but %j', async (name, modules) => {
  const text = await bundleOf(name, false);
  const imported = [...text.matchAll(/^import .*"(.+)";$/gm)].map(([, module]) => module);
  expect(imported).toEqual(modules);
});

test('the library imports no module of Node that it rarely uses until it uses it', () => {
  const imported = [...library.matchAll(/^import .*"(.+)";$/gm)].map(([, module]) => module);
  const modules = ['async_hooks', 'crypto', 'fs', 'os', 'path', 'url'];
  expect([...new Set(imported)].sort()).toEqual(modules.map(name => `node:${name}`));
});

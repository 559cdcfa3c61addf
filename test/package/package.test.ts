/** The content of the tarball, and its references. */
import { readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { compileFunction } from 'node:vm';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Packed, PROJECT, packAndInstall, run } from './packed.js';

let packed: Packed;

beforeAll(async () => {
  packed = await packAndInstall();
}, 300_000);

afterAll(() => rm(packed.directory, { recursive: true, force: true }));

test('the tarball holds only dist, README, LICENSE, CHANGELOG and package.json', () => {
  const files = readdirSync(packed.installed);
  expect(files.sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'package.json']);
  for (const name of readdirSync(join(packed.installed, 'dist'), { recursive: true })) {
    expect(name).toMatch(/\.(js|js\.map|cjs|cjs\.map|d\.ts|d\.cts|1)$/);
  }
});

test('the package installs no dependencies and runs no scripts', () => {
  const manifest = JSON.parse(readFileSync(join(packed.installed, 'package.json'), 'utf8'));
  for (const kind of ['dependencies', 'optionalDependencies', 'bundleDependencies']) {
    expect(manifest).not.toHaveProperty(kind);
  }
  expect(Object.keys(manifest.peerDependencies)).toEqual(['@types/node']);
  expect(manifest.peerDependenciesMeta).toEqual({ '@types/node': { optional: true } });
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) {
    expect(manifest.scripts).not.toHaveProperty(script);
  }
  const modules = readdirSync(join(packed.directory, 'node_modules')).filter(name => !name.startsWith('.'));
  expect(modules).toEqual(['mosquitto-passwd-ts']);
});

test('dist refers only to modules of Node and to its own files', () => {
  const dist = join(packed.installed, 'dist');
  const names = readdirSync(dist);
  const texts = names
    .filter(name => !name.endsWith('.map'))
    .map(name => readFileSync(join(dist, name), 'utf8'));
  const references = texts.flatMap(text => [
    ...[...text.matchAll(/^[^*/]*\b(?:from|require\(|import\() ?["']([^"']+)["']/gm)].map(
      ([, module]) => module,
    ),
    ...[...text.matchAll(/^\/\/# sourceMappingURL=(.*)$/gm)].map(([, name]) => `./${name}`),
  ]);
  expect(references).toContain('node:crypto');
  for (const reference of references) {
    expect(reference?.startsWith('node:') || names.includes(reference?.slice(2) as string), reference).toBe(
      true,
    );
  }
});

test('dist/index.cjs works where its loader gives it no import(), as Jest', async () => {
  const path = join(packed.installed, 'dist/index.cjs');
  const module = { exports: {} as typeof import('../../src/index.js') };
  compileFunction(readFileSync(path, 'utf8'), ['module', 'require'])(module, createRequire(path));
  const { confirmLogin, reloadBroker } = module.exports;
  await reloadBroker({ command: [process.execPath, '--version'] });
  for (const tls of [false, true]) {
    const login = { host: '127.0.0.1', port: 1, username: 'alice', password: 'secret', tls, timeout: 1 };
    await expect(confirmLogin(login)).rejects.toMatchObject({ code: 'ERR_LOGIN_FAILED' });
  }
});

test('dist is not minified', () => {
  const text = readFileSync(join(packed.installed, 'dist/index.js'), 'utf8');
  expect(text).toMatch(/\nasync function hashPassword\(password, /);
  expect(text.match(/;\n/g)?.length).toBeGreaterThan(500);
});

test.each(['index.js', 'index.cjs', 'cli.cjs'])('dist/%s is ASCII, which Node parses faster', name => {
  const text = readFileSync(join(packed.installed, 'dist', name), 'latin1');
  expect(text.match(/.*[\x80-\xff].*/g)).toBeNull();
});

test('the source maps hold the sources, with paths inside the project', () => {
  const dist = join(packed.installed, 'dist');
  const maps = readdirSync(dist).filter(name => name.endsWith('.map'));
  expect(maps).toContain('index.js.map');
  for (const name of maps) {
    const { sources, sourcesContent } = JSON.parse(readFileSync(join(dist, name), 'utf8'));
    for (const source of sources) expect(source).toMatch(/^\.\.\/src\/[\w/-]+\.ts$/);
    expect(sourcesContent).toHaveLength(sources.length);
    expect(sourcesContent).not.toContain(null);
  }
});

test('publint finds no problems in the package', async () => {
  const bytes = new Uint8Array(readFileSync(packed.tarball));
  const { messages, pkg } = await publint({ pack: { tarball: bytes.buffer }, strict: true });
  expect(messages.map(message => formatMessage(message, pkg))).toEqual([]);
});

test('@arethetypeswrong/cli finds no problems in the package', async () => {
  const attw = join(PROJECT, 'node_modules/@arethetypeswrong/cli/dist/index.js');
  const args = [attw, packed.tarball, '--no-definitely-typed', '--no-emoji', '--no-color'];
  const { stdout } = await run(process.execPath, args);
  expect(stdout).toContain('No problems found');
});

test('test/package/consumer/every-export.ts uses every export', () => {
  const declarations = readFileSync(join(packed.installed, 'dist/index.d.ts'), 'utf8');
  const exported = /^export \{ (.*) \};$/m.exec(declarations)?.[1]?.split(', ') ?? [];
  const consumer = readFileSync(join(packed.directory, 'every-export.ts'), 'utf8');
  expect(exported).toContain('PasswordFile');
  const missing = exported.map(name => name.replace('type ', '')).filter(name => !uses(consumer, name));
  expect(missing, 'exports to be added to test/package/consumer/every-export.ts').toEqual([]);
});

/** Whether the consumer uses a name, beside its import. */
function uses(consumer: string, name: string): boolean {
  return consumer.split(new RegExp(`\\b${name}\\b`)).length > 2;
}

/** The package as users get it: packed, installed into an empty folder, loaded, and compiled against. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Need, needs } from '../support/require.js';

const run = promisify(execFile);
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const { XDG_CACHE_HOME } = process.env;
const CACHE = join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'mosquitto-passwd-ts');
const NPM_FLAGS = [
  ...['--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'],
  ...['--fetch-retries=2', '--fetch-retry-mintimeout=500', '--fetch-retry-maxtimeout=2000'],
];

/** Where the package is packed to and installed, beside the consumers of test/package/consumer/. */
let folder: string;
let tarball: string;
let installed: string;

beforeAll(async () => {
  if (newest('src', 'package.json', 'tsup.config.ts') > newest('dist'))
    await run('npm', ['run', 'build'], { cwd: PROJECT });
  folder = await mkdtemp(join(tmpdir(), 'package-'));
  installed = join(folder, 'node_modules/mosquitto-passwd-ts');
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder, ...NPM_FLAGS], {
    cwd: PROJECT,
  });
  tarball = join(folder, readdirSync(folder).find(name => name.endsWith('.tgz')) as string);
  // Without dependencies it needs no registry.
  await run('npm', ['install', '--prefix', folder, '--offline', ...NPM_FLAGS, tarball]);
  for (const name of readdirSync(join(PROJECT, 'test/package/consumer'))) {
    await copyFile(join(PROJECT, 'test/package/consumer', name), join(folder, name));
  }
}, 180_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** When the newest of these files, or of the files in these folders, was changed; 0: there is none. */
function newest(...names: string[]): number {
  const times = names.flatMap(name => {
    const path = join(PROJECT, name);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (!stats?.isDirectory()) return stats?.mtimeMs ?? 0;
    return readdirSync(path).map(child => newest(join(name, child)));
  });
  return Math.max(0, ...times);
}

describe('the tarball', () => {
  test('holds dist, README, LICENSE, CHANGELOG and package.json alone', () => {
    const files = readdirSync(installed);
    expect(files.sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'package.json']);
    for (const name of readdirSync(join(installed, 'dist'), { recursive: true })) {
      expect(name).toMatch(/\.(js|js\.map|cjs|cjs\.map|d\.ts|d\.cts|1)$/);
    }
  });

  test('brings no dependencies and runs nothing when it is installed', () => {
    const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    for (const kind of ['dependencies', 'optionalDependencies', 'bundleDependencies']) {
      expect(manifest).not.toHaveProperty(kind);
    }
    expect(Object.keys(manifest.peerDependencies)).toEqual(['@types/node']);
    expect(manifest.peerDependenciesMeta).toEqual({ '@types/node': { optional: true } });
    for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) {
      expect(manifest.scripts).not.toHaveProperty(script);
    }
    const modules = readdirSync(join(folder, 'node_modules')).filter(name => !name.startsWith('.'));
    expect(modules).toEqual(['mosquitto-passwd-ts']);
  });

  test('refers to nothing outside of it', () => {
    for (const name of readdirSync(join(installed, 'dist'))) {
      const text = readFileSync(join(installed, 'dist', name), 'utf8');
      expect(text).not.toContain('sourceMappingURL');
      const modules = [...text.matchAll(/^[^*/]*\b(?:from|require\(|import\() ?["']([^"']+)["']/gm)];
      for (const [, module] of modules) expect(module).toMatch(/^node:/);
    }
  });

  test('satisfies publint', async () => {
    const bytes = new Uint8Array(readFileSync(tarball));
    const { messages, pkg } = await publint({ pack: { tarball: bytes.buffer }, strict: true });
    expect(messages.map(message => formatMessage(message, pkg))).toEqual([]);
  });

  test('satisfies @arethetypeswrong/cli', async () => {
    const attw = join(PROJECT, 'node_modules/@arethetypeswrong/cli/dist/index.js');
    const args = [attw, tarball, '--no-definitely-typed', '--no-emoji', '--no-color'];
    const { stdout } = await run(process.execPath, args);
    expect(stdout).toContain('No problems found');
  });
});

describe.each([20, 22, 24, 26])('Node %i', major => {
  needs(node(major)).describe('uses the package', () => {
    test.each([
      ['from an ES module', 'esm.mjs'],
      ['from CommonJS', 'commonjs.cjs'],
      ['from both in one process, which interoperate', 'both.mjs'],
    ])('%s', async (_title, consumer) => {
      const path = join(folder, `passwd-${major}-${consumer}`);
      await run(findNode(major) as string, [join(folder, consumer), path]);
    });
  });
});

function node(major: number): Need {
  return {
    what: `Node ${major} (by test/support/install-nodes.sh ${major})`,
    isProgram: true,
    met: () => findNode(major) !== undefined,
  };
}

/** The Node of a major release: the running one, or what test/support/install-nodes.sh has installed. */
function findNode(major: number): string | undefined {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  const path = join(CACHE, `node-${major}/bin/node`);
  return statSync(path, { throwIfNoEntry: false }) && path;
}

// Resolution node10 ends with TypeScript 6; TypeScript 7 does not know it any more.
describe.each([
  { title: 'TypeScript 5.4, the oldest', version: '5.4', resolutions: ['nodenext', 'bundler', 'node10'] },
  { title: 'TypeScript 6, the last with node10', version: '6', resolutions: ['node10'] },
  { title: 'the newest TypeScript', version: 'newest', resolutions: ['nodenext', 'bundler'] },
] as const)('$title', async ({ title, version, resolutions }) => {
  const compiler = await findTypeScript(version);
  const need: Need = { what: `${title}, or a registry that has it`, isProgram: true, met: () => !!compiler };

  needs(need).describe('compiles consumers', () => {
    test.each(resolutions)('with resolution %s', async resolution => {
      await typeCheck(compiler as string, resolution);
    });
  });
});

test('the consumer uses every export', () => {
  const declarations = readFileSync(join(installed, 'dist/index.d.ts'), 'utf8');
  const exported = /^export \{ (.*) \};$/m.exec(declarations)?.[1]?.split(', ') ?? [];
  const consumer = readFileSync(join(folder, 'every-export.ts'), 'utf8');
  expect(exported).toContain('PasswordFile');
  const missing = exported.map(name => name.replace('type ', '')).filter(name => !uses(consumer, name));
  expect(missing, 'exports to be added to test/package/consumer/every-export.ts').toEqual([]);
});

/** Whether it names something, once in its import and once or more below. */
function uses(consumer: string, name: string): boolean {
  return consumer.split(new RegExp(`\\b${name}\\b`)).length > 2;
}

/** A compiler, kept between runs; `undefined`: it is not there yet, and there is no registry. */
async function findTypeScript(version: string): Promise<string | undefined> {
  const prefix = join(CACHE, `typescript-${version}`);
  const compiler = join(prefix, 'node_modules/.bin/tsc');
  const isInstalled = () => statSync(compiler, { throwIfNoEntry: false }) !== undefined;
  if (version === 'newest' || !isInstalled()) {
    // Of a range npm takes the newest release that this Node can run.
    const range = version === 'newest' ? '>=5.4' : version;
    await mkdir(prefix, { recursive: true }).catch(() => undefined);
    await run('npm', ['install', '--prefix', prefix, ...NPM_FLAGS, `typescript@${range}`]).catch(
      () => undefined,
    );
  }
  return isInstalled() ? compiler : undefined;
}

const MODULE = { nodenext: 'nodenext', bundler: 'preserve', node10: 'commonjs' };

/** Compiles the consumer; nodenext takes it as an ES module and as CommonJS. */
async function typeCheck(compiler: string, resolution: keyof typeof MODULE): Promise<void> {
  const project = await mkdtemp(join(folder, `${resolution}-`));
  const extensions = resolution === 'nodenext' ? ['mts', 'cts'] : ['ts'];
  const files = extensions.map(extension => `every-export.${extension}`);
  for (const file of files) await copyFile(join(folder, 'every-export.ts'), join(project, file));
  await mkdir(join(project, 'node_modules/@types'), { recursive: true });
  await symlink(join(PROJECT, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'));
  const { stdout: version } = await run(compiler, ['--version']);
  const compilerOptions = {
    module: MODULE[resolution],
    moduleResolution: resolution,
    ...(resolution === 'node10' && version.includes(' 6.') && { ignoreDeprecations: '6.0' }),
    target: 'ES2022',
    lib: ['ES2022'],
    types: ['node'],
    noEmit: true,
    skipLibCheck: false,
    strict: true,
    exactOptionalPropertyTypes: true,
    isolatedModules: true,
    noFallthroughCasesInSwitch: true,
    noImplicitOverride: true,
    noImplicitReturns: true,
    noPropertyAccessFromIndexSignature: true,
    noUncheckedIndexedAccess: true,
    noUnusedLocals: true,
    noUnusedParameters: true,
  };
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
  const { stdout, code } = await run(compiler, ['--project', project]).then(
    result => ({ ...result, code: 0 }),
    error => error,
  );
  expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
}

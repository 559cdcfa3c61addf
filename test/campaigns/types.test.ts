/** The packed declarations, compiled by old and new TypeScript. docs/runtimes.md holds the table of results. */
import { statSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { npm, type Packed, PROJECT, packAndInstall, run } from '../package/packed.js';
import { expectDocumented } from '../support/documented-table.js';
import { type Need, needs } from '../support/require.js';
import { CACHE } from '../support/runtimes.js';

const DOCUMENT = new URL('../../docs/runtimes.md', import.meta.url);

let packed: Packed;

beforeAll(async () => {
  packed = await packAndInstall();
}, 300_000);

afterAll(() => rm(packed.directory, { recursive: true, force: true }));

interface Compiler {
  title: string;
  program: string | undefined;
  version: string;
}

/** Installs a compiler, which is kept for further runs. */
async function findTypeScript(title: string, range: string): Promise<Compiler> {
  const prefix = join(CACHE, `typescript-${range === 'latest' ? 'newest' : range}`);
  const program = join(prefix, 'node_modules/.bin/tsc');
  const isInstalled = () => statSync(program, { throwIfNoEntry: false }) !== undefined;
  if (range === 'latest' || !isInstalled()) {
    await mkdir(prefix, { recursive: true });
    // Without a registry, the one that is installed already is used.
    await npm('install', '--prefix', prefix, `typescript@${range}`).catch(() => undefined);
  }
  if (!isInstalled()) return { title, program: undefined, version: 'unknown' };
  const { stdout } = await run(program, ['--version']);
  return { title, program, version: /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? 'unknown' };
}

const COMPILERS = [
  await findTypeScript('TypeScript 5.0, the oldest', '5.0'),
  await findTypeScript('TypeScript 5.4', '5.4'),
  await findTypeScript('TypeScript 5.9', '5.9'),
  await findTypeScript('the newest', 'latest'),
];

function needOf({ title, program }: Compiler): Need {
  return { what: `${title}, or a registry that has it`, isProgram: true, met: () => program !== undefined };
}

const MODES = {
  node16: { module: 'node16', moduleResolution: 'node16' },
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
  commonjs: { module: 'commonjs', moduleResolution: 'node10' },
};
type Mode = keyof typeof MODES;

/** The options of a mode. TypeScript 7 has no resolution node10, so CommonJS is compiled with that of bundlers there. */
function optionsOf(mode: Mode, { version }: Compiler): object {
  if (mode === 'commonjs' && Number.parseInt(version, 10) >= 7)
    return { module: 'commonjs', moduleResolution: 'bundler' };
  return MODES[mode];
}

const STRICT = {
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

// Not shuffled, because the test of the table comes last.
describe('a consumer of every export', { shuffle: false }, () => {
  const compiled = new Map<string, Mode[]>();

  describe.each(COMPILERS)('$title', compiler => {
    needs(needOf(compiler)).describe('compiles', () => {
      test.each(Object.keys(MODES) as Mode[])(
        'in the mode %s',
        async mode => {
          const project = await newProject({ ...STRICT, ...optionsOf(mode, compiler) }, mode);
          await addTypesOfNode(project);
          expect(await compile(compiler, project)).toEqual({ code: 0, stdout: '' });
          compiled.set(compiler.title, [...(compiled.get(compiler.title) ?? []), mode]);
        },
        310_000,
      );
    });
  });

  needs(...COMPILERS.map(needOf)).test('is documented with these results', () => {
    const body = COMPILERS.map(({ title, version }) => [
      title,
      version,
      ...(compiled.get(title)?.map(() => 'compiles') ?? ['was not run']),
    ]);
    expectDocumented(DOCUMENT, 'typescript', [['TypeScript', 'Release', ...Object.keys(MODES)], ...body]);
  });
});

needs(needOf(COMPILERS[3] as Compiler)).test(
  'the newest TypeScript finds the types of Node only by the option types',
  async () => {
    const { types: _, ...options } = { ...STRICT, ...MODES.nodenext, skipLibCheck: true };
    const project = await newProject(options, 'nodenext');
    await addTypesOfNode(project);
    const { stdout } = await compile(COMPILERS[3] as Compiler, project);
    expect(stdout).toContain("Cannot find name 'AbortSignal'");
  },
  310_000,
);

describe('without @types/node', () => {
  const compiler = COMPILERS[2] as Compiler;
  const options = { ...STRICT, ...MODES.nodenext, lib: ['ES2022', 'DOM'], types: [] };
  const source = `import { hashPassword, PasswordFile } from 'mosquitto-passwd-ts';
    export const hash: Promise<string> = hashPassword('secret');
    export const outcome: Promise<'added' | 'updated' | 'unchanged'> = new PasswordFile('passwd').setUser('alice', 'secret');
  `;

  needs(needOf(compiler)).describe('a consumer', () => {
    test('compiles with skipLibCheck', async () => {
      const project = await newProject({ ...options, skipLibCheck: true }, 'nodenext', source);
      expect(await compile(compiler, project)).toEqual({ code: 0, stdout: '' });
    }, 310_000);

    test('gets compiler errors without skipLibCheck that name what is missing', async () => {
      const project = await newProject(options, 'nodenext', source);
      const { code, stdout } = await compile(compiler, project);
      const errors = stdout.trimEnd().split('\n');
      const missing =
        /index\.d\.c?ts\(\d+,\d+\): error TS2307: Cannot find module 'node:tls' or its .* declarations\.$/;
      expect(errors).toEqual([expect.stringMatching(missing), expect.stringMatching(missing)]);
      expect(code).toBe(2);
    }, 310_000);
  });
});

/** Makes a directory with the consumer; for resolution by the rules of Node, as an ES module and as CommonJS. */
async function newProject(compilerOptions: object, mode: Mode, source?: string): Promise<string> {
  const project = await mkdtemp(join(packed.directory, `${mode}-`));
  const extensions = mode.startsWith('node') ? ['mts', 'cts'] : ['ts'];
  const files = extensions.map(extension => `consumer.${extension}`);
  for (const file of files) {
    if (source === undefined) await copyFile(join(packed.directory, 'every-export.ts'), join(project, file));
    else await writeFile(join(project, file), source);
  }
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
  return project;
}

async function addTypesOfNode(project: string): Promise<void> {
  await mkdir(join(project, 'node_modules/@types'), { recursive: true });
  await symlink(join(PROJECT, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'));
}

async function compile({ program }: Compiler, project: string): Promise<{ code: number; stdout: string }> {
  return run(program as string, ['--project', project], { timeout: 300_000 }).then(
    ({ stdout }) => ({ code: 0, stdout }),
    ({ code, stdout }) => ({ code, stdout }),
  );
}

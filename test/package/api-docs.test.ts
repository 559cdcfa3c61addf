/** The API reference in docs/api is the output of typedoc for the current declarations. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { testDirectory } from '../support/directory.js';
import { PROJECT, run } from './packed.js';

test('docs/api is up to date (npm run docs:api writes it)', async () => {
  const made = testDirectory();
  const typedoc = join(PROJECT, 'node_modules/typedoc/bin/typedoc');
  await run(process.execPath, [typedoc, '--out', made, '--logLevel', 'Warn'], { cwd: PROJECT });
  const pages = readPages(made);
  expect([...pages.keys()]).toContain('classes/PasswordFile.md');
  expect(readPages(join(PROJECT, 'docs/api'))).toEqual(pages);
}, 300_000);

/** The text of each page by its path. */
function readPages(directory: string): Map<string, string> {
  if (!existsSync(directory)) return new Map();
  const paths = readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort();
  const files = paths.filter(path => statSync(join(directory, path)).isFile());
  return new Map(
    files.map(path => [path.replaceAll('\\', '/'), readFileSync(join(directory, path), 'utf8')]),
  );
}

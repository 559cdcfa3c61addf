/**
 * Makes the links and pictures of README.md absolute while the package is packed, so that they work on the registry's
 * page. `prepack` runs it with `absolute`, `postpack` with `relative`, which restores the file.
 *
 * The links lead to the tag of the packed version, so that those of an older release lead to the pages of that release.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { readManifest, repositoryAddress } from './repository.js';

/** The target of a link or picture: inline, by reference, or in an attribute of HTML. */
const TARGET = /(\]\(|^\[[^\]]+\]: +|\b(?:href|src|srcset)=")([^)"\s]+)/gm;
const ABSOLUTE = /^(?:[a-z][a-z0-9+.-]*:|\/\/|#)/i;
const PICTURE = /\.(?:svg|png|gif|jpe?g|webp)$/;

export function absolute(readme: string, repository: string, version: string): string {
  return outsideCode(readme, text =>
    text.replace(TARGET, (whole, before: string, path: string) => {
      if (ABSOLUTE.test(path)) return whole;
      // GitHub serves the file itself under raw, and a page about it under blob.
      return `${before}${repository}/${PICTURE.test(path) ? 'raw' : 'blob'}/v${version}/${path}`;
    }),
  );
}

/** Undoes {@link absolute}. */
export function relative(readme: string, repository: string, version: string): string {
  const without = (text: string, kind: string) => text.replaceAll(`${repository}/${kind}/v${version}/`, '');
  return ['raw', 'blob'].reduce(without, readme);
}

/** Changes a Markdown document outside of its fenced blocks and code spans. */
function outsideCode(markdown: string, change: (text: string) => string): string {
  const parts = markdown.split(/(^```[\s\S]*?^```$|`[^`\n]+`)/m);
  return parts.map((part, index) => (index % 2 === 0 ? change(part) : part)).join('');
}

function main(direction: string | undefined): void {
  const manifest = readManifest('.');
  const repository = repositoryAddress(manifest);
  if (repository === undefined) {
    if (direction === 'absolute') {
      console.error('README.md keeps its relative links: package.json has no repository.');
    }
    return;
  }
  const change = direction === 'absolute' ? absolute : relative;
  writeFileSync('README.md', change(readFileSync('README.md', 'utf8'), repository, manifest.version));
}

if (import.meta.filename === process.argv[1]) main(process.argv[2]);

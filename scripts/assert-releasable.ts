/** Checks what `npm run release` needs before it publishes. Prints what is missing, and exits with status 1. */
import { readdirSync } from 'node:fs';
import { readManifest, repositoryAddress } from './repository.js';

const obstacles: string[] = [];

if (repositoryAddress(readManifest('.')) === undefined) {
  obstacles.push(
    'package.json has no repository. Set repository, homepage and bugs to the addresses of the project: the registry ' +
      'accepts a package with provenance only from the repository that it names, and README.md links to it.',
  );
}

const pending = readdirSync('.changeset').filter(name => name.endsWith('.md') && name !== 'README.md');
if (pending.length > 0) {
  obstacles.push(
    `These changesets are not in CHANGELOG.md yet: ${pending.join(', ')}. Run npm run version, and commit what it changes.`,
  );
}

for (const obstacle of obstacles) console.error(`Cannot release: ${obstacle}`);
if (obstacles.length > 0) process.exitCode = 1;

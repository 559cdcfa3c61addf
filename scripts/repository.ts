/** The `repository` of package.json: where the project lives, once it has an address. */
import { readFileSync } from 'node:fs';

export interface Manifest {
  version: string;
  repository?: string | { url?: string } | undefined;
}

export function readManifest(directory: string): Manifest {
  return JSON.parse(readFileSync(`${directory}/package.json`, 'utf8'));
}

/**
 * The web address of the repository, without a slash at its end. `undefined`: package.json has none.
 *
 * Only GitHub is known: the workflows that release are GitHub's, and other hosts have other addresses for files.
 */
export function repositoryAddress({ repository }: Manifest): string | undefined {
  const text = typeof repository === 'string' ? repository : repository?.url;
  if (text === undefined) return undefined;
  const [, name] =
    /^(?:github:|(?:git\+)?(?:https|ssh):\/\/(?:git@)?github\.com\/)?([\w.-]+\/[\w.-]+?)(?:\.git)?$/.exec(
      text,
    ) ?? [];
  if (name === undefined) throw new Error(`The repository in package.json is not a GitHub address: ${text}`);
  return `https://github.com/${name}`;
}

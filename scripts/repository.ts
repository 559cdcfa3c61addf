/** The `repository` of package.json: the address of the project, once it has one. */
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
 * Only addresses of GitHub are accepted: the release workflows are for GitHub, and other hosts have other file addresses.
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

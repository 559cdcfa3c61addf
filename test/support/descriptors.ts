/** The open files of this process. */
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { relative } from 'node:path';
import type { Need } from './require.js';

export const descriptors: Need = {
  what: '/proc/self/fd',
  isProgram: false,
  met: () => existsSync('/proc/self/fd'),
};

/** The open files in a directory, and `''` for the directory itself, each as often as it is open. */
export function openIn(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap(fd => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path === directory || path.startsWith(`${directory}/`) ? [relative(directory, path)] : [];
    } catch {
      return [];
    }
  });
}

/** File systems that tests mount. */
import { execFileSync } from 'node:child_process';
import { temporaryFolder, undoing } from './leftovers.js';

/** A folder on a file system of its own that holds so many bytes. */
export function mountTmpfs(bytes: number): Disposable & { path: string } {
  const folder = temporaryFolder('tmpfs');
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=755`, 'none', folder.path]);
  const unmounted = undoing(() => execFileSync('umount', [folder.path]));
  return {
    path: folder.path,
    [Symbol.dispose]() {
      unmounted[Symbol.dispose]();
      folder[Symbol.dispose]();
    },
  };
}

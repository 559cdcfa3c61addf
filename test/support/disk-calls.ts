/** Looks on at the calls that writers of this process make on the disk, by wrapping the functions of `systemDisk`. */
import { type Disk, systemDisk } from '../../src/storage/disk.js';

/** Called before each call that changes something or lists a directory, with the function's name. */
export const diskCalls: { before: ((name: keyof Disk) => void) | undefined } = { before: undefined };

const LOOKS = ['windows', 'modified', 'isSame', 'ownership', 'touch'];

for (const [name, call] of Object.entries(systemDisk)) {
  if (LOOKS.includes(name)) continue;
  Object.assign(systemDisk, {
    [name]: (...args: unknown[]) => {
      diskCalls.before?.(name as keyof Disk);
      return call(...args);
    },
  });
}

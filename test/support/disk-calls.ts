/** Observes the calls that writers of this process make on the disk, by wrapping the functions of `systemDisk`. */
import { type Disk, systemDisk } from '../../src/storage/disk.js';

type Name = Exclude<keyof Disk, 'windows'>;

export const diskCalls: {
  /** Called before each call that changes something or lists a directory, with the function's name. */
  before: ((name: Name) => void) | undefined;
  /** Returns the code with which a call fails, such as `'EPERM'`; `undefined`: the call is made. */
  fail: ((name: Name, args: readonly unknown[]) => string | undefined) | undefined;
} = { before: undefined, fail: undefined };

const LOOKS: readonly Name[] = ['modified', 'isSame', 'ownership', 'touch', 'openDirectory'];

/** All functions of the disk. */
export const DISK_FUNCTIONS = Object.keys(systemDisk).filter(name => name !== 'windows') as Name[];

for (const name of DISK_FUNCTIONS) {
  const call = systemDisk[name] as (...args: unknown[]) => unknown;
  const wrapped = (...args: unknown[]): unknown => {
    if (!LOOKS.includes(name)) diskCalls.before?.(name);
    const code = diskCalls.fail?.(name, args);
    if (code !== undefined) throw Object.assign(new Error(`${code}: made to fail, ${name}`), { code });
    return call(...args);
  };
  Object.assign(systemDisk, { [name]: wrapped });
}

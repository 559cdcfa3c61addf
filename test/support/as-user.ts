/** Calls of `PasswordFile` with the rights of an ordinary user. */
import { PasswordFile, type PasswordFileOptions } from '../../src/index.js';

export interface User {
  uid: number;
  gid: number;
  /** Supplementary groups. */
  groups?: number[];
}

/** The user `nobody` of Linux, who owns no files. */
export const NOBODY: User = { uid: 65_534, gid: 65_534 };

/** An ordinary user: {@link NOBODY} for root, else the one who runs the tests. */
export const ORDINARY: User =
  process.geteuid?.() === 0 ? NOBODY : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

type Method = Exclude<keyof PasswordFile, 'update'>;
type Arguments<M extends Method> = Parameters<PasswordFile[M]>;
type Result<M extends Method> = Awaited<ReturnType<PasswordFile[M]>>;

/**
 * Calls a method of `new PasswordFile(path, options)` with the rights of this user. Root becomes that user until the call
 * has settled.
 */
export async function callAs<M extends Method>(
  user: User,
  path: string,
  options: PasswordFileOptions,
  method: M,
  ...args: Arguments<M>
): Promise<Result<M>> {
  const call = PasswordFile.prototype[method] as (...args: Arguments<M>) => Promise<Result<M>>;
  return as(user, () => call.apply(new PasswordFile(path, options), args));
}

/** Runs a function with the rights of this user. Root becomes that user until the result has settled. */
export async function as<T>(user: User, run: () => T | Promise<T>): Promise<T> {
  if (process.geteuid?.() === user.uid) return run();
  const groups = process.getgroups?.() ?? [];
  process.setgroups?.(user.groups ?? []);
  process.setegid?.(user.gid);
  process.seteuid?.(user.uid);
  try {
    return await run();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
    process.setgroups?.(groups);
  }
}

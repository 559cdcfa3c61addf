/** `PasswordFile` as a user who may not do everything. */
import { PasswordFile, type PasswordFileOptions } from '../../src/index.js';
import { runScript } from './script.js';

export interface User {
  uid: number;
  gid: number;
  /** Further groups. */
  groups?: number[];
}

/** The user whom nothing belongs to, on every Linux. */
export const NOBODY: User = { uid: 65_534, gid: 65_534 };

/** An ordinary user: {@link NOBODY} for root, else the one who runs the tests. */
export const ORDINARY: User =
  process.geteuid?.() === 0 ? NOBODY : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

type Method = Exclude<keyof PasswordFile, 'update'>;
type Arguments<M extends Method> = Parameters<PasswordFile[M]>;
type Result<M extends Method> = Awaited<ReturnType<PasswordFile[M]>>;

/**
 * Calls a method of `new PasswordFile(path, options)` as this user: in a process of its own, which becomes the user
 * after it has loaded its code; or right here, where the tests run as that user.
 */
export async function callAs<M extends Method>(
  user: User,
  path: string,
  options: PasswordFileOptions,
  method: M,
  ...args: Arguments<M>
): Promise<Result<M>> {
  if (process.geteuid?.() === user.uid) {
    const call = PasswordFile.prototype[method] as (...args: Arguments<M>) => Promise<Result<M>>;
    return call.apply(new PasswordFile(path, options), args);
  }
  const { value, error } = await runScript(
    `const { PasswordFile } = await load('src/index.ts');
    process.setgroups(args.user.groups ?? []);
    process.setgid(args.user.gid);
    process.setuid(args.user.uid);
    try {
      return { value: await new PasswordFile(args.path, args.options)[args.method](...args.args) };
    } catch (error) {
      return { error: { ...error, message: error.message, cause: error.cause } };
    }`,
    { args: { user, path, options, method, args } },
  );
  if (error !== undefined) throw Object.assign(new Error(), error);
  return value;
}

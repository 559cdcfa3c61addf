import { fileURLToPath } from 'node:url';
import { invalidArgument, type PasswordFileError } from '../errors.js';
import { attempt } from './attempt.js';

/** Returns what the option must be, for the message; `undefined`: the value is valid. */
export type OptionCheck = (value: unknown) => string | undefined;
/** A check for each known option. An option that holds options has checks for these. */
export type OptionChecks<T> = {
  [K in keyof Required<T>]: OptionCheck | { [inner: string]: OptionCheck };
};

/**
 * Copies the options that a caller gave, so that a later change of the caller's object has no effect. Only own properties
 * count, and the copy has no prototype: a polluted `Object.prototype` sets no option.
 *
 * @param checks `undefined` passes each of them: the caller checks which options are required
 * @param name of the option that holds them (`'hash'`), for messages; `''`: they are the options of a function
 * @throws PasswordFileError `ERR_INVALID_ARGUMENT` for an unknown option, or an invalid value
 */
export function readOptions<T extends object>(options: T | undefined, checks: OptionChecks<T>, name = ''): T {
  const copy: Record<string, unknown> = Object.create(null);
  if (options === undefined) return copy as T;
  // Refuses an array, and an AbortSignal that is passed in place of `{ signal }`.
  if (Object.prototype.toString.call(options) !== '[object Object]') {
    throw invalidOption(name || 'options', 'an object');
  }
  for (const key of Object.keys(options)) {
    const path = name === '' ? key : `${name}.${key}`;
    if (!Object.hasOwn(checks, key)) {
      const known = Object.keys(checks).join(', ');
      throw invalidArgument(
        `There is no option ${JSON.stringify(path.slice(0, 100))}. The options here are ${known}.`,
      );
    }
    const value = options[key as keyof T];
    if (value === undefined) continue;
    const check = checks[key as keyof T];
    const wanted = typeof check === 'function' ? check(value) : undefined;
    if (wanted !== undefined) throw invalidOption(path, wanted);
    copy[key] = typeof check === 'function' ? value : readOptions(value as object, check, path);
  }
  return copy as T;
}

/** In place of options that were not given. Unlike `{}` it has no prototype, which others could pollute. */
export const NO_OPTIONS: object = /* @__PURE__ */ Object.freeze(/* @__PURE__ */ Object.create(null));

export function invalidOption(option: string, wanted: string): PasswordFileError {
  return invalidArgument(`${option} must be ${wanted}.`);
}

export function oneOf(...allowed: readonly unknown[]): OptionCheck {
  const wanted = `one of ${allowed.map(each => JSON.stringify(each)).join(', ')}`;
  return value => (allowed.includes(value) ? undefined : wanted);
}

export function whole(from: number, to: number): OptionCheck {
  return value =>
    Number.isInteger(value) && (value as number) >= from && (value as number) <= to
      ? undefined
      : `a whole number from ${from} to ${to}`;
}

export const isBoolean = /* @__PURE__ */ oneOf(true, false);

/** A user or group id. 2^32 - 1 means none (chown(2)). */
export const isId = /* @__PURE__ */ whole(0, 0xffff_fffe);

/** The longest delay of a timer, in milliseconds. */
export const MAX_TIMER = 0x7fff_ffff;

export const isString: OptionCheck = value => (typeof value === 'string' ? undefined : 'a string');

export const isFunction: OptionCheck = value => (typeof value === 'function' ? undefined : 'a function');

export const isSignal: OptionCheck = value => {
  const signal = value as Partial<AbortSignal> | null;
  const methods = [signal?.throwIfAborted, signal?.addEventListener, signal?.removeEventListener];
  return methods.every(method => typeof method === 'function') ? undefined : 'an AbortSignal';
};

/** For options that the caller of {@link readOptions} checks itself. */
export const isAnything: OptionCheck = () => undefined;

/** The path that a caller gave as a string or URL; `undefined`: it is neither, or contains a NUL. */
export function pathOf(value: unknown): string | undefined {
  const path = value instanceof URL ? attempt(() => fileURLToPath(value)) : value;
  return typeof path === 'string' && !path.includes('\0') ? path : undefined;
}

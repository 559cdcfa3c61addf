/** Functions of Node's own modules, watched or replaced for one test in all modules that import them. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { type Mock, onTestFinished, vi } from 'vitest';

const { readlinkSync } = fs;

// biome-ignore lint/suspicious/noExplicitAny: any parameters.
type Callable = (...args: any[]) => any;

/**
 * Records the calls of a function until the test has ended; each goes to the real one. `module` is the default export:
 *
 * ```ts
 * import crypto from 'node:crypto';
 * const pbkdf2 = spyOnBuiltin(crypto, 'pbkdf2');
 * ```
 */
export function spyOnBuiltin<M extends object, N extends keyof M & string>(
  module: M,
  name: N,
): Mock<M[N] extends Callable ? M[N] : never> {
  const spy = vi.spyOn(module as Record<string, Callable>, name);
  syncBuiltinESMExports();
  onTestFinished(() => {
    spy.mockRestore();
    syncBuiltinESMExports();
  });
  return spy as never;
}

/**
 * Calls a function before each call of `fs[name]` for this path, also where that goes through an open directory, until the
 * test has ended. Its errors fail the call.
 */
export function beforeCall(
  name: 'lstatSync' | 'openSync' | 'readFileSync' | 'readlinkSync',
  path: string,
  call: () => void,
): void {
  const real = fs[name] as Callable;
  spyOnBuiltin(fs as Record<typeof name, Callable>, name).mockImplementation((...args) => {
    const at = String(args[0]).replace(/^\/proc\/self\/fd\/\d+/, opened => readlinkSync(opened));
    if (at === path) call();
    return real(...args);
  });
}

import { afterEach, describe, expect, test } from 'vitest';
import { isAnything, isFunction, isSignal, oneOf, readOptions, whole } from '../../src/util/read-options.js';

interface Options {
  mode?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: (() => void) | undefined;
}
const checks = { mode: whole(0, 0o777), signal: isSignal, onProgress: isFunction };
const read = (options: unknown, name = '') => readOptions<Options>(options as Options, checks, name);
const invalid = (message: string | RegExp) =>
  expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringMatching(message) });

afterEach(() => {
  // biome-ignore lint/suspicious/noExplicitAny: what pollution looks like
  delete (Object.prototype as any).mode;
});

describe('readOptions', () => {
  test('accepts known options, undefined for an option, and undefined for all', () => {
    const { signal } = new AbortController();
    expect({ ...read({ mode: 0o600, signal, onProgress: undefined }) }).toEqual({ mode: 0o600, signal });
    expect({ ...read(undefined) }).toEqual({});
    expect({ ...read({}) }).toEqual({});
  });

  test('refuses an unknown option, and names it and the known ones', () => {
    expect(() => read({ mod: 1 })).toThrow(
      invalid('There is no option "mod". The options here are mode, signal, onProgress.'),
    );
    expect(() => read({ mod: 1 }, 'create')).toThrow(invalid('no option "create.mod"'));
    expect(() => read(JSON.parse('{"__proto__": {"mode": 1}}'))).toThrow(invalid('"__proto__"'));
    expect(() => read({ toString: undefined })).toThrow(invalid('"toString"'));
  });

  test('refuses an option with an invalid value, and says what it must be', () => {
    expect(() => read({ mode: '0600' }, 'create')).toThrow(
      invalid('create.mode must be a whole number from 0 to 511'),
    );
    expect(() => read({ mode: null })).toThrow(invalid('mode must be'));
    expect(() => read({ signal: new AbortController() })).toThrow(invalid('signal must be an AbortSignal'));
    expect(() => read({ signal: null })).toThrow(invalid('signal must be an AbortSignal'));
    expect(() => read({ signal: { throwIfAborted: () => {} } })).toThrow(invalid('signal must be an'));
    expect(() => read({ signal: new EventTarget() })).toThrow(invalid('signal must be an AbortSignal'));
    expect(() => read({ onProgress: 'log' })).toThrow(invalid('onProgress must be a function'));
    const choice = () => readOptions({ broker: '3' }, { broker: oneOf('2.0', '2.1') });
    expect(choice).toThrow(invalid('broker must be one of "2.0", "2.1"'));
  });

  test.each([[null], ['text'], [7], [true], [[]], [() => {}], [new AbortController().signal], [new Map()]])(
    'refuses %o in place of an object with options',
    (options: unknown) => {
      expect(() => read(options)).toThrow(invalid('options must be an object'));
      expect(() => read(options, 'create')).toThrow(invalid('create must be an object'));
    },
  );

  test('ignores a polluted Object.prototype', () => {
    // biome-ignore lint/suspicious/noExplicitAny: what pollution looks like
    (Object.prototype as any).mode = 0o666;
    expect(read({}).mode).toBe(undefined);
    expect(read(undefined).mode).toBe(undefined);
    expect(read({ mode: 0o600 }).mode).toBe(0o600);
  });

  test('ignores inherited options', () => {
    expect(read(Object.create({ mode: 0o666 })).mode).toBe(undefined);
  });

  test('reads each option once, and returns a copy', () => {
    let reads = 0;
    const options = {
      get mode() {
        return ++reads;
      },
    };
    const copy = read(options);
    expect([copy.mode, copy.mode, reads]).toEqual([1, 1, 1]);
  });

  test('accepts any value of an option whose check is isAnything', () => {
    expect(readOptions({ what: 7 }, { what: isAnything }).what).toBe(7);
  });
});

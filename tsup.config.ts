import { defineConfig, type Options } from 'tsup';

/** Not minified, and with source maps that hold the sources: people audit what hashes their passwords. */
const common: Options = { target: 'node20', removeNodeProtocol: false, sourcemap: true };

export const library: Options = {
  ...common,
  entry: { index: 'src/index.ts' },
  format: ['esm', 'cjs'],
  splitting: false,
  esbuildOptions(options, { format }) {
    // Jest loads CommonJS in a context where `import()` fails. This makes it a `require()`, which is as late.
    if (format === 'cjs') options.supported = { 'dynamic-import': false };
  },
};

/**
 * The command line, which loads the library beside it. It is CommonJS: the loader of ES modules reads files in the
 * thread pool, which would then have its size before the program can set it.
 */
export const program: Options = {
  ...common,
  entry: { cli: 'src/cli/main.ts' },
  format: 'cjs',
  esbuildPlugins: [
    {
      name: 'library',
      setup({ onResolve }) {
        onResolve({ filter: /^\.\.\/index\.js$/ }, () => ({ path: './index.cjs', external: true }));
      },
    },
  ],
};

export default defineConfig([{ ...library, dts: true, clean: ['!cli.*'], publicDir: 'man' }, program]);

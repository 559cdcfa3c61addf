import { defineConfig, type Options } from 'tsup';

const common: Options = {
  target: 'node20',
  removeNodeProtocol: false,
  // Short names inside functions make Node compile the package an eighth faster. All other names and the line breaks
  // stay, for stack traces.
  minify: 'terser',
  terserOptions: {
    module: false,
    toplevel: false,
    format: { beautify: true, indent_level: 2, ascii_only: true },
  },
};

const library: Options = {
  ...common,
  entry: ['src/index.ts'],
  format: ['esm', 'cjs'],
  dts: true,
  clean: ['!cli.cjs'],
  splitting: false,
  publicDir: 'man',
};

/** The command line. */
export const program: Options = { ...common, entry: ['src/cli.ts'], format: 'cjs' };

export default defineConfig([library, program]);

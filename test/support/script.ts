/** Runs code of this repository in a process of its own: as another user, in other namespaces, under other parents. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { inject } from 'vitest';

export interface ScriptOptions {
  /** Commands that start the process, one after another: `['unshare', '--pid', '--fork']`. */
  through?: readonly string[];
  /** The value of `args`. */
  args?: unknown;
  /** The Node that runs it. Default: the running one. */
  node?: string;
}

/**
 * Runs the body of an async function and resolves with its result, passed as JSON. The body has `args` and `load`:
 *
 * ```ts
 * const hash = await runScript(`
 *   const { hashPassword } = await load('src/hash/hash.ts');
 *   return hashPassword(args);
 * `, { args: 'secret' });
 * ```
 */
export async function runScript(
  body: string,
  { through = [], args = null, node = process.execPath }: ScriptOptions = {},
) {
  const directory = pathToFileURL(`${inject('scripts')}/`).href;
  const script = `
    const load = path => import(new URL(path.replace(/\\.ts$/, '.js'), ${JSON.stringify(directory)}).href);
    const args = ${JSON.stringify(args)};
    const result = await (async () => {${body}})();
    process.stdout.write('\\n' + JSON.stringify(result ?? null), () => process.exit());
  `;
  const [program = '', ...rest] = [...through, node, '--input-type=module', '-e', script];
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', text => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text;
  });
  const [status, signal] = await once(child, 'close');
  if (status !== 0) throw new Error(`the script ended with ${signal ?? `status ${status}`}:\n${errors}`);
  return JSON.parse(output.slice(output.lastIndexOf('\n')));
}

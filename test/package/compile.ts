import { join } from 'node:path';
import ts from 'typescript';
import { PROJECT } from './packed.js';

/** The errors of TypeScript for these modules (text by path), with the strict options of this project. */
export function complaints(modules: ReadonlyMap<string, string>): string[] {
  const configFile = join(PROJECT, 'tsconfig.json');
  const { config } = ts.readConfigFile(configFile, ts.sys.readFile);
  const parsed = ts.parseJsonConfigFileContent(config, ts.sys, PROJECT, undefined, configFile);
  const options = { ...parsed.options, noUnusedLocals: false };
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = path => modules.has(path) || fileExists(path);
  host.readFile = path => modules.get(path) ?? readFile(path);
  host.getSourceFile = (path, target, ...rest) => {
    const text = modules.get(path);
    return text === undefined
      ? getSourceFile(path, target, ...rest)
      : ts.createSourceFile(path, text, target);
  };
  const program = ts.createProgram([...modules.keys()], options, host);
  return [...modules.keys()].flatMap(path => {
    const source = program.getSourceFile(path);
    return ts
      .getPreEmitDiagnostics(program, source)
      .map(
        ({ messageText }) =>
          `${path.slice(PROJECT.length)}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
      );
  });
}

/** The examples in the doc comments of all exports: each export has one, all compile, and all run. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { beforeAll, expect, inject, test } from 'vitest';
import { testDirectory } from '../support/directory.js';
import { complaints } from './compile.js';
import { PROJECT, run } from './packed.js';

const index = join(PROJECT, 'src/index.ts');
/** The example of each export and of each public method, by its name; `undefined`: it has none. */
const examples = new Map<string, string | undefined>();
/** The exports, each with its specifier in an import. */
const imports: Array<[name: string, specifier: string]> = [];

beforeAll(() => {
  const program = ts.createProgram([index], {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    skipLibCheck: true,
  });
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(index) as ts.SourceFile;
  const symbols = checker.getExportsOfModule(checker.getSymbolAtLocation(source) as ts.Symbol);
  for (const each of symbols) {
    const symbol = each.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(each) : each;
    imports.push([symbol.name, symbol.flags & ts.SymbolFlags.Value ? symbol.name : `type ${symbol.name}`]);
    examples.set(symbol.name, exampleOf(symbol, checker));
    if (!(symbol.flags & ts.SymbolFlags.Class)) continue;
    for (const member of symbol.members?.values() ?? []) {
      if (member.flags & ts.SymbolFlags.Method && isPublic(member))
        examples.set(`${symbol.name}.${member.name}`, exampleOf(member, checker));
    }
  }
});

function isPublic({ declarations = [] }: ts.Symbol): boolean {
  return declarations.some(each => ts.isMethodDeclaration(each) && ts.isIdentifier(each.name));
}

function exampleOf(symbol: ts.Symbol, checker: ts.TypeChecker): string | undefined {
  const tag = symbol.getJsDocTags(checker).find(({ name }) => name === 'example');
  return tag && ts.displayPartsToString(tag.text).replace(/^```ts\n|\n```$/g, '');
}

/** An example as a module. If it has no import, one of the exports that it names is added. */
function moduleOf(example: string): string {
  if (example.startsWith('import ')) return example;
  const named = imports.filter(([name]) => new RegExp(`\\b${name}\\b`).test(example));
  return `import { ${named.map(([, specifier]) => specifier).join(', ')} } from 'mosquitto-passwd-ts';\n${example}\nexport {};\n`;
}

test('each export and each method of PasswordFile has an example', () => {
  expect(examples.size).toBeGreaterThan(70);
  expect([...examples].filter(([, example]) => example === undefined).map(([name]) => name)).toEqual([]);
});

test('the examples of doc comments compile under strict TypeScript', () => {
  const modules = [...examples].map(([name, example]): [string, string] => {
    return [join(PROJECT, `test/package/example-${name}.ts`), moduleOf(example ?? '')];
  });
  expect(complaints(new Map(modules))).toEqual([]);
});

test('the examples of doc comments run without an error', async () => {
  const library = pathToFileURL(join(inject('scripts'), 'src/index.js')).href;
  const calls = [...examples].map(([name, example]) => {
    const directory = testDirectory();
    const code = moduleOf(example ?? '')
      .replaceAll("'mosquitto-passwd-ts'", `'${library}'`)
      // An example must not signal a broker that runs on this machine.
      .replaceAll("process: 'mosquitto'", "process: 'no-such-broker'")
      .replaceAll("PasswordFile('passwd'", `PasswordFile('${join(directory, 'passwd')}'`);
    const { outputText } = ts.transpileModule(code, {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
    });
    const path = join(directory, 'example.mjs');
    writeFileSync(path, outputText);
    const url = pathToFileURL(path).href;
    return `await import('${url}').catch(error => { failed.push('${name}: ' + error.message); });`;
  });
  const script = join(testDirectory(), 'all.mjs');
  writeFileSync(
    script,
    `const failed = [];\n${calls.join('\n')}\nprocess.stdout.write('\\n' + JSON.stringify(failed));`,
  );
  const { stdout } = await run(process.execPath, [script]);
  expect(JSON.parse(stdout.slice(stdout.lastIndexOf('\n')))).toEqual([]);
});

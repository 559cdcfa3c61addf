/** The layers of src: which directory may import which. Type-only imports count. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));

/** What each directory, or file directly in src, may import beside its own files. */
const MAY_IMPORT: { [layer: string]: string[] } = {
  errors: [],
  util: ['errors'],
  credentials: ['errors', 'util'],
  hash: ['errors', 'util', 'credentials'],
  document: ['errors', 'util', 'credentials', 'hash'],
  check: ['errors', 'util', 'credentials', 'hash', 'document'],
  storage: ['errors', 'util', 'document'],
  broker: ['errors', 'util', 'credentials'],
  export: ['errors', 'util', 'credentials', 'hash'],
  options: ['errors', 'util', 'credentials', 'hash', 'document', 'check', 'storage', 'broker'],
};
const BELOW = Object.keys(MAY_IMPORT);
MAY_IMPORT.operations = [...BELOW];
MAY_IMPORT['password-file'] = [...BELOW, 'operations'];
MAY_IMPORT.index = [...BELOW, 'operations', 'password-file'];
MAY_IMPORT.cli = ['index'];

/** Directories without input and output. */
const PURE = ['hash', 'credentials', 'document', 'check'];
const INPUT_AND_OUTPUT = /^node:(fs|net|tls|http|https|dgram|child_process|worker_threads)(\/|$)/;

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'));
/** The modules that each file imports: files of src by their path in src, others by their name. */
const imports = new Map(files.map(file => [file, importsOf(file)]));

function importsOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(SRC, file), 'utf8'), true, true);
  return importedFiles.map(({ fileName }) =>
    fileName.startsWith('.') ? normalize(join(dirname(file), fileName)).replace(/\.js$/, '.ts') : fileName,
  );
}

function layerOf(file: string): string {
  return (file.split('/')[0] as string).replace(/\.ts$/, '');
}

function arrows(isWrong: (from: string, to: string) => boolean): string[] {
  return files.flatMap(from =>
    (imports.get(from) ?? []).filter(to => isWrong(from, to)).map(to => `${from} -> ${to}`),
  );
}

test('each file of src belongs to a layer, and imports nothing outside src', () => {
  expect(files.length).toBeGreaterThan(30);
  expect([...new Set(files.map(layerOf))].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
  for (const file of files) expect(importsOf(file).filter(to => to.startsWith('..'))).toEqual([]);
});

test('imports go from higher layers to lower ones only', () => {
  const wrong = arrows((from, to) => {
    if (to.startsWith('node:')) return false;
    return layerOf(to) !== layerOf(from) && !MAY_IMPORT[layerOf(from)]?.includes(layerOf(to));
  });
  expect(wrong).toEqual([]);
});

test('there are no import cycles', () => {
  const finished = new Set<string>();
  const circles: string[][] = [];
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file]);
    if (path.includes(file) || finished.has(file)) return;
    for (const next of imports.get(file) ?? []) visit(next, [...path, file]);
    finished.add(file);
  };
  for (const file of files) visit(file, []);
  expect(circles).toEqual([]);
});

test('hash, credentials, document and check import no module for input and output', () => {
  expect(arrows((from, to) => PURE.includes(layerOf(from)) && INPUT_AND_OUTPUT.test(to))).toEqual([]);
});

test('src imports only its own files and modules of Node, by their node: names', () => {
  expect(arrows((_, to) => !to.startsWith('node:') && !files.includes(to))).toEqual([]);
});

test('no file of src has over 420 lines, and no function over 50', () => {
  const tooLong: string[] = [];
  for (const file of files) {
    const text = readFileSync(join(SRC, file), 'utf8');
    const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
    const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line;
    if (lineAt(text.length) > 420) tooLong.push(file);
    const visit = (node: ts.Node): void => {
      const first = lineAt(node.getStart(source));
      if (ts.isFunctionLike(node) && lineAt(node.end) - first >= 50) tooLong.push(`${file}:${first + 1}`);
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  expect(tooLong).toEqual([]);
});

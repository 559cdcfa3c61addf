/** The mutants that `npm run mutate` makes of a source. */
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { codeOf, mutantsOf, withMutants } from '../../scripts/mutants.js';

/** The results of `run` with each mutant active in turn, and then with none. The source is loaded once, before that. */
function results(source: string, ...args: unknown[]): unknown[] {
  const compilerOptions = { target: ts.ScriptTarget.ESNext };
  const { outputText } = ts.transpileModule(withMutants(source, 7), { compilerOptions });
  let active = -1;
  const run = new Function('__mutant', '__activeOf', `${outputText}\nreturn run;`)(
    (number: number) => number === active,
    (...numbers: number[]) => (numbers.includes(active) ? active : undefined),
  );
  return [...mutantsOf(source), undefined].map((_, index) => {
    active = 7 + index;
    return run(...args);
  });
}

function mutationsOf(source: string): string[] {
  return mutantsOf(source).map(({ text }) => text.replace(/^.* → /, ''));
}

describe('each mutant', () => {
  test.each([
    ['an operator and numbers', 'return 2 + 8 / 4;', [], [0, 5, 34, 4.25, 3.6, 4]],
    ['a condition', 'if (a === b) return "yes"; return "no";', [1, 2], ['yes', 'no', 'yes', 'no']],
    ['a dropped statement', 'const c = []; c.push(a); return c', [1], [[], [1]]],
    ['a part of an optional chain', 'return a?.b?.c.d', [{ b: { c: { d: 1 } } }], [1, 1, 1]],
    ['a regular expression', 'return /^b+$/.test(a);', ['ab'], [true, false, false, false, false]],
  ])('is active alone: %s', (_what, body, args, expected) => {
    expect(results(`function run(a, b) { ${body} }`, ...args)).toEqual(expected);
  });

  test.each([
    ['a constant', 'const A = 3; const run = b => b + A;', [3], [7, 0, 6]],
    [
      'a constant in another constant',
      'const A = 3; const B = A * 2; const run = () => B;',
      [],
      [8, 1.5, 9, 6],
    ],
    ['a constant in an object', 'const A = 3; const run = () => ({ A });', [], [{ A: 4 }, { A: 3 }]],
    [
      'a constant with the name of a property',
      'const A = 3; const run = b => b.A * A;',
      [{ A: 1 }],
      [4, 1 / 3, 3],
    ],
    ['no constant with the name of a parameter', 'const A = 3; const run = A => A;', [5], [5, 5]],
  ])('is active after the module has been loaded: %s', (_what, source, args, expected) => {
    expect(results(source, ...args)).toEqual(expected);
  });
});

test.each([
  ['a + b', ['a - b']],
  ['a < b', ['a <= b', 'a >= b']],
  ['a === b', ['a !== b']],
  ['a && b', ['a || b']],
  ['a ?? b', ['a && b']],
  ['a += b', ['a -= b']],
  ['a ??= b', ['a &&= b']],
  ['a++', ['a--']],
  ['--a', ['++a']],
  ['-a', ['+a']],
  ['!a', ['a']],
  ['a?.b.c', ['a.b.c']],
  ['a?.[b]', ['a[b]']],
  ['a?.(b)', ['a(b)']],
  ['65_535', ['65536']],
  ['0x1fn', ['32n']],
  ['true', ['false']],
  ['a ? b : c', ['true ? b : c', 'false ? b : c']],
  ['/^a/', ['/a/']],
  ['/a$/', ['/a/']],
  ['/a+?b*/', ['/a*?b*/', '/ab*/', '/a+?b+/', '/a+?b/']],
  ['/a?\\?/', ['/a\\?/']],
  ['/a{1,2}b{3}c{4,}/', ['/a{1,3}b{3}c{4,}/', '/a{2,2}b{3}c{4,}/', '/a{1,2}b{4}c{4,}/', '/a{1,2}b{3}c{5,}/']],
  ['/[^a-z$]\\d/u', ['/[a-z$]\\d/u', '/[^a-z$]\\D/u']],
  ['/(?=a)(?<!b)/', ['/(?!a)(?<!b)/', '/(?=a)(?<=b)/']],
])('the mutants of %s are %j', (expression, expected) => {
  expect(mutationsOf(`const value = ${expression};`)).toEqual(expected.map(each => `const value = ${each};`));
});

test('mutants drop statements, but no declarations and none that return a value', () => {
  const source = `function run(a) {
    const b = f(a);
    for (const c of b) {
      if (c) continue;
      g(c);
      break;
    }
    switch (a) {
      case b:
        break;
    }
    if (b) return;
    throw h(a);
  }`;
  const dropped = mutantsOf(source).filter(({ kind }) => kind === 'statement');
  expect(dropped.map(({ line }) => line)).toEqual([4, 5, 6, 12]);
});

test.each([
  [`throw new RangeError(\`a \${b ? 'c' : 'd'}\`);`, []],
  ["throw new RangeError('a' + b);", []],
  ["throw new PasswordFileError('CODE', `a`, { committed: true });", ['false']],
  ["const text = 'a' + b + c;", []],
  ['type A = 1 | true;', []],
  ['let a: 1 | 2;', []],
  ["import a from 'a';", []],
])('types and texts for humans have no mutants: %s', (source, expected) => {
  expect(mutationsOf(source)).toHaveLength(expected.length);
});

test('the text of a mutant is its function, its line and the changed line, wherever that line is', () => {
  const source = `class A {
    get b() {
      return this.c + 1;
    }
  }
  const d = () => e
    .f(2);`;
  expect(mutantsOf(source)).toEqual([
    { kind: 'operator', line: 3, text: 'b: return this.c + 1; → return this.c - 1;' },
    { kind: 'number', line: 3, text: 'b: return this.c + 1; → return this.c + 2;' },
    { kind: 'number', line: 7, text: 'd: .f(2); → .f(3);' },
  ]);
});

test('codeOf leaves out comments', () => {
  expect(codeOf('/** What it is. */\nconst a = 1; // one\n')).toBe(codeOf('const a = 1;\n'));
  expect(codeOf('const a = 1;\n')).not.toBe(codeOf('const a = 2;\n'));
});

/**
 * The mutants of a source, and the source with all of them in it. There, `__mutant(7)` says whether the mutant 7 is
 * active, and `__activeOf(7, 8)` says which of these is.
 */
import ts from 'typescript';

export interface Mutant {
  kind:
    | 'operator'
    | 'condition'
    | 'number'
    | 'boolean'
    | 'regular expression'
    | 'optional chaining'
    | 'statement';
  /** Counted from 1. */
  line: number;
  /** The function, the line and the changed line. It stays the same if the line moves. */
  text: string;
}

/** A part of a source, and the code that replaces it. */
interface Change {
  kind: Mutant['kind'];
  /** The expression or statement that `withMutants` writes twice, as it is and changed. */
  node: ts.Node;
  start: number;
  end: number;
  code: string;
}

interface Numbered extends Change {
  number: number;
}

type Part = [kind: Mutant['kind'], part: { getStart(): number; getEnd(): number }, code: string];

/** Each operator, followed by those that replace it. */
const OPERATORS = tableOf(
  '+ -, - +, * /, / *, % *, < <= >=, <= < >, > >= <=, >= > <, === !==, !== ===, && ||, || &&, ?? &&, ' +
    '<< >>, >> <<, >>> <<, & |, | &, ^ &, += -=, -= +=, *= /=, /= *=, %= *=, &= |=, |= &=, ^= &=, ' +
    '<<= >>=, >>= <<=, >>>= <<=, ??= &&=, ||= &&=, &&= ||=',
);
const UNARY_OPERATORS = tableOf('++ --, -- ++, - +, ! , ~ ');

function tableOf(text: string): Map<string, string[]> {
  return new Map(
    text
      .split(', ')
      .map(row => row.split(' '))
      .map(([from = '', ...to]) => [from, to]),
  );
}

/** All mutants of a source, in a fixed order. Types and the texts of messages have none. */
export function mutantsOf(source: string): Mutant[] {
  const file = parse(source);
  return changesOf(file).map(change => {
    const { line } = file.getLineAndCharacterOfPosition(change.start);
    return { kind: change.kind, line: line + 1, text: describe(source, change) };
  });
}

/** The source with all its mutants, which are numbered from `first`. */
export function withMutants(source: string, first = 0): string {
  const file = parse(source);
  const changes = new Map<ts.Node, Numbered[]>();
  for (const [index, change] of changesOf(file).entries()) {
    changes.set(change.node, [...(changes.get(change.node) ?? []), { ...change, number: first + index }]);
  }
  const constants = constantsOf(file, [...changes.values()].flat());
  const render = (node: ts.Node): string => {
    if (ts.isTypeNode(node)) return node.getText();
    if (ts.isIdentifier(node) && constants.has(node.text) && isReference(node)) {
      return ts.isShorthandPropertyAssignment(node.parent)
        ? `${node.text}: ${node.text}$()`
        : `${node.text}$()`;
    }
    let code = '';
    let end = node.getStart();
    ts.forEachChild(node, child => {
      code += source.slice(end, child.getStart()) + render(child);
      end = child.getEnd();
    });
    code += source.slice(end, node.getEnd());
    return (changes.get(node) ?? []).reduce((text, change) => withChange(source, text, change), code);
  };
  return [render(file), ...[...constants].map(([name, constant]) => functionOf(name, constant, render))].join(
    '\n',
  );
}

function withChange(source: string, code: string, change: Numbered): string {
  const isActive = `__mutant(${change.number})`;
  if (change.kind === 'statement') return `{ if (!${isActive}) { ${code} } }`;
  const other = changed(source, change, change.node.getStart(), change.node.getEnd());
  return `(${isActive} ? ${other} : ${code})`;
}

/** A constant of the module whose value depends on mutants. */
interface Constant {
  value: ts.Expression;
  /** The numbers of these mutants. */
  numbers: number[];
}

/**
 * The constants of a module that get their value when it is loaded, by their names. `withMutants` replaces their uses by
 * calls of a function, so that their mutants can be active after that, too.
 */
function constantsOf(file: ts.SourceFile, changes: Numbered[]): Map<string, Constant> {
  const constants = new Map<string, Constant>();
  const names = declaredNames(file);
  for (const statement of file.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (const { name, initializer: value } of statement.declarationList.declarations) {
      if (!ts.isIdentifier(name) || value === undefined) continue;
      const numbers = changes.filter(({ node }) => isEvaluatedIn(value, node)).map(({ number }) => number);
      const visit = (node: ts.Node): void => {
        if (ts.isFunctionLike(node) || ts.isTypeNode(node)) return;
        if (ts.isIdentifier(node)) numbers.push(...(constants.get(node.text)?.numbers ?? []));
        ts.forEachChild(node, visit);
      };
      visit(value);
      const isUnique = names.indexOf(name.text) === names.lastIndexOf(name.text);
      if (numbers.length > 0 && isUnique) constants.set(name.text, { value, numbers });
    }
  }
  return constants;
}

/** The function that returns the value of a constant with the active mutant. */
function functionOf(name: string, { value, numbers }: Constant, render: (node: ts.Node) => string): string {
  return `var ${name}$active, ${name}$value;
  function ${name}$() {
    const active = __activeOf(${numbers.join(', ')});
    if (active === undefined) return ${name};
    if (${name}$active !== active) {
      ${name}$value = ${render(value)};
      ${name}$active = active;
    }
    return ${name}$value;
  }`;
}

/** Whether a node is part of an expression, but not of a function in it. */
function isEvaluatedIn(expression: ts.Expression, node: ts.Node): boolean {
  const end = ts.findAncestor(node, outer => outer === expression || ts.isFunctionLike(outer));
  return end === expression && !ts.isFunctionLike(expression);
}

function declaredNames(file: ts.SourceFile): string[] {
  const names: string[] = [];
  const visit = (node: ts.Node): void => {
    const { name } = node as ts.NamedDeclaration;
    const isVariable = ts.isVariableDeclaration(node) || ts.isParameter(node) || ts.isBindingElement(node);
    if (isVariable && name !== undefined && ts.isIdentifier(name)) names.push(name.text);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return names;
}

/** Whether an identifier stands for a value: it neither declares one nor names a property. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isExportSpecifier(parent) || ts.isImportSpecifier(parent)) return false;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (ts.isShorthandPropertyAssignment(parent)) return true;
  if (ts.isPropertyAssignment(parent)) return parent.initializer === node;
  return (parent as { name?: ts.Node }).name !== node;
}

/** A source without its comments. */
export function codeOf(source: string): string {
  return ts.createPrinter({ removeComments: true }).printFile(parse(source));
}

function parse(source: string): ts.SourceFile {
  return ts.createSourceFile('source.ts', source, ts.ScriptTarget.ESNext, true);
}

function changed(source: string, { start, end, code }: Change, from: number, to: number): string {
  return source.slice(from, start) + code + source.slice(end, to);
}

function describe(source: string, change: Change): string {
  const from = source.lastIndexOf('\n', change.start) + 1;
  const to = `${source}\n`.indexOf('\n', change.end);
  const tidy = (text: string) => text.trim().replace(/\s+/g, ' ');
  const before = tidy(source.slice(from, to));
  const after = tidy(changed(source, change, from, to));
  return `${nameOf(change.node)}: ${before} → ${after || 'nothing'}`;
}

/** The name of the class member, or of the declaration of the module, that a node is in. */
function nameOf(node: ts.Node): string {
  const named = ts.findAncestor(node, ({ parent }) => ts.isSourceFile(parent) || ts.isClassLike(parent));
  if (named === undefined) return '';
  if (ts.isVariableStatement(named)) return named.declarationList.declarations[0]?.name.getText() ?? '';
  return (named as ts.NamedDeclaration).name?.getText() ?? '';
}

function changesOf(file: ts.SourceFile): Change[] {
  const changes: Change[] = [];
  const visit = (node: ts.Node): void => {
    if (isLeftOut(node)) return;
    for (const [kind, part, code] of partsOf(node)) {
      changes.push({ kind, node: wholeChain(node), start: part.getStart(), end: part.getEnd(), code });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return changes;
}

/** Whether a node has no mutants: types, imports, exports and the messages of errors. */
function isLeftOut(node: ts.Node): boolean {
  if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return true;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return true;
  const isNewError = (outer: ts.Node) =>
    ts.isNewExpression(outer) && /Error$/.test(outer.expression.getText());
  return isString(node) && ts.findAncestor(node, isNewError) !== undefined;
}

/** Whether the syntax of an expression shows that it is a string. */
function isString(node: ts.Node): boolean {
  if (ts.isParenthesizedExpression(node)) return isString(node.expression);
  if (ts.isConditionalExpression(node)) return isString(node.whenTrue) || isString(node.whenFalse);
  if (ts.isBinaryExpression(node)) {
    const isSum = node.operatorToken.kind === ts.SyntaxKind.PlusToken;
    return isSum && (isString(node.left) || isString(node.right));
  }
  return ts.isStringLiteralLike(node) || ts.isTemplateExpression(node);
}

function* partsOf(node: ts.Node): Generator<Part> {
  if (isCondition(node)) {
    yield ['condition', node, 'true'];
    yield ['condition', node, 'false'];
  }
  if (ts.isBinaryExpression(node)) {
    const token = node.operatorToken;
    if (isString(node)) return;
    for (const operator of OPERATORS.get(token.getText()) ?? []) yield ['operator', token, operator];
  } else if (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) {
    yield* unaryOperator(node);
  } else if (ts.isNumericLiteral(node) && !isPropertyName(node)) {
    yield ['number', node, String(Number(node.text) + 1)];
  } else if (ts.isBigIntLiteral(node)) {
    yield ['number', node, `${BigInt(node.text.slice(0, -1)) + 1n}n`];
  } else if (node.kind === ts.SyntaxKind.TrueKeyword || node.kind === ts.SyntaxKind.FalseKeyword) {
    yield ['boolean', node, String(node.kind === ts.SyntaxKind.FalseKeyword)];
  } else if (ts.isRegularExpressionLiteral(node)) {
    for (const expression of regularExpressionsNear(node.text))
      yield ['regular expression', node, expression];
  } else if (ts.isOptionalChain(node) && 'questionDotToken' in node && node.questionDotToken !== undefined) {
    yield ['optional chaining', node.questionDotToken, ts.isPropertyAccessExpression(node) ? '.' : ''];
  } else if (isDroppable(node)) yield ['statement', node, ''];
}

function* unaryOperator(node: ts.PrefixUnaryExpression | ts.PostfixUnaryExpression): Generator<Part> {
  const operator = ts.tokenToString(node.operator) ?? '';
  const start = ts.isPrefixUnaryExpression(node) ? node.getStart() : node.operand.getEnd();
  const token = { getStart: () => start, getEnd: () => start + operator.length };
  for (const other of UNARY_OPERATORS.get(operator) ?? []) yield ['operator', token, other];
}

/** Whether a node is the condition of a statement or expression, and not `true` or `false` itself. */
function isCondition(node: ts.Node): boolean {
  if (node.kind === ts.SyntaxKind.TrueKeyword || node.kind === ts.SyntaxKind.FalseKeyword) return false;
  const { parent } = node;
  if (parent === undefined) return false;
  if (ts.isConditionalExpression(parent) || ts.isForStatement(parent)) return parent.condition === node;
  const hasTest = ts.isIfStatement(parent) || ts.isWhileStatement(parent) || ts.isDoStatement(parent);
  return hasTest && parent.expression === node;
}

function isPropertyName(node: ts.Node): boolean {
  return ts.isPropertyAssignment(node.parent) && node.parent.name === node;
}

/** Whether a statement can be dropped: it declares nothing and returns no value. */
function isDroppable(node: ts.Node): boolean {
  if (ts.isExpressionStatement(node)) {
    const { expression } = node;
    return !ts.isStringLiteral(expression) && !/^super\b/.test(expression.getText());
  }
  if (ts.isReturnStatement(node)) return node.expression === undefined;
  if (ts.isBreakStatement(node)) return !ts.isCaseOrDefaultClause(node.parent);
  return ts.isContinueStatement(node);
}

/** The optional chain that a link belongs to. It is changed as a whole, because parentheses would end the chain. */
function wholeChain(link: ts.Node): ts.Node {
  let node = link;
  while (ts.isOptionalChain(node.parent) && node.parent.expression === node) node = node.parent;
  return node;
}

const REGULAR_EXPRESSION_TOKENS =
  /\\[pP]\{\w+\}|\\u\{\w+\}|\\.|\[(?:\\.|[^\]\\])*\]|\(\?<?[=!]|\(\?<\w+>|\(\?:|[*+?]\??|\{\d+(?:,\d*)?\}\??|./gs;

/** The regular expressions without an anchor, with another quantifier, or with a class or look-around negated. */
function* regularExpressionsNear(literal: string): Generator<string> {
  const end = literal.lastIndexOf('/');
  const body = literal.slice(1, end);
  for (const { 0: token, index } of body.matchAll(REGULAR_EXPRESSION_TOKENS)) {
    for (const other of tokensNear(token)) {
      yield `/${body.slice(0, index)}${other}${body.slice(index + token.length)}${literal.slice(end)}`;
    }
  }
}

function tokensNear(token: string): string[] {
  const [, least, most] = /^\{(\d+)(?:,(\d*))?\}/.exec(token) ?? [];
  if (least !== undefined) {
    const more = Number(least) + 1;
    if (most === undefined) return [`{${more}}`];
    if (most === '') return [`{${more},}`];
    return [`{${Number(least)},${Number(most) + 1}}`, ...(more <= Number(most) ? [`{${more},${most}}`] : [])];
  }
  if (/^\\[dDwWsSbBpP]/.test(token)) {
    return [`\\${String.fromCharCode(token.charCodeAt(1) ^ 0x20)}${token.slice(2)}`];
  }
  if (token.startsWith('[^')) return [`[${token.slice(2)}`];
  if (token.startsWith('[')) return [`[^${token.slice(1)}`];
  if (/^\(\?<?[=!]$/.test(token)) return [token.slice(0, -1) + (token.endsWith('=') ? '!' : '=')];
  if (/^[*+]/.test(token)) return [(token.startsWith('*') ? '+' : '*') + token.slice(1), ''];
  return ['^', '$', '?', '??'].includes(token) ? [''] : [];
}

/** The mutants of a source, and the source with all of them in it: `__mutant(7)` decides which of them is active. */
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
  /** From 1. */
  line: number;
  /** The function, its line and what the line becomes: the same wherever the line moves to. */
  text: string;
}

/** A part of a source and what takes its place. */
interface Change {
  kind: Mutant['kind'];
  /** The expression or statement that is there twice, as it is and changed. */
  node: ts.Node;
  start: number;
  end: number;
  code: string;
}

type Part = [kind: Mutant['kind'], part: { getStart(): number; getEnd(): number }, code: string];

/** Each operator, and what becomes of it. */
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

/** The source with all its mutants, the first of which has the number `first`. */
export function withMutants(source: string, first = 0): string {
  const file = parse(source);
  const changes = new Map<ts.Node, (Change & { number: number })[]>();
  for (const [index, change] of changesOf(file).entries()) {
    changes.set(change.node, [...(changes.get(change.node) ?? []), { ...change, number: first + index }]);
  }
  const render = (node: ts.Node): string => {
    let code = '';
    let end = node.getStart();
    ts.forEachChild(node, child => {
      code += source.slice(end, child.getStart()) + render(child);
      end = child.getEnd();
    });
    code += source.slice(end, node.getEnd());
    for (const change of changes.get(node) ?? []) {
      const isActive = `__mutant(${change.number})`;
      const other = changed(source, change, node.getStart(), node.getEnd());
      code =
        change.kind === 'statement'
          ? `{ if (!${isActive}) { ${code} } }`
          : `(${isActive} ? ${other} : ${code})`;
    }
    return code;
  };
  return render(file);
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

/** The name of the member of a class, or of the declaration of the module, that it is in. */
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

/** Types, and texts for humans. */
function isLeftOut(node: ts.Node): boolean {
  if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return true;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return true;
  const isNewError = (outer: ts.Node) =>
    ts.isNewExpression(outer) && /Error$/.test(outer.expression.getText());
  return isString(node) && ts.findAncestor(node, isNewError) !== undefined;
}

/** Whether the expression shows by itself that it is a string. */
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

/** A test whose value is not in the source already. */
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

/** A statement without a value of its own, which no declaration depends on. */
function isDroppable(node: ts.Node): boolean {
  if (ts.isExpressionStatement(node)) {
    const { expression } = node;
    return !ts.isStringLiteral(expression) && !/^super\b/.test(expression.getText());
  }
  if (ts.isReturnStatement(node)) return node.expression === undefined;
  if (ts.isBreakStatement(node)) return !ts.isCaseOrDefaultClause(node.parent);
  return ts.isContinueStatement(node);
}

/** The chain that a link belongs to. It is changed as a whole, for no parenthesis may stand in a chain. */
function wholeChain(link: ts.Node): ts.Node {
  let node = link;
  while (ts.isOptionalChain(node.parent) && node.parent.expression === node) node = node.parent;
  return node;
}

const REGULAR_EXPRESSION_TOKENS =
  /\\[pP]\{\w+\}|\\u\{\w+\}|\\.|\[(?:\\.|[^\]\\])*\]|\(\?<?[=!]|\(\?<\w+>|\(\?:|[*+?]\??|\{\d+(?:,\d*)?\}\??|./gs;

/** Without an anchor, with another quantifier, with a class or a look-around negated. */
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

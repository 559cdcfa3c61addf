/**
 * Mutation tests: changes the sources in one place at a time, and runs the unit tests that come there. CONTRIBUTING.md
 * says how to read what it prints.
 *
 * `--files GLOB`, any number: these sources alone. `--sample N`: N mutants of each, chosen by `--seed`. `--all`: also
 * mutants that have a result.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { createFilter } from 'vite';
import { type Mutant, mutantsOf, withMutants } from './mutants.js';
import { type Outcome, UnitTests } from './mutate-tests.js';

const SOURCES = ['src/{hash,credentials,document,check,storage,operations}/*.ts', 'src/broker/reload*.ts'];
const REPORT = 'test/mutants/report.json';
const ACCEPTED = 'test/mutants/accepted.json';
/** The least share of all mutants that the tests detect. */
const LEAST = 0.9;

/** What is known of the mutants of a source. */
interface FileReport {
  /** Of its text and its mutants. */
  hash: string;
  /** One letter for each mutant, in their order: detected, over time, survived, not covered; `-`: not run yet. */
  outcomes: string;
  /** Those that were not detected. */
  undetected: string[];
}

interface Source {
  path: string;
  text: string;
  mutants: Mutant[];
  outcomes: (Outcome | '-')[];
  hash: string;
}

const { values: options } = parseArgs({
  options: {
    files: { type: 'string', multiple: true, default: SOURCES },
    sample: { type: 'string', default: 'Infinity' },
    seed: { type: 'string', default: '1' },
    all: { type: 'boolean', default: false },
  },
});

const accepted: { file: string; mutant: string; reason: string }[] = JSON.parse(
  readFileSync(ACCEPTED, 'utf8'),
);
const isAccepted = ({ path }: Source, { text }: Mutant) =>
  accepted.some(({ file, mutant }) => file === path && mutant === text);
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

function readReport(): Record<string, FileReport> {
  return existsSync(REPORT) ? JSON.parse(readFileSync(REPORT, 'utf8')) : {};
}

function readSources(globs: string[]): Source[] {
  const isSource = createFilter(globs, undefined, { resolve: process.cwd() });
  const report = readReport();
  const paths = readdirSync('src', { recursive: true, encoding: 'utf8' }).map(name => `src/${name}`);
  return paths
    .filter(path => path.endsWith('.ts') && isSource(`${process.cwd()}/${path}`))
    .sort()
    .map(path => {
      const text = readFileSync(path, 'utf8');
      const mutants = mutantsOf(text);
      const hash = sha256(JSON.stringify([text, mutants])).slice(0, 12);
      const known = report[path]?.hash === hash ? report[path].outcomes : '';
      const outcomes = mutants.map((_, index) => (known[index] ?? '-') as Outcome | '-');
      return { path, text, mutants, outcomes, hash };
    });
}

/** The mutants to run of a source, by their index in it. */
function chosen(source: Source): number[] {
  const dice = ({ text, line }: Mutant) => sha256(`${options.seed} ${source.path} ${line} ${text}`);
  return source.mutants
    .map((mutant, index) => ({ mutant, index, dice: dice(mutant) }))
    .sort((a, b) => (a.dice < b.dice ? -1 : 1))
    .slice(0, Number(options.sample))
    .filter(({ mutant, index }) => {
      const isOpen = !'dt'.includes(source.outcomes[index] ?? '-') && !isAccepted(source, mutant);
      return options.all || source.outcomes[index] === '-' || isOpen;
    })
    .map(({ index }) => index)
    .sort((a, b) => a - b);
}

function undetected({ mutants, outcomes }: Source): Mutant[] {
  return mutants.filter((_, index) => 'sn'.includes(outcomes[index] ?? '-'));
}

function write(source: Source): void {
  const { path, hash, outcomes } = source;
  const texts = undetected(source).map(({ kind, text }) => `${kind}: ${text}`);
  const report = { ...readReport(), [path]: { hash, outcomes: outcomes.join(''), undetected: texts } };
  const sorted = Object.fromEntries(Object.entries(report).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(REPORT, `${JSON.stringify(sorted, undefined, 2)}\n`);
}

async function runAll(sources: Source[]): Promise<void> {
  const work = sources.flatMap(source => chosen(source).map(index => ({ source, index })));
  console.log(
    `${work.length} of ${sources.reduce((sum, { mutants }) => sum + mutants.length, 0)} mutants to run`,
  );
  if (work.length === 0) return;
  const first = new Map<string, number>();
  let count = 0;
  for (const { path, mutants } of sources) {
    first.set(path, count);
    count += mutants.length;
  }
  const texts = new Map(sources.map(({ path, text }) => [path, withMutants(text, first.get(path))]));
  const tests = await UnitTests.start(count, id => texts.get(relative(process.cwd(), id)));
  try {
    for (const { source, index } of work) {
      const outcome = await tests.run((first.get(source.path) ?? 0) + index);
      source.outcomes[index] = outcome;
      write(source);
      const mutant = source.mutants[index];
      if (mutant === undefined || 'dt'.includes(outcome) || isAccepted(source, mutant)) continue;
      const problem = outcome === 's' ? 'survived' : 'not covered';
      console.log(`${source.path}:${mutant.line} ${problem}, ${mutant.kind}: ${mutant.text}`);
    }
  } finally {
    await tests.close();
  }
}

/** Prints the score. Returns what is wrong. */
function judge(sources: Source[]): string[] {
  const problems = accepted
    .filter(({ file, mutant }) =>
      sources.some(({ path, mutants }) => path === file && !mutants.some(({ text }) => text === mutant)),
    )
    .map(({ file, mutant }) => `${ACCEPTED}: there is no such mutant in ${file}: ${mutant}`);
  const rows = sources.map(source => {
    const known = source.outcomes.filter(outcome => outcome !== '-').length;
    const missed = undetected(source);
    const open = missed.filter(mutant => !isAccepted(source, mutant)).length;
    return {
      file: source.path,
      mutants: source.mutants.length,
      known,
      detected: known - missed.length,
      open,
    };
  });
  const sum = (key: 'mutants' | 'known' | 'detected' | 'open') =>
    rows.reduce((total, row) => total + row[key], 0);
  console.table([
    ...rows,
    {
      file: 'all',
      mutants: sum('mutants'),
      known: sum('known'),
      detected: sum('detected'),
      open: sum('open'),
    },
  ]);
  const share = (part: number) => `${((100 * part) / sum('known')).toFixed(1)} %`;
  console.log(
    `Detected: ${share(sum('detected'))}; with the accepted ones ${share(sum('known') - sum('open'))}.`,
  );
  if (sum('detected') < LEAST * sum('known')) problems.push(`Less than ${100 * LEAST} % are detected.`);
  if (sum('open') > 0)
    problems.push(`${sum('open')} are neither detected nor accepted; ${REPORT} lists them.`);
  return problems;
}

const sources = readSources(options.files);
await runAll(sources);
for (const problem of judge(sources)) {
  console.error(problem);
  process.exitCode = 1;
}

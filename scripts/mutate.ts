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
/** The least share of all mutants that the tests are to detect. */
const LEAST = 0.9;

interface FileReport {
  /** Of the text and its mutants: with another one, the outcomes are of other mutants. */
  hash: string;
  /** A letter for each mutant, in their order; `-`: not run yet. */
  outcomes: string;
  /** Kind and text of those that were not detected. */
  undetected: string[];
}

interface Source extends Omit<FileReport, 'outcomes' | 'undetected'> {
  path: string;
  text: string;
  mutants: Mutant[];
  outcomes: (Outcome | '-')[];
  /** The number of its first mutant among those of all sources. */
  first: number;
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
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const isUndetected = (outcome: string | undefined) => outcome === 's' || outcome === 'n';
const isAccepted = ({ path }: Source, { text }: Mutant) =>
  accepted.some(({ file, mutant }) => file === path && mutant === text);

function readReport(): Record<string, FileReport> {
  return existsSync(REPORT) ? JSON.parse(readFileSync(REPORT, 'utf8')) : {};
}

function readSources(): Source[] {
  const isChosen = createFilter(options.files, undefined, { resolve: process.cwd() });
  const report = readReport();
  let first = 0;
  const read = (path: string): Source => {
    const text = readFileSync(path, 'utf8');
    const mutants = mutantsOf(text);
    const hash = sha256(JSON.stringify([text, mutants])).slice(0, 12);
    const known = report[path]?.hash === hash ? report[path].outcomes : '';
    const outcomes = mutants.map((_, index) => (known[index] ?? '-') as Outcome | '-');
    first += mutants.length;
    return { path, text, mutants, hash, outcomes, first: first - mutants.length };
  };
  const paths = readdirSync('src', { recursive: true, encoding: 'utf8' }).map(name => `src/${name}`);
  return paths
    .filter(path => path.endsWith('.ts') && isChosen(`${process.cwd()}/${path}`))
    .sort()
    .map(read);
}

/** The mutants of a source that are to run, by their index in it. */
function chosen(source: Source): number[] {
  const { path, mutants, outcomes } = source;
  const dice = mutants.map(({ text }, index) => sha256(`${options.seed} ${path} ${index} ${text}`));
  const isOpen = (mutant: Mutant, outcome: string | undefined) =>
    outcome === '-' || (isUndetected(outcome) && !isAccepted(source, mutant));
  return [...mutants.entries()]
    .sort(([a], [b]) => ((dice[a] ?? '') < (dice[b] ?? '') ? -1 : 1))
    .slice(0, Number(options.sample))
    .filter(([index, mutant]) => options.all || isOpen(mutant, outcomes[index]))
    .map(([index]) => index)
    .sort((a, b) => a - b);
}

function undetected({ mutants, outcomes }: Source): Mutant[] {
  return mutants.filter((_, index) => isUndetected(outcomes[index]));
}

function write(source: Source): void {
  const { path, hash, outcomes } = source;
  const texts = undetected(source).map(({ kind, text }) => `${kind}: ${text}`);
  const report = { ...readReport(), [path]: { hash, outcomes: outcomes.join(''), undetected: texts } };
  const sorted = Object.fromEntries(Object.entries(report).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(REPORT, `${JSON.stringify(sorted, undefined, 2)}\n`);
}

async function run(sources: Source[]): Promise<void> {
  const work = sources.flatMap(source => chosen(source).map(index => ({ source, index })));
  const count = sources.reduce((sum, { mutants }) => sum + mutants.length, 0);
  console.log(`${work.length} of ${count} mutants to run`);
  if (work.length === 0) return;
  const texts = new Map(sources.map(({ path, text, first }) => [path, withMutants(text, first)]));
  const tests = await UnitTests.start(count, id => texts.get(relative(process.cwd(), id)));
  const start = performance.now();
  try {
    for (const { source, index } of work) {
      const outcome = await tests.run(source.first + index);
      source.outcomes[index] = outcome;
      write(source);
      const mutant = source.mutants[index];
      if (mutant === undefined || !isUndetected(outcome) || isAccepted(source, mutant)) continue;
      const problem = outcome === 's' ? 'survived' : 'not covered';
      console.log(`${source.path}:${mutant.line} ${problem}, ${mutant.kind}: ${mutant.text}`);
    }
  } finally {
    await tests.close();
  }
  console.log(`${((performance.now() - start) / 1000 / work.length).toFixed(1)} s for each mutant`);
}

/** Prints the scores. Returns what is wrong. */
function judge(sources: Source[]): string[] {
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
  const [known, detected, open] = [sum('known'), sum('detected'), sum('open')];
  console.table([...rows, { file: 'all', mutants: sum('mutants'), known, detected, open }]);
  const percent = (part: number) => `${((100 * part) / known).toFixed(1)} %`;
  console.log(`Detected: ${percent(detected)}; with the accepted ones ${percent(known - open)}.`);
  const problems = accepted
    .filter(({ file }) => sources.some(({ path }) => path === file))
    .filter(
      ({ file, mutant }) => !sources.some(s => s.path === file && s.mutants.some(m => m.text === mutant)),
    )
    .map(({ file, mutant }) => `${ACCEPTED}: ${file} has no such mutant: ${mutant}`);
  if (detected < LEAST * known) problems.push(`Less than ${100 * LEAST} % are detected.`);
  if (open > 0) problems.push(`${open} are neither detected nor accepted; ${REPORT} lists them.`);
  return problems;
}

const sources = readSources();
await run(sources);
for (const problem of judge(sources)) {
  console.error(problem);
  process.exitCode = 1;
}

/**
 * Mutation tests: changes the sources in one place at a time, and runs the tests that reach it. CONTRIBUTING.md says how
 * to read the output.
 *
 * `--files GLOB`, any number: only these sources. `--sample N`: N mutants of each, chosen by `--seed`. `--all`: also
 * mutants that have a result already. `--workers N`: N processes at a time.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { createFilter } from 'vite';
import { codeOf, type Mutant, mutantsOf, withMutants } from './mutants.js';
import { LibraryTests, type Outcome, type TestFile } from './mutate-tests.js';

const SOURCES = ['src/{hash,credentials,document,check,storage,operations}/*.ts', 'src/broker/reload*.ts'];
const REPORT = 'test/mutants/report.json';
const ACCEPTED = 'test/mutants/accepted.json';
/** The usual duration of a part of the work, in milliseconds. */
const PART = 60_000;
/** A mutant has survived when it has passed tests of this usual duration, in milliseconds. */
const ENOUGH = 60_000;
/** The least share of all mutants that the tests must detect. */
const LEAST = 0.9;

interface FileReport {
  /** A hash of the code, without comments, and of its mutants. The outcomes hold for this hash only. */
  hash: string;
  /** A letter for each mutant, in their order; `-`: not run yet. */
  outcomes: string;
  /** Kind and text of the mutants that were not detected. */
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
    workers: { type: 'string', default: String(availableParallelism()) },
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

function readSources(...patterns: string[]): Source[] {
  const isChosen = isIn(...patterns);
  const report = readReport();
  let first = 0;
  const read = (path: string): Source => {
    const text = readFileSync(path, 'utf8');
    const mutants = mutantsOf(text);
    const hash = sha256(JSON.stringify([codeOf(text), mutants.map(mutant => mutant.text)])).slice(0, 12);
    const known = report[path]?.hash === hash ? report[path].outcomes : '';
    const outcomes = mutants.map((_, index) => (known[index] ?? '-') as Outcome | '-');
    first += mutants.length;
    return { path, text, mutants, hash, outcomes, first: first - mutants.length };
  };
  const paths = readdirSync('src', { recursive: true, encoding: 'utf8' }).map(name => `src/${name}`);
  return paths
    .filter(path => path.endsWith('.ts') && isChosen(path))
    .sort()
    .map(read);
}

function isIn(...patterns: string[]): (path: string) => boolean {
  const filter = createFilter(patterns, undefined, { resolve: process.cwd() });
  return path => filter(`${process.cwd()}/${path}`);
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

/** Runs the tests of one file after the other, each with the mutants that no earlier file has detected. */
async function run(sources: Source[], all: Source[]): Promise<void> {
  const mutants = new Map(
    sources.flatMap(source =>
      chosen(source).map(index => [source.first + index, { source, index }] as const),
    ),
  );
  const count = all.reduce((sum, { mutants }) => sum + mutants.length, 0);
  console.log(`${mutants.size} of ${count} mutants to run`);
  if (mutants.size === 0) return;
  const start = performance.now();
  const texts = new Map(all.map(({ path, text, first }) => [path, withMutants(text, first)]));
  const workers = Number(options.workers);
  const open = new Set(mutants.keys());
  const settle = (number: number, outcome: Outcome) => {
    const { source, index } = mutants.get(number) ?? {};
    if (source === undefined || index === undefined || !open.delete(number)) return;
    source.outcomes[index] = outcome;
    write(source);
  };
  const lanes = Array.from({ length: workers }, () =>
    LibraryTests.start(count, workers, id => texts.get(relative(process.cwd(), id))),
  );
  try {
    const files = (await (await lanes[0])?.findReaching()) ?? [];
    const pathOf = (number: number) => mutants.get(number)?.source.path ?? '';
    const work = workOn(files, open, settle, pathOf);
    const runLane = async (lane: Promise<LibraryTests>) => {
      for (const runOn of work) await runOn(await lane);
    };
    await Promise.all(lanes.map(runLane));
    const covered = new Set(files.flatMap(reachedBy));
    for (const number of [...open]) settle(number, covered.has(number) ? 's' : 'n');
  } finally {
    for (const lane of lanes) await (await lane).close();
  }
  console.log(`${((performance.now() - start) / 1000 / mutants.size).toFixed(1)} s for each mutant`);
}

/** The parts of the work, each of about {@link PART} milliseconds. Only mutants that are still open are run. */
function* workOn(
  files: TestFile[],
  open: Set<number>,
  settle: (number: number, outcome: Outcome) => void,
  pathOf: (number: number) => string,
): Generator<(tests: LibraryTests) => Promise<void>> {
  const isNear = ({ path }: TestFile, number: number) =>
    dirname(relative('test', path)) === dirname(relative('src', pathOf(number)));
  /** The usual duration of the tests that a mutant has passed. */
  const passed = new Map<number, number>();
  const turns = [true, false].flatMap(isFirst => files.map(file => ({ file, isFirst })));
  for (const { file, isFirst } of turns) {
    const durations = durationsOf(file);
    const those = [...open].filter(
      number =>
        durations.has(number) && isNear(file, number) === isFirst && (passed.get(number) ?? 0) < ENOUGH,
    );
    const duration = those.reduce((sum, number) => sum + (durations.get(number) ?? 0), 0);
    const size = Math.ceil(those.length / (1 + duration / PART));
    for (let from = 0; from < those.length; from += size) {
      const part = those.slice(from, from + size);
      for (const number of part) passed.set(number, (passed.get(number) ?? 0) + (durations.get(number) ?? 0));
      yield tests =>
        tests.run(
          file,
          part.filter(number => open.has(number)),
          settle,
        );
    }
    const left = those.filter(number => open.has(number)).length;
    if (those.length > 0)
      console.log(`${relative('test', file.path)}: detects ${those.length - left} of ${those.length}`);
  }
  for (const number of [...open]) {
    const reaching = files.filter(({ reachedBefore }) => reachedBefore.includes(number));
    reaching.sort((a, b) => Number(isNear(b, number)) - Number(isNear(a, number)));
    yield async tests => {
      for (const file of open.has(number) ? reaching : []) {
        const outcome = await tests.runAlone(file, number);
        if (outcome === undefined) continue;
        settle(number, outcome);
        break;
      }
    };
  }
}

/** For each mutant, the usual duration of the tests of a file that reach it. */
function durationsOf({ tests }: TestFile): Map<number, number> {
  const durations = new Map<number, number>();
  for (const { usual, reached } of tests) {
    for (const number of reached) durations.set(number, (durations.get(number) ?? 0) + usual);
  }
  return durations;
}

function reachedBy({ reachedBefore, tests }: TestFile): number[] {
  return [...reachedBefore, ...tests.flatMap(({ reached }) => reached)];
}

/** Prints the scores. Returns the problems. */
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

// Numbers do not depend on the chosen sources, so that it is recorded only once which mutants the tests reach.
const all = readSources(...SOURCES, ...options.files);
const isChosen = isIn(...options.files);
const sources = all.filter(({ path }) => isChosen(path));
await run(sources, all);
for (const problem of judge(sources)) {
  console.error(problem);
  process.exitCode = 1;
}

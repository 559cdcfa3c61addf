/** Runs the tests that load the library themselves, on sources with mutants in them. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVitest, type TestModule, type Vitest } from 'vitest/node';
import config from '../vitest.config.js';
import type { Mutation } from './mutate-runner.js';

/** The outcome of a mutant: detected, over time, survived, not covered by any test. */
export type Outcome = 'd' | 't' | 's' | 'n';

/** The tests of a file, and which mutants they reach. */
export interface TestFile {
  path: string;
  /** Milliseconds until the first test begins. */
  setup: number;
  /** The mutants that are reached before the first test. */
  reachedBefore: number[];
  tests: { id: string; usual: number; places: number; reached: number[] }[];
}

/** The mutants that each test, by its id, is to run with. */
type Plan = Map<string, number[]>;

/** The last step of a test with a mutant, as `mutate-runner.ts` logs it. */
interface Step {
  step: string;
  mutant: number;
  test: string;
}

const CACHE = 'node_modules/.cache/mutants';
/** Milliseconds that tests may take beyond 5 times their usual duration. */
const LIMIT = 4_000;
/** Tests with a shorter usual duration, in milliseconds, are run first. */
const FAST = 100;

export class LibraryTests {
  readonly #vitest: Vitest;
  readonly #count: number;
  readonly #temporary: string;
  readonly #log: string;
  /** For each test file, how many mutants its tests have detected in processes of their own. */
  readonly #detected = new Map<string, number>();

  private constructor(vitest: Vitest, count: number, temporary: string) {
    this.#vitest = vitest;
    this.#count = count;
    this.#temporary = temporary;
    this.#log = join(temporary, 'log');
  }

  /**
   * @param count the number of mutants
   * @param workers how many files run at once while it is recorded which mutants they reach
   * @param transform returns the source of a path with its mutants; `undefined`: it has none
   */
  static async start(
    count: number,
    workers: number,
    transform: (path: string) => string | undefined,
  ): Promise<LibraryTests> {
    // Tests with mutants may leave files behind.
    const temporary = mkdtempSync(join(tmpdir(), 'mutants-'));
    chmodSync(temporary, 0o1777);
    const { projects: _, ...shared } = config.test ?? {};
    const options = {
      ...shared,
      include: ['test/**/*.test.ts'],
      // Of the others, most are slow or run the library in processes of their own, without mutants.
      exclude: [
        'test/{live,faults,package,program,mutants,campaigns}/**',
        'test/processes/{reload,storage}.test.ts',
      ],
      ...{ config: false as const, watch: false, maxWorkers: workers, reporters: [{}], silent: true },
      // With a mutant, a process may not be fit for further tests.
      ...{ isolate: true, sequence: { shuffle: false } },
      ...{ runner: 'scripts/mutate-runner.ts', env: { TMPDIR: temporary } },
      // A mutant that allocates without end then ends soon.
      execArgv: ['--max-old-space-size=1024'],
    };
    const plugin = {
      name: 'mutants',
      enforce: 'pre' as const,
      transform: (_: string, id: string) => transform(id),
    };
    const vitest = await createVitest('test', options, { resolve: config.resolve ?? {}, plugins: [plugin] });
    return new LibraryTests(vitest, count, temporary);
  }

  /** The test files, fast and slow tests of each apart, fast ones first. Tests that fail without a mutant are left out. */
  async findReaching(): Promise<TestFile[]> {
    const specifications = await this.#vitest.globTestSpecifications();
    const shared = filesIn('src', 'fixtures', 'test/support');
    const key = `${hashOf([...shared, ...filesIn('scripts')])}-${this.#count}`;
    const cached = (path: string) => join(CACHE, `${key}-${hashOf([path])}.json`);
    const unknown = specifications.filter(({ moduleId }) => !existsSync(cached(moduleId)));
    if (unknown.length > 0) {
      mkdirSync(CACHE, { recursive: true });
      this.#provide({ limit: 0 });
      const { testModules } = await this.#vitest.runTestSpecifications(unknown, true);
      for (const module of testModules) {
        writeFileSync(cached(module.moduleId), JSON.stringify(reachingOf(module)));
      }
    }
    return specifications
      .map(({ moduleId }): TestFile => JSON.parse(readFileSync(cached(moduleId), 'utf8')))
      .flatMap(file => [
        { ...file, tests: file.tests.filter(({ usual }) => usual < FAST) },
        { ...file, tests: file.tests.filter(({ usual }) => usual >= FAST) },
      ])
      .sort((a, b) => meanOf(a) - meanOf(b));
  }

  /** Runs the tests of a file with each of the mutants, and reports those that they detect. */
  async run(file: TestFile, mutants: number[], onDetected: (mutant: number, outcome: Outcome) => void) {
    const doubtful = new Set<number>();
    const detected = new Set<number>();
    let plan = planOf(file, new Set(mutants));
    while (plan.size > 0) {
      const steps = await this.#runEach(file, plan);
      // Nothing was run, because the process has ended before its first test.
      if (steps.length === 0) break;
      for (const { mutant, step } of steps) {
        if (step === 'detected' || step === 'overtime') {
          detected.add(mutant);
          onDetected(mutant, step === 'detected' ? 'd' : 't');
        } else if (step !== 'passed') doubtful.add(mutant);
      }
      plan = rest(plan, steps);
    }
    for (const mutant of new Set([...doubtful, ...[...plan.values()].flat()])) {
      const outcome = detected.has(mutant) ? undefined : await this.runAlone(file, mutant);
      if (outcome !== undefined) onDetected(mutant, outcome);
    }
  }

  /** Runs tests with each of their mutants in one process, and returns the steps until its end. */
  async #runEach(file: TestFile, plan: Plan): Promise<Step[]> {
    writeFileSync(this.#log, '');
    const tests = file.tests.map(({ id, usual, places }) => [
      id,
      { mutants: plan.get(id) ?? [], usual, places },
    ]);
    this.#provide({ limit: LIMIT, plan: Object.fromEntries(tests) });
    await this.#runTests(file.path, [...plan.keys()]);
    return readSteps(this.#log);
  }

  /** Runs the tests that reach a mutant in a process of their own, up to the first that fails. `undefined`: all pass. */
  async runAlone(file: TestFile, mutant: number): Promise<Outcome | undefined> {
    const isBefore = file.reachedBefore.includes(mutant);
    const tests = file.tests.filter(({ reached }) => isBefore || reached.includes(mutant));
    const usual = tests.reduce((sum, test) => sum + test.usual, file.setup);
    const pass = async (active: number): Promise<boolean> => {
      this.#provide({ active, limit: LIMIT + 5 * usual });
      return this.#runTests(
        file.path,
        tests.map(({ id }) => id),
      );
    };
    const start = performance.now();
    if (await pass(mutant)) return undefined;
    const outcome = performance.now() - start >= LIMIT + 5 * usual ? 't' : 'd';
    const detected = (this.#detected.get(file.path) ?? 0) + 1;
    this.#detected.set(file.path, detected);
    // At each power of two, the tests run without a mutant, to show that it is the mutant that makes them fail.
    if (!Number.isInteger(Math.log2(detected)) || (await pass(this.#count))) return outcome;
    console.warn(`${file.path}: some of its tests fail without a mutant`);
    return undefined;
  }

  async #runTests(path: string, testIds: string[]): Promise<boolean> {
    const specification = this.#vitest.getRootProject().createSpecification(path, { testIds });
    const { testModules, unhandledErrors } = await this.#vitest.runTestSpecifications([specification]);
    // The modules of earlier runs are among them.
    const module = testModules.find(({ moduleId }) => moduleId === path);
    return module?.ok() === true && unhandledErrors.length === 0;
  }

  #provide(mutation: Omit<Mutation, 'count' | 'log'>): void {
    this.#vitest.provide('mutation', { count: this.#count, log: this.#log, ...mutation });
  }

  async close(): Promise<void> {
    await this.#vitest.close();
    try {
      rmSync(this.#temporary, { recursive: true, force: true });
    } catch (error) {
      console.warn(`${this.#temporary} stays, because a mutant has left a mount there: ${error}`);
    }
  }
}

function filesIn(...directories: string[]): string[] {
  return directories.flatMap(directory =>
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name))
      .sort(),
  );
}

function hashOf(paths: string[]): string {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(`${path}\0`).update(readFileSync(path));
  return hash.digest('hex').slice(0, 16);
}

/** The tests of a file, with the mutants that each reached while none was active. */
function reachingOf(module: TestModule): TestFile {
  const { collectDuration, setupDuration } = module.diagnostic();
  for (const test of module.children.allTests('failed')) {
    console.warn(`${module.relativeModuleId} fails without a mutant: ${test.fullName}`);
  }
  const tests = [...module.children.allTests()];
  return {
    path: module.moduleId,
    setup: collectDuration + setupDuration,
    reachedBefore: tests.flatMap(test => test.meta().reachedBefore ?? []),
    tests: tests
      .filter(test => test.ok() && test.result().state === 'passed')
      .map(test => ({
        id: test.id,
        usual: test.diagnostic()?.duration ?? 0,
        places: test.meta().places ?? 0,
        reached: test.meta().reached ?? [],
      })),
  };
}

function meanOf({ tests }: TestFile): number {
  return tests.reduce((sum, { usual }) => sum + usual, 0) / Math.max(1, tests.length);
}

/** For each test of a file, those of the mutants that it reaches. */
function planOf({ tests }: TestFile, mutants: Set<number>): Plan {
  const plan: Plan = new Map();
  for (const { id, reached } of tests) {
    const those = reached.filter(mutant => mutants.has(mutant));
    if (those.length > 0) plan.set(id, those);
  }
  return plan;
}

/** The last step of each test with each mutant, in a process that may have ended at any point. */
function readSteps(log: string): Step[] {
  const last = new Map<string, Step>();
  let key = '';
  for (const line of readFileSync(log, 'utf8').trim().split('\n')) {
    const [step = '', mutant = '', test = ''] = line.split(' ');
    if (step === '') continue;
    const before = last.get(key);
    if (step === 'overtime') {
      // The overtime counts only if a mutant was active then.
      if (before?.step === 'begin') last.set(key, { ...before, step });
    } else {
      key = `${mutant} ${test}`;
      last.set(key, { step, mutant: Number(mutant), test });
    }
  }
  return [...last.values()];
}

/** The plan without the steps that were taken, and without the mutants that did not pass all of them. */
function rest(plan: Plan, steps: Step[]): Plan {
  const ended = new Set(steps.filter(({ step }) => step !== 'passed').map(({ mutant }) => mutant));
  const passed = new Set(steps.map(({ mutant, test }) => `${mutant} ${test}`));
  const remaining: Plan = new Map();
  for (const [test, mutants] of plan) {
    const those = mutants.filter(mutant => !ended.has(mutant) && !passed.has(`${mutant} ${test}`));
    if (those.length > 0) remaining.set(test, those);
  }
  return remaining;
}

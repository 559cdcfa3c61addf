/** Runs the unit tests over sources with mutants in them. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVitest, type TestModule, type Vitest } from 'vitest/node';
import config from '../vitest.config.js';

/** What became of a mutant: detected, over time, survived, not covered by any test. */
export type Outcome = 'd' | 't' | 's' | 'n';

/** The tests of one file that reach a mutant. */
interface Reaching {
  path: string;
  testIds: string[];
  /** Milliseconds that they take without a mutant. */
  usual: number;
}

export class UnitTests {
  readonly #vitest: Vitest;
  readonly #count: number;
  readonly #temporary: string;
  #reaching: Reaching[][] = [];
  /** How many mutants the tests of a file have detected. */
  readonly #detected = new Map<string, number>();

  private constructor(vitest: Vitest, count: number, temporary: string) {
    this.#vitest = vitest;
    this.#count = count;
    this.#temporary = temporary;
  }

  /**
   * @param count of mutants
   * @param transform the source with its mutants of a path; `undefined`: it has none
   */
  static async start(count: number, transform: (path: string) => string | undefined): Promise<UnitTests> {
    // Mutants leave files behind.
    const temporary = mkdtempSync(join(tmpdir(), 'mutants-'));
    chmodSync(temporary, 0o1777);
    process.env.TMPDIR = temporary;
    const { projects = [], ...shared } = config.test ?? {};
    const unit = projects.find(
      project => typeof project === 'object' && 'test' in project && project.test?.name === 'unit',
    );
    const options = {
      ...{ ...shared, ...(unit as { test?: object }).test },
      ...{ config: false as const, watch: false, maxWorkers: 1, reporters: [{}] },
      // A mutant may break a process for all that follows.
      ...{ isolate: true, sequence: { shuffle: false } },
      setupFiles: ['scripts/mutate-worker.ts'],
      // A mutant that never stops to allocate ends soon.
      execArgv: ['--max-old-space-size=1024'],
    };
    const plugin = {
      name: 'mutants',
      enforce: 'pre' as const,
      transform: (_: string, id: string) => transform(id),
    };
    const vitest = await createVitest('test', options, { resolve: config.resolve ?? {}, plugins: [plugin] });
    const tests = new UnitTests(vitest, count, temporary);
    await tests.#findReaching();
    return tests;
  }

  /** Runs all tests without a mutant. Those that fail then are left out. */
  async #findReaching(): Promise<void> {
    this.#reaching = Array.from({ length: this.#count }, () => []);
    this.#vitest.provide('mutation', { count: this.#count, active: -1, limit: 0 });
    const specifications = await this.#vitest.globTestSpecifications();
    const { testModules } = await this.#vitest.runTestSpecifications(specifications, true);
    for (const module of testModules) this.#addReaching(module);
  }

  #addReaching(module: TestModule): void {
    const { collectDuration, setupDuration } = module.diagnostic();
    for (const test of module.children.allTests('failed')) {
      console.warn(`${module.relativeModuleId} fails without a mutant: ${test.fullName}`);
    }
    const tests = [...module.children.allTests('passed')];
    const outside = new Set(tests.flatMap(test => test.meta().reachedBefore ?? []));
    for (const [mutant, reaching] of this.#reaching.entries()) {
      const those = tests.filter(test => outside.has(mutant) || test.meta().reached?.includes(mutant));
      if (those.length === 0) continue;
      const durations = those.map(test => test.diagnostic()?.duration ?? 0);
      reaching.push({
        path: module.moduleId,
        testIds: those.map(({ id }) => id),
        usual: durations.reduce((sum, duration) => sum + duration, collectDuration + setupDuration),
      });
    }
  }

  /** Runs the tests that reach a mutant, up to the first that fails: the fast ones first, and those that often fail. */
  async run(mutant: number): Promise<Outcome> {
    const reaching = this.#reaching[mutant] ?? [];
    const rank = ({ path, usual }: Reaching) => usual / (1 + (this.#detected.get(path) ?? 0));
    for (const tests of reaching.toSorted((a, b) => rank(a) - rank(b))) {
      const start = performance.now();
      if (await this.#pass(tests, mutant)) continue;
      const outcome = performance.now() - start >= limitOf(tests) ? 't' : 'd';
      const detected = (this.#detected.get(tests.path) ?? 0) + 1;
      this.#detected.set(tests.path, detected);
      // Now and then: is it the mutant that they fail of?
      if (!Number.isInteger(Math.log2(detected)) || (await this.#pass(tests, this.#count))) return outcome;
      console.warn(`${tests.path}: some of its tests fail without a mutant`);
    }
    return reaching.length === 0 ? 'n' : 's';
  }

  /** @param active the active mutant; none has the number that is their count */
  async #pass(tests: Reaching, active: number): Promise<boolean> {
    this.#vitest.provide('mutation', { count: this.#count, active, limit: limitOf(tests) });
    const specification = this.#vitest
      .getRootProject()
      .createSpecification(tests.path, { testIds: tests.testIds });
    const { testModules, unhandledErrors } = await this.#vitest.runTestSpecifications([specification]);
    // All that have ever run are among them.
    const module = testModules.find(({ moduleId }) => moduleId === tests.path);
    return module?.ok() === true && unhandledErrors.length === 0;
  }

  async close(): Promise<void> {
    await this.#vitest.close();
    rmSync(this.#temporary, { recursive: true, force: true });
  }
}

/** Milliseconds after which tests count as over time. */
function limitOf({ usual }: Reaching): number {
  return 5 * usual + 5_000;
}

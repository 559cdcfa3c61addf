/** Lists the tests that were skipped; the reason is in their titles. */
import type { Reporter, TestModule } from 'vitest/node';

export default class Skipped implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    for (const module of modules) {
      for (const { fullName } of module.children.allTests('skipped')) console.log(`skipped: ${fullName}`);
    }
  }
}

/** Timing things side by side: alternating runs, medians, and ratios of neighbouring runs. */
import { performance } from 'node:perf_hooks';

/** Something to time; it says itself how many milliseconds counted, so that preparing and checking do not. */
export type Run = () => Promise<number>;

/** Median, smallest and largest of several runs. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** Two things timed in turn. `ratio`: how many times as long theirs took as ours did. */
export interface Comparison {
  ours: Spread;
  theirs: Spread;
  ratio: Spread;
}

/** The milliseconds that something takes. */
export async function timed(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Whether everything is to run on small files, in seconds. */
export const small = process.argv.includes('--small');

/** For so many milliseconds, and once at least, things run before they count: services are warm. */
const WARM_UP = small ? 0 : 1000;

export async function warmUp(run: Run): Promise<void> {
  const end = performance.now() + WARM_UP;
  do await run();
  while (performance.now() < end);
}

/** A B B A A B …, both being warm. */
export async function compare(rounds: number, ours: Run, theirs: Run): Promise<Comparison> {
  await warmUp(ours);
  await warmUp(theirs);
  const times: Array<{ ours: number; theirs: number }> = [];
  for (let round = 0; round < rounds; round++) {
    const first = round % 2 === 0 ? await ours() : await theirs();
    const second = round % 2 === 0 ? await theirs() : await ours();
    times.push(round % 2 === 0 ? { ours: first, theirs: second } : { ours: second, theirs: first });
  }
  return {
    ours: spread(times.map(time => time.ours)),
    theirs: spread(times.map(time => time.theirs)),
    ratio: spread(times.map(time => time.theirs / time.ours)),
  };
}

/** Several runs of one thing, which is warm. */
export async function repeat(rounds: number, run: Run): Promise<Spread> {
  await warmUp(run);
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) times.push(await run());
  return spread(times);
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? Number.NaN;
  return { median: at(0.5), min: at(0), max: at(1) };
}

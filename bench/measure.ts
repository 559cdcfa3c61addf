/** Compares durations: alternating runs, medians, and ratios of neighbouring runs. */
import { performance } from 'node:perf_hooks';

/** One run of what is measured. Resolves with the milliseconds that count, without preparation and checks. */
export type Run = () => Promise<number>;

/** Median, smallest and largest of several runs. */
export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** Two things measured in turn. `ratio`: the time of theirs divided by that of ours. */
export interface Comparison {
  ours: Spread;
  theirs: Spread;
  ratio: Spread;
}

/** The duration of some work in milliseconds. */
export async function timed(work: () => unknown): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Whether the benchmarks run on small files, in seconds. */
export const small = process.argv.includes('--small');

/** Milliseconds of runs that do not count, at least one, because services are warm. */
const WARM_UP = small ? 0 : 1000;

export async function warmUp(run: Run): Promise<void> {
  const end = performance.now() + WARM_UP;
  do await run();
  while (performance.now() < end);
}

/** Compares two runs in the order A B B A A B …, after the warm-up of both. */
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

/** Repeats a run after its warm-up. */
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

/** Hashing, compared with raw calls of node:crypto and with the npm package mosquitto-passwd. */
import { pbkdf2 } from 'node:crypto';
import mosquittoPasswd from 'mosquitto-passwd';
import { compare, spread, timed, warmUp } from './measure.js';
import type { Row } from './report.js';
import { expectEqual, library, PASSWORD } from './setting.js';

const IN_FLIGHT = [2, 4, 8, 16, 64, 256, 512, 1024];

/** Makes `total` calls, of which `count` are under way at any time. `take` gets each result, without another await. */
export async function inFlight<T>(
  count: number,
  total: number,
  call: (i: number) => Promise<T>,
  take: (value: T) => void = () => undefined,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < total) take(await call(next++));
  };
  await Promise.all(Array.from({ length: count }, lane));
}

const SALT = Buffer.alloc(12, 7);

export function rawHash(): Promise<Buffer> {
  return new Promise((resolve, reject) =>
    pbkdf2(PASSWORD, SALT, 101, 64, 'sha512', (error, key) => (error ? reject(error) : resolve(key))),
  );
}

/** The number of calls in flight with which a sample of calls takes the least time on this machine. */
export async function bestInFlight(
  sample: number,
  call: (i: number) => Promise<unknown> = rawHash,
): Promise<number> {
  const runs = IN_FLIGHT.map(count => ({ count, times: [] as number[] }));
  await warmUp(() => timed(() => inFlight(256, sample, call)));
  for (let round = 0; round < 7; round++) {
    for (const { count, times } of runs) times.push(await timed(() => inFlight(count, sample, call)));
  }
  const medians = runs.map(({ count, times }) => ({ count, median: spread(times).median }));
  return medians.reduce((best, each) => (each.median < best.median ? each : best)).count;
}

export async function hashing(total: number, rounds: number, sample: number): Promise<Row[]> {
  const best = await bestInFlight(sample);
  let last = '';
  const hash = () => library.hashPassword(PASSWORD);
  const ours = async () => {
    const time = await timed(() => inFlight(best, total, hash, value => (last = value)));
    expectEqual(await library.verifyPassword(PASSWORD, last), true, 'verifies');
    return time;
  };
  const raw = await compare(rounds, ours, () => timed(() => inFlight(best, total, rawHash)));

  const sha512 = { algorithm: 'sha512' } as const;
  const weak = await compare(
    rounds,
    () => timed(() => inFlight(best, total, () => library.hashPassword(PASSWORD, sha512))),
    () => timed(() => inFlight(best, total, () => mosquittoPasswd('alice', PASSWORD))),
  );
  return [
    {
      what: `hash ${total} passwords, ${best} in flight`,
      rival: 'raw crypto.pbkdf2',
      ...raw,
      goal: { ratio: 0.95 },
    },
    { what: `hash ${total} passwords as $6$`, rival: 'npm mosquitto-passwd', ...weak },
  ];
}

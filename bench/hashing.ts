/** Hashing against what Node's crypto can do at best, and against the npm package mosquitto-passwd. */
import { pbkdf2 } from 'node:crypto';
import mosquittoPasswd from 'mosquitto-passwd';
import { compare, repeat, timed } from './measure.js';
import type { Row } from './report.js';
import { expectEqual, library, PASSWORD } from './setting.js';

const IN_FLIGHT = [2, 4, 8, 16, 64, 256, 1024];

/** Keeps so many calls under way until all are done. */
export async function inFlight(
  count: number,
  total: number,
  call: (i: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < total) await call(next++);
  };
  await Promise.all(Array.from({ length: count }, lane));
}

const SALT = Buffer.alloc(12, 7);

export function rawHash(): Promise<Buffer> {
  return new Promise((resolve, reject) =>
    pbkdf2(PASSWORD, SALT, 101, 64, 'sha512', (error, key) => (error ? reject(error) : resolve(key))),
  );
}

/** The number of calls in flight with which a sample of them is done soonest here. */
export async function bestInFlight(
  sample: number,
  call: (i: number) => Promise<unknown> = rawHash,
): Promise<number> {
  const times: Array<[number, number]> = [];
  for (const count of IN_FLIGHT) {
    const time = await repeat(3, () => timed(() => inFlight(count, sample, call)));
    times.push([count, time.min]);
  }
  return times.sort(([, a], [, b]) => a - b)[0]?.[0] ?? 16;
}

export async function hashing(total: number, rounds: number, sample: number): Promise<Row[]> {
  const best = await bestInFlight(sample);
  const last: string[] = [];
  const ours = () =>
    timed(() =>
      inFlight(best, total, async i => {
        last[i % 8] = await library.hashPassword(PASSWORD);
      }),
    );
  const raw = await compare(rounds, ours, () => timed(() => inFlight(best, total, rawHash)));
  for (const hash of last) expectEqual(await library.verifyPassword(PASSWORD, hash), true, 'verifies');

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

/** The start time of brokers with exported clients of the dynamic-security plugin, all with one role. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DynamicSecurityClient } from '../src/index.js';
import { type Broker, findBrokers, login, type RunningBroker, startBroker } from '../test/support/broker.js';
import { dynamicSecurityFile, pluginConfig } from '../test/support/dynamic-security.js';
import { type Spread, small, spread } from './measure.js';
import type { Row } from './report.js';
import { directory, library, nameOf, PASSWORD } from './setting.js';

const SIZES = small ? [10, 100] : [1_000, 5_000, 20_000, 100_000];
/** The most clients that are also started in ascending order. More take minutes. */
const ASCENDING = 5_000;

async function startTime(
  start: () => Promise<RunningBroker>,
  users: number,
  rounds: number,
): Promise<Spread> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    await using running = await start();
    times.push(performance.now() - started);
    for (const user of [0, users - 1]) await expectLogin(running.port, nameOf(user));
  }
  return spread(times);
}

async function expectLogin(port: number, username: string): Promise<void> {
  const answers = [await login(port, username, PASSWORD), await login(port, username, 'wrong')];
  if (answers.join() !== '0,5') throw new Error(`${username}: the broker answers ${answers}`);
}

/** With clients in the descending order of `exportDynamicSecurity`, in ascending order, and with a password file. */
async function startTimes(broker: Broker, users: number, rounds: number): Promise<Row> {
  const hash = await library.hashPassword(PASSWORD);
  const rows = Array.from({ length: users }, (_, user): [string, string] => [nameOf(user), hash]);
  const passwordFile = join(directory, 'passwd');
  writeFileSync(passwordFile, rows.map(([name]) => `${name}:${hash}\n`).join(''), { mode: 0o600 });
  const { clients } = await library.exportDynamicSecurity(rows, { roles: ['device'] });
  const path = join(directory, 'dynamic-security.json');
  const withClients = (list: readonly DynamicSecurityClient[]) => {
    writeFileSync(path, dynamicSecurityFile(list));
    return startTime(() => startBroker(broker, { config: pluginConfig(broker, path) }), users, rounds);
  };
  const row: Row = {
    what: `start of Mosquitto ${broker.version} with ${users} exported clients`,
    ours: await withClients(clients),
    rival: 'with the same users in a password file',
    theirs: await startTime(() => startBroker(broker, { passwordFile }), users, rounds),
  };
  if (users > ASCENDING) return row;
  const { median } = await withClients(clients.toReversed());
  return { ...row, note: `clients in ascending order: ${median.toFixed(0)} ms` };
}

export async function startingWithClients(rounds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const broker of findBrokers()) {
    for (const users of SIZES) rows.push(await startTimes(broker, users, rounds));
  }
  return rows;
}

/**
 * How long brokers take to start with exported clients of the dynamic-security plugin, all with one role: in the
 * descending order of `exportDynamicSecurity`, in ascending order, and with the same users in a password file.
 * `npx tsx bench/dynamic-security.ts` after `npm run build`; `--small` runs it in seconds.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DynamicSecurityClient } from '../src/index.js';
import { type Broker, findBrokers, login, type RunningBroker, startBroker } from '../test/support/broker.js';
import { dynamicSecurityFile, pluginConfig } from '../test/support/dynamic-security.js';
import { small, spread } from './measure.js';
import { folder, library, nameOf, PASSWORD } from './setting.js';

const SIZES = small ? [10, 100] : [100, 1_000, 5_000, 20_000, 50_000, 100_000];
/** In ascending order, more take minutes. */
const ASCENDING = 20_000;
const ROUNDS = small ? 1 : 3;

async function startTime(
  start: () => Promise<RunningBroker>,
  users: number,
  rounds = ROUNDS,
): Promise<string> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    await using running = await start();
    times.push(performance.now() - started);
    for (const user of [0, users - 1]) await expectLogin(running.port, nameOf(user));
  }
  return `${(spread(times).median / 1000).toFixed(2)} s`;
}

async function expectLogin(port: number, username: string): Promise<void> {
  const answers = [await login(port, username, PASSWORD), await login(port, username, 'wrong')];
  if (answers.join() !== '0,5') throw new Error(`${username}: the broker answers ${answers}`);
}

async function startTimes(broker: Broker, users: number): Promise<string[]> {
  const hash = await library.hashPassword(PASSWORD);
  const rows = Array.from({ length: users }, (_, user): [string, string] => [nameOf(user), hash]);
  const passwordFile = join(folder, 'passwd');
  writeFileSync(passwordFile, rows.map(([name]) => `${name}:${hash}\n`).join(''), { mode: 0o600 });
  const { clients } = await library.exportDynamicSecurity(rows, { roles: ['device'] });
  const path = join(folder, 'dynamic-security.json');
  const withClients = (list: readonly DynamicSecurityClient[], rounds?: number) => {
    writeFileSync(path, dynamicSecurityFile(list));
    return startTime(() => startBroker(broker, { config: pluginConfig(broker, path) }), users, rounds);
  };
  return [
    await withClients(clients),
    users > ASCENDING ? '–' : await withClients(clients.toReversed(), 1),
    await startTime(() => startBroker(broker, { passwordFile }), users),
  ];
}

console.log('| broker | users | clients, descending | clients, ascending | password file |');
console.log('|---|---|---|---|---|');
for (const broker of findBrokers()) {
  for (const users of SIZES) {
    const times = await startTimes(broker, users);
    console.log(`| ${broker.version} | ${users} | ${times.join(' | ')} |`);
  }
}

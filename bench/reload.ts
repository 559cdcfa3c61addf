/** The time until a running broker knows a registration, and the cost of its reloads. */
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { type Broker, findBrokers, login, type RunningBroker, startBroker } from '../test/support/broker.js';
import { MqttClient } from '../test/support/mqtt-client.js';
import { randomNumbers } from '../test/support/random.js';
import { countSignals, QUIET } from '../test/support/reload-signals.js';
import { type Spread, spread } from './measure.js';
import type { Row } from './report.js';
import { expectEqual, library, makeFile, nameOf, PASSWORD } from './setting.js';

const host = '127.0.0.1';
/** The least number of registrations a second. */
const GOALS: Record<Broker['release'], number> = { '2.0': 6, '2.1': 30 };

function reloadedFile(path: string, broker: RunningBroker, release: Broker['release'], maxLoad?: number) {
  return new library.PasswordFile(path, { broker: release, reload: { pid: broker.pid, maxLoad } });
}

/** Registers one device after the other, each until the broker lets it in. */
export async function registering(users: number, registrations: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const program of findBrokers()) {
    const path = makeFile('registering', users);
    await using broker = await startBroker(program, { passwordFile: path, config: QUIET });
    const file = reloadedFile(path, broker, program.release);
    const times: number[] = [];
    for (let i = 0; i < registrations; i++) {
      const start = performance.now();
      const { username, password } = await file.provision();
      await file.reloaded();
      await library.confirmLogin({ host, port: broker.port, username, password });
      times.push(performance.now() - start);
    }
    const perSecond = (1_000 * registrations) / times.reduce((sum, time) => sum + time, 0);
    rows.push({
      what: `register one after the other at ${users} users, until ${program.version} lets in`,
      ours: spread(times),
      goal: { atMost: Math.floor(1_000 / GOALS[program.release]) },
      note: `${perSecond.toFixed(1)} a second`,
    });
  }
  return rows;
}

/** Registers many devices, of which `inFlight` are under way at any time. Then all log in. */
export async function registeringMany(registrations: number, inFlight: number): Promise<Row[]> {
  const program = newest();
  const rows: Row[] = [];
  for (const maxLoad of [0.1, 0.5, 1]) {
    const path = makeFile('registering', 1_000);
    await using broker = await startBroker(program, { passwordFile: path, config: QUIET });
    const file = reloadedFile(path, broker, program.release, maxLoad);
    const times: number[] = [];
    const devices: Array<{ username: string; password: string }> = [];
    const usage = cpuUsage(broker.pid);
    const reloads = broker.reloads;
    await inParallel(registrations, inFlight, async () => {
      const start = performance.now();
      const device = await file.provision();
      await file.reloaded();
      times.push(performance.now() - start);
      devices.push(device);
    });
    const { share, seconds } = usage();
    const signals = broker.reloads - reloads;
    let missing = 0;
    await inParallel(devices.length, 20, async i => {
      const { username, password } = devices[i] as { username: string; password: string };
      if ((await login(broker.port, username, password)) !== 0) missing++;
    });
    expectEqual(missing, 0, 'registrations that the broker does not let in');
    rows.push({
      what: `register ${registrations}, ${inFlight} at a time, maxLoad ${maxLoad}, ${program.version}`,
      ours: spread(times),
      note:
        `${(registrations / seconds).toFixed(0)} a second, 0 missing, ${signals} reloads, ` +
        `broker's CPU ${percent(share)}`,
    });
  }
  return rows;
}

/** The CPU time of reloads with connected clients, and the delay of pings meanwhile. */
export async function reloadingWithClients(clients: number, seconds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const program of findBrokers()) {
    for (const iterations of [101, 1_000])
      rows.push(...(await withClients(program, clients, iterations, seconds)));
  }
  return rows;
}

async function withClients(
  program: Broker,
  clients: number,
  iterations: number,
  seconds: number,
): Promise<Row[]> {
  const path = makeFile('clients', 0);
  const file = new library.PasswordFile(path, { hash: { iterations } });
  const hash = await library.hashPassword(PASSWORD, { iterations });
  await file.update(draft => {
    for (let i = 0; i <= clients; i++) draft.set(nameOf(i), hash);
  });
  await using broker = await startBroker(program, { passwordFile: path, config: QUIET });
  const connected: MqttClient[] = [];
  await inParallel(clients, 50, async i => {
    connected.push(await MqttClient.connect(broker.port, nameOf(i), PASSWORD));
  });
  const pinging = await MqttClient.connect(broker.port, nameOf(clients), PASSWORD);
  pinging.subscribe('ping');

  const quiet = await pings(pinging, broker, seconds);
  const registering = reloadedFile(path, broker, program.release);
  let isRunning = true;
  const reloads = broker.reloads;
  const registrations = (async () => {
    for (let i = 0; isRunning; i++) {
      await registering.setHash(`new_${i}`, hash);
      await registering.reloaded();
    }
  })();
  const busy = await pings(pinging, broker, seconds);
  const signals = broker.reloads - reloads;
  isRunning = false;
  await registrations;
  expectEqual(
    connected.filter(client => client.isConnected).length,
    clients,
    'clients that are still connected',
  );
  await Promise.all([pinging, ...connected].map(client => client.close()));

  const title = `${clients} clients with ${iterations} iterations, ${program.version}`;
  const share = busy.share - quiet.share;
  return [
    {
      what: `share of the broker's time that reloads take, ${title}`,
      ours: { median: 100 * share, min: 100 * share, max: 100 * share },
      unit: '%',
      goal: { atMost: 60 },
      note: `${(signals / seconds).toFixed(1)} reloads a second, maxLoad 0.5`,
    },
    { what: `ping without registrations, ${title}`, ours: quiet.times, note: quiet.note },
    { what: `ping with registrations, ${title}`, ours: busy.times, note: busy.note },
  ];
}

/** Pings a broker for so many seconds, with pauses of 20 ms. */
async function pings(
  client: MqttClient,
  broker: RunningBroker,
  seconds: number,
): Promise<{ times: Spread; note: string; share: number }> {
  const times: number[] = [];
  const usage = cpuUsage(broker.pid);
  for (const end = performance.now() + seconds * 1_000; performance.now() < end; ) {
    times.push(await client.ping('ping'));
    await pause(20);
  }
  const { share } = usage();
  const sorted = times.sort((a, b) => a - b);
  const slow = sorted[Math.floor(0.99 * sorted.length)] ?? Number.NaN;
  return { times: spread(times), note: `99th percentile ${slow.toFixed(1)} ms`, share };
}

/** Sends signals to brokers with random loads, and counts those that are lost. */
export async function losingSignals(signals: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const program of findBrokers()) {
    const start = performance.now();
    const { lost, early } = await countSignals(library, program, signals, randomNumbers(1));
    expectEqual(lost, 0, 'lost signals');
    const ms = (performance.now() - start) / signals;
    rows.push({
      what: `signal and login under random load, ${program.version}`,
      ours: { median: ms, min: ms, max: ms },
      note: `${lost} of ${signals} signals lost, ${early} not over when reloaded() resolved`,
    });
  }
  return rows;
}

function newest(): Broker {
  const programs = findBrokers();
  const program = programs.find(({ release }) => release === '2.1') ?? programs[0];
  if (program === undefined) throw new Error('There is no Mosquitto here.');
  return program;
}

/** Returns a function for the share of a CPU that a process has used since, and the seconds. */
function cpuUsage(pid: number): () => { share: number; seconds: number } {
  const used = () => Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1e9;
  const [before, start] = [used(), performance.now()];
  return () => {
    const seconds = (performance.now() - start) / 1_000;
    return { share: (used() - before) / seconds, seconds };
  };
}

async function inParallel(
  count: number,
  inFlight: number,
  work: (i: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, worker));
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

/** Many reloads of a broker under random loads, one after another. Counts those without effect, and the late ones. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { PasswordFile } from '../../src/index.js';
import { type Broker, login, startBroker } from './broker.js';
import { temporaryDirectory } from './leftovers.js';
import { MqttClient } from './mqtt-client.js';

/** Makes the broker log less, because this process reads what the broker logs of each message. */
export const QUIET = 'log_type none\nlog_type information';

export interface SignalCounts {
  signals: number;
  /** The user was not let in at once when `reloaded()` resolved, but within a second. */
  early: number;
  /** The user was not let in within a second either. */
  lost: number;
}

interface Library {
  PasswordFile: typeof PasswordFile;
  hashPassword(password: string): Promise<string>;
}

const CLIENTS = 20;

/** Adds users one by one, waits for `reloaded()` and logs in, while clients send between no and very many messages. */
export async function countSignals(
  { PasswordFile, hashPassword }: Library,
  program: Broker,
  signals: number,
  random: () => number,
): Promise<SignalCounts> {
  using directory = temporaryDirectory('signals');
  const path = join(directory.path, 'passwd');
  const hash = await hashPassword('pw');
  const users = CLIENTS + Math.round(10 ** (1 + 2.5 * random()));
  writeFileSync(path, Array.from({ length: users }, (_, i) => `base-${i}:${hash}\n`).join(''), {
    mode: 0o600,
  });
  await using broker = await startBroker(program, { passwordFile: path, config: QUIET });
  const load = await Load.start(broker.port, random);
  const file = new PasswordFile(path, { broker: program.release, reload: { pid: broker.pid, maxLoad: 1 } });
  const counts: SignalCounts = { signals, early: 0, lost: 0 };
  try {
    for (let i = 0; i < signals; i++) {
      const username = `user-${i}`;
      // This connection is older than the signal: a new one would make the broker look for signals.
      const client = await MqttClient.open(broker.port);
      await load.change();
      await file.setHash(username, hash);
      await file.reloaded();
      const isIn = (await client.login(username, 'pw')) === 0;
      await client.close();
      if (!isIn) counts[(await isLetIn(broker.port, username)) ? 'early' : 'lost']++;
    }
    return counts;
  } finally {
    await load.stop();
  }
}

async function isLetIn(port: number, username: string): Promise<boolean> {
  for (const end = performance.now() + 1_000; performance.now() < end; ) {
    if ((await login(port, username, 'pw')) === 0) return true;
  }
  return false;
}

/** Clients that send messages to all of them. */
class Load {
  readonly #clients: MqttClient[];
  readonly #random: () => number;
  /** Messages in a burst, and milliseconds from one to the next. */
  #burst = 0;
  #pause = 10;
  #isRunning = true;
  #sending: Promise<void>;

  private constructor(clients: MqttClient[], random: () => number) {
    this.#clients = clients;
    this.#random = random;
    this.#sending = this.#send();
  }

  static async start(port: number, random: () => number): Promise<Load> {
    const clients: MqttClient[] = [];
    for (let i = 0; i < CLIENTS; i++) clients.push(await MqttClient.connect(port, `base-${i}`, 'pw'));
    for (const client of clients) client.subscribe('load');
    return new Load(clients, random);
  }

  /** Changes to another load, in the middle of which the next signal arrives. */
  async change(): Promise<void> {
    const random = this.#random;
    await this.#clients[0]?.ping('load');
    this.#burst = random() < 0.3 ? 0 : Math.round(10 ** (2 * random()));
    this.#pause = random() < 0.5 ? 0 : 20 * random();
    await pause(40 * random() ** 2);
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#sending;
    await Promise.all(this.#clients.map(client => client.close()));
  }

  async #send(): Promise<void> {
    while (this.#isRunning) {
      for (let i = 0; i < this.#burst; i++) {
        const sender = this.#clients[Math.floor(this.#random() * CLIENTS)];
        sender?.publish('load', 'x'.repeat(20));
      }
      // Otherwise the messages that wait would become more and more where this process is faster than the broker.
      if (this.#burst > 0) await this.#clients[0]?.ping('load');
      await pause(this.#pause);
    }
  }
}

/**
 * examples/fleet with faults: rows change and devices are registered, while agents, brokers and the database are
 * killed at random. In the end each file holds the rows of the table, and each device can log in at all brokers.
 * FLEET_SECONDS is the duration (60). FLEET_SEED repeats the random decisions, but not the scheduling.
 */
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { expect, vi } from 'vitest';
import { register } from '../../examples/fleet/register.js';
import { confirmLogin, hashPassword, verifyPassword } from '../../src/index.js';
import { login } from '../support/broker.js';
import { Fleet, type Site } from '../support/fleet.js';
import { postgres } from '../support/postgres.js';
import { randomNumbers } from '../support/random.js';
import { broker, needs } from '../support/require.js';

const SECONDS = Number(process.env.FLEET_SECONDS ?? 60);
const SEED = Number(process.env.FLEET_SEED ?? Math.floor(Math.random() * 2 ** 32));
/** Milliseconds after which the faults pause and the files are compared. Later changes could hide a lost one. */
const ROUND = 8_000;
/** Milliseconds after the last fault within which files and logins must be right. */
const RECOVERY = 30_000;
/** How many devices log in at each broker in the end. */
const SAMPLE = 100;

needs(postgres, broker('2.0'), broker('2.1')).test(
  'all files of examples/fleet get the rows of the table although agents, brokers and the database are killed at random',
  async () => {
    console.info(`FLEET_SEED=${SEED} FLEET_SECONDS=${SECONDS}`);
    await using fleet = await Fleet.start();
    const campaign = new Campaign(fleet);
    await campaign.run(SECONDS * 1_000);

    await campaign.expectLogins();
    await campaign.expectAnswered();
    console.info(JSON.stringify({ ...campaign.counts, rows: (await fleet.lines()).length }));
    expect(campaign.counts.changes).toBeGreaterThan(SECONDS);
    expect(campaign.counts.answered).toBeGreaterThan(0);
    expect(campaign.counts.faults).toBeGreaterThan(SECONDS / 5);
  },
  2 * SECONDS * 1_000 + 3 * RECOVERY,
);

class Campaign {
  readonly counts = { changes: 0, failedChanges: 0, answered: 0, unanswered: 0, faults: 0 };
  readonly #random = randomNumbers(SEED);
  /** The password of each hash that was in the table. */
  readonly #passwords = new Map<string, string>();
  /** For each registered device the password in the answer, or `undefined` if a later registration was not answered. */
  readonly #registered = new Map<string, string | undefined>();
  /** The names of all devices that were inserted, also those that were removed since. */
  readonly #names: string[] = [];
  #isRunning = false;

  constructor(readonly fleet: Fleet) {}

  async run(milliseconds: number): Promise<void> {
    for (const end = performance.now() + milliseconds; performance.now() < end; ) {
      await this.#round();
      await this.#expectEqualFiles();
    }
  }

  async #round(): Promise<void> {
    this.#isRunning = true;
    const work = [this.#change(), this.#register()];
    if (this.#random() < 0.5) work.push(this.#attackDatabase());
    for (const site of this.fleet.sites) {
      work.push(this.#attackAgent(site));
      if (this.#random() < 0.5) work.push(this.#attackBroker(site));
    }
    const done = Promise.all(work);
    await Promise.race([passed(ROUND), done]);
    this.#isRunning = false;
    await done;
  }

  /** Adds, changes, renames and removes rows, one or many in a transaction. */
  async #change(): Promise<void> {
    while (this.#isRunning) {
      const password = `password ${this.#passwords.size}`;
      const hash = await hashPassword(password);
      this.#passwords.set(hash, password);
      try {
        await this.fleet.database.query(...this.#statement(hash));
        this.counts.changes++;
      } catch {
        // The database is down. Whether the change was committed, the table shows in the end.
        this.counts.failedChanges++;
      }
      await passed(this.#random() * 60);
    }
  }

  /** Most names are new, so that no later change hides what became of them. */
  #statement(hash: string): [sql: string, values: unknown[]] {
    const dice = this.#random();
    if (dice < 0.5) return ['INSERT INTO device VALUES ($1, $2)', [this.#newName(), hash]];
    if (dice < 0.6) return ['UPDATE device SET hash = $2 WHERE username = $1', [this.#name(), hash]];
    if (dice < 0.7)
      return ['UPDATE device SET username = $2 WHERE username = $1', [this.#name(), this.#newName()]];
    if (dice < 0.8) {
      const names = Array.from({ length: 20 }, () => this.#newName());
      return ['INSERT INTO device SELECT unnest($1::text[]), $2', [names, hash]];
    }
    const names = Array.from({ length: dice < 0.9 ? 1 : 20 }, () => this.#name());
    return ['DELETE FROM device WHERE username = ANY ($1)', [names]];
  }

  #newName(): string {
    const name = `device_${this.#names.length}`;
    this.#names.push(name);
    return name;
  }

  #name(): string {
    return this.#names[Math.floor(this.#random() * this.#names.length)] ?? 'nobody';
  }

  /** Registers devices, which nothing else changes. */
  async #register(): Promise<void> {
    const { fleet } = this;
    while (this.#isRunning) {
      const name = `registered_${Math.floor(50 * this.#random())}`;
      this.#registered.set(name, undefined);
      try {
        this.#registered.set(name, await register(fleet.database, fleet.listeners, name, 3_000));
        this.counts.answered++;
      } catch {
        this.counts.unanswered++;
        await passed(100);
      }
    }
  }

  async #attack(interval: number, fault: () => Promise<void>): Promise<void> {
    while (this.#isRunning) {
      await passed(interval * (0.2 + 1.6 * this.#random()));
      if (!this.#isRunning) return;
      this.counts.faults++;
      await fault();
    }
  }

  /** Kills the agent or cuts its connection, but not both in a round: an agent that starts copies the whole table. */
  #attackAgent(site: Site): Promise<void> {
    if (this.#random() < 0.6) return this.#attack(4_000, () => this.#cutConnection(site));
    return this.#attack(4_000, async () => {
      await site.killAgent();
      await passed(this.#random() * 2_000);
      site.launchAgent();
    });
  }

  #attackBroker(site: Site): Promise<void> {
    return this.#attack(5_000, async () => {
      await site.killBroker();
      await passed(this.#random() * 3_000);
      await site.startBroker();
    });
  }

  #attackDatabase(): Promise<void> {
    return this.#attack(5_000, async () => {
      await this.fleet.postgres.kill(this.#random() < 0.5 ? 'SIGKILL' : 'SIGQUIT');
      await passed(this.#random() * 3_000);
      await this.fleet.postgres.restart();
    });
  }

  async #cutConnection(site: Site): Promise<void> {
    const end = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1';
    // If the database is down, the connection is cut anyway.
    await this.fleet.database.query(end, [`agent of ${site.program.version}`]).catch(() => undefined);
  }

  async #expectEqualFiles(): Promise<void> {
    const lines = await this.fleet.lines();
    await vi.waitFor(
      () => {
        for (const site of this.fleet.sites) {
          expect(site.lines(), this.#story(site)).toEqual(lines);
          expect(readdirSync(dirname(site.path)).filter(name => name.endsWith('.writer'))).toEqual([]);
        }
      },
      { timeout: RECOVERY, interval: 100 },
    );
  }

  /** Expects of a sample of devices that each broker lets in those in the table, and no others. */
  async expectLogins(): Promise<void> {
    const rows = new Map((await this.fleet.lines()).map(line => line.split(':') as [string, string]));
    for (let i = 0; i < SAMPLE; i++) {
      const username = this.#name();
      const password = this.#passwords.get(rows.get(username) ?? '');
      for (const site of this.fleet.sites) {
        const { port } = site.listener;
        const what = `${username} at ${this.#story(site)}`;
        if (password === undefined) {
          expect(rows.has(username), what).toBe(false);
          const isRefused = async () => expect(await login(port, username, 'any'), what).toBe(5);
          await vi.waitFor(isRefused, { timeout: RECOVERY, interval: 100 });
        } else {
          await confirmLogin({ host: '127.0.0.1', port, username, password, timeout: RECOVERY });
        }
      }
    }
  }

  /** Expects that each password in an answer is that in the table, and that all brokers let the device in by it. */
  async expectAnswered(): Promise<void> {
    const rows = new Map((await this.fleet.lines()).map(line => line.split(':') as [string, string]));
    for (const [username, password] of this.#registered) {
      if (password === undefined) continue;
      expect(await verifyPassword(password, rows.get(username) ?? ''), username).toBe(true);
      for (const { listener } of this.fleet.sites) {
        await confirmLogin({ ...listener, username, password, timeout: RECOVERY });
      }
    }
  }

  #story({ program, agent }: Site): string {
    return `${program.version}, whose agent said:\n${agent?.errors}`;
  }
}

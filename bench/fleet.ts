/**
 * The time from the committed row of a device in PostgreSQL to its confirmed login at the last of all brokers, with
 * the agents of examples/fleet. After `npm run build`, `npx tsx bench/run.ts --figure=fleet` runs only this one.
 */
import { login } from '../test/support/broker.js';
import { Fleet } from '../test/support/fleet.js';
import { spread } from './measure.js';
import type { Row } from './report.js';
import { expectEqual, library, nameOf, PASSWORD } from './setting.js';

/** How many of many INSERTs at once are confirmed meanwhile: few, so that this takes little of the machine. */
const SAMPLE = 50;

/**
 * @param users in the table and the files before
 * @param registrations one after the other
 * @param inserts at once, each in a transaction of its own
 */
export async function replicating(users: number, registrations: number, inserts: number): Promise<Row[]> {
  await using fleet = await Fleet.start();
  const hash = await library.hashPassword(PASSWORD);
  const names = Array.from({ length: users }, (_, i) => nameOf(i));
  await fleet.database.query('INSERT INTO device SELECT unnest($1::text[]), $2', [names, hash]);
  await confirm(fleet, nameOf(users - 1));

  const brokers = `${fleet.sites.map(({ program }) => program.version).join(', ')} with ${users} users`;
  return [
    await oneByOne(fleet, hash, registrations, `an INSERT, until the last of ${brokers} lets in`),
    await allAtOnce(
      fleet,
      hash,
      inserts,
      `${inserts} INSERTs at once, each until the last of ${brokers} lets in`,
    ),
  ];
}

async function oneByOne(fleet: Fleet, hash: string, registrations: number, what: string): Promise<Row> {
  const times: number[] = [];
  for (let i = 0; i < registrations; i++) times.push((await insert(fleet, `single_${i}`, hash)).waited);
  return { what, ours: spread(times), note: `${registrations} one after the other` };
}

async function allAtOnce(fleet: Fleet, hash: string, inserts: number, what: string): Promise<Row> {
  const start = performance.now();
  const times: number[] = [];
  let committed = 0;
  const every = Math.max(1, Math.floor(inserts / SAMPLE));
  const names = Array.from({ length: inserts }, (_, i) => `at_once_${i}`);
  await Promise.all(
    names.map(async (name, i) => {
      // The sample includes the last INSERT.
      const isConfirmed = (inserts - 1 - i) % every === 0;
      const { at, waited } = await insert(fleet, name, hash, isConfirmed);
      committed = Math.max(committed, at - start);
      if (isConfirmed) times.push(waited);
    }),
  );
  const all = performance.now() - start;
  for (const name of names) {
    const answers = await Promise.all(fleet.listeners.map(({ port }) => login(port, name, PASSWORD)));
    expectEqual(new Set(answers).size === 1 && answers[0], 0, `${name} at the brokers`);
  }
  const note = `committed within ${committed.toFixed(0)} ms, a sample of ${times.length} in after ${all.toFixed(0)} ms`;
  return { what, ours: spread(times), note: `${note}, then all checked` };
}

/** Inserts a row. Resolves with the time of its commit, and how long after that all brokers let the device in. */
async function insert(fleet: Fleet, name: string, hash: string, isConfirmed = true) {
  await fleet.database.query('INSERT INTO device VALUES ($1, $2)', [name, hash]);
  const at = performance.now();
  if (isConfirmed) await confirm(fleet, name);
  return { at, waited: performance.now() - at };
}

async function confirm(fleet: Fleet, username: string): Promise<void> {
  const options = { username, password: PASSWORD, timeout: 60_000 };
  await Promise.all(fleet.listeners.map(listener => library.confirmLogin({ ...listener, ...options })));
}

/**
 * Keeps the password file of one broker the same as the table of schema.sql, and makes the broker reload it. One of it
 * runs beside each broker. It finds the database by the variables of libpq: PGHOST, PGDATABASE, PGUSER, PGPASSWORD.
 *
 *   MQTT_PASSWD_FILE=/mosquitto/auth/passwd MQTT_BROKER_PID_FILE=/run/mosquitto.pid npx tsx examples/fleet/agent.ts
 */
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { PasswordFile } from 'mosquitto-passwd-ts';
import pg from 'pg';

const { MQTT_PASSWD_FILE = '/mosquitto/auth/passwd', MQTT_BROKER_PID_FILE, ALLOW_EMPTY } = process.env;

/** Milliseconds. */
const BEFORE_NEXT_CONNECTION = 1_000;
/** Milliseconds without a change after which the connection is tried, and a reload that failed is repeated. */
const HEARTBEAT = 5_000;
/** With more changes at once, all rows are copied. */
const MOST_CHANGES = 5_000;

interface Row {
  username: string;
  hash: string;
}

const broker = MQTT_BROKER_PID_FILE ? { pidFile: MQTT_BROKER_PID_FILE } : { process: 'mosquitto' };
// If the file is lost, a change must not make one that holds only that user. It fails instead, and all rows are copied.
const file = new PasswordFile(MQTT_PASSWD_FILE, { reload: broker, missing: 'error' });
/** An agent that ended between a commit and its reload left the broker with an older file. */
let force = true;

for (;;) {
  await follow().catch(report);
  await pause(BEFORE_NEXT_CONNECTION);
}

/** Applies changes as they come. Rejects when the connection is lost; the file then stays as it is. */
async function follow(): Promise<never> {
  const database = new pg.Client({ keepAlive: true, connectionTimeoutMillis: 5_000, query_timeout: 10_000 });
  const changed = new Set<string>();
  let isLost = false;
  database.on('notification', ({ payload = '' }) => changed.add(payload));
  database.on('error', () => {
    isLost = true;
  });
  try {
    // A broker does not start without its file.
    await file.create();
    await database.connect();
    // In this order: what changes while all is copied is notified, and waits in `changed`.
    await database.query('LISTEN device');
    await copyAll(database);
    for (;;) {
      await reload().catch(report);
      if (changed.size === 0 && !isLost) {
        await once(database, 'notification', { signal: AbortSignal.timeout(HEARTBEAT) }).catch(
          () => undefined,
        );
      }
      const usernames = [...changed];
      changed.clear();
      if (usernames.includes('') || usernames.length > MOST_CHANGES) await copyAll(database);
      else await copy(database, usernames);
    }
  } finally {
    database.end().catch(() => undefined);
  }
}

/** A notification says which row has changed, never how: each is read when it is applied, so the last change wins. */
async function copy(database: pg.Client, usernames: string[]): Promise<void> {
  const select = 'SELECT username, hash FROM device WHERE username = ANY ($1)';
  const { rows } = await database.query<Row>(select, [usernames]);
  // If no row is left in the table, copyAll refuses to remove all users.
  if (rows.length === 0 && usernames.length > 1) {
    const { rowCount } = await database.query('SELECT 1 FROM device LIMIT 1');
    if (rowCount === 0) return copyAll(database);
  }
  const hashes = new Map(rows.map(({ username, hash }) => [username, hash]));
  const apply = (username: string): Promise<unknown> => {
    const hash = hashes.get(username);
    return hash === undefined ? file.removeUser(username) : file.setHash(username, hash);
  };
  await Promise.all(usernames.map(apply));
}

/** Makes the file equal to the table. An empty table is an error as long as there are users in the file. */
async function copyAll(database: pg.Client): Promise<void> {
  const allowEmpty = ALLOW_EMPTY === '1' || (await file.users()).length === 0;
  const counts = await file.setHashes(allRows(database), { removeOthers: true, allowEmpty });
  console.log('copied all', JSON.stringify(counts));
}

/** A cursor sees the table at one moment, and no more than these rows are in memory. */
async function* allRows(database: pg.Client): AsyncGenerator<readonly [username: string, hash: string]> {
  await database.query('BEGIN');
  await database.query('DECLARE all_devices CURSOR FOR SELECT username, hash FROM device');
  for (;;) {
    const { rows } = await database.query<Row>('FETCH 5000 FROM all_devices');
    if (rows.length === 0) break;
    for (const { username, hash } of rows) yield [username, hash];
  }
  await database.query('COMMIT');
}

/** Resolves when the broker has read the file. */
async function reload(): Promise<void> {
  await file.reloaded({ force });
  force = false;
}

function report(error: Error): void {
  console.error(error.message);
}

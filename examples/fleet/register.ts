/** Registers devices in the table of schema.sql, whose agents give them to the brokers. */
import { confirmLogin, generatePassword, hashPassword, type LoginOptions } from 'mosquitto-passwd-ts';
import type pg from 'pg';

/** A listener of a broker. Without `tls` the password is sent to it in clear text. */
export type Listener = Pick<LoginOptions, 'host' | 'port' | 'tls'>;

/**
 * Gives a device a new password, which is for the device alone: nothing keeps it. Resolves when all brokers let the
 * device in. Where it rejects, some may and some may not; registering the device again gives it another password.
 *
 * @param timeout milliseconds that all brokers have, from the commit on
 */
export async function register(
  database: pg.Pool,
  brokers: readonly Listener[],
  username: string,
  timeout = 10_000,
): Promise<string> {
  const password = generatePassword();
  const hash = await hashPassword(password);
  const upsert =
    'INSERT INTO device (username, hash) VALUES ($1, $2) ON CONFLICT (username) DO UPDATE SET hash = excluded.hash';
  await database.query(upsert, [username, hash]);
  const confirm = (listener: Listener) => confirmLogin({ ...listener, username, password, timeout });
  await Promise.all(brokers.map(confirm));
  return password;
}

/** Takes a device out. The brokers refuse it as soon as they have reloaded; a connected one they then disconnect. */
export async function remove(database: pg.Pool, username: string): Promise<boolean> {
  const { rowCount } = await database.query('DELETE FROM device WHERE username = $1', [username]);
  return rowCount === 1;
}

/**
 * A device registry: a service that gives every device an MQTT login.
 *
 *   POST /devices {"mac": "aa:bb:cc:dd:ee:ff"}  201 with the login and its password; later 200 without the password
 *   GET /devices?after=ID&limit=100             200, a page of devices and where the next one starts
 *   DELETE /devices/ID                          204; the login is gone
 *
 * A device that was answered 201 can log in. What could not be done is answered with 503, and a repeated request
 * does it. A client that lost the answer with its password deletes the device and registers it again.
 *
 * Run it in an ES module package (`npm pkg set type=module`):
 *
 *   MQTT_PASSWD_FILE=/mosquitto/passwd MQTT_BROKER_PROCESS=mosquitto npx tsx device-registry.ts
 *
 * It asks nobody who they are: let only those in who may register devices. Run one process of it for a state file.
 */
import { once } from 'node:events';
import { type FileHandle, open, readFile, rename } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { confirmLogin, generatePassword, PasswordFile } from 'mosquitto-passwd-ts';

const {
  MQTT_PASSWD_FILE = '/mosquitto/passwd',
  STATE_FILE = join(dirname(MQTT_PASSWD_FILE), 'devices.json'),
  // A login for this or other services, made on start.
  MQTT_SERVICE_USERNAME,
  MQTT_SERVICE_PASSWORD = '',
  // The broker to reload after a change: one of the two. Without, something else has to reload it.
  MQTT_BROKER_PROCESS,
  MQTT_BROKER_PID_FILE,
  // Where a new login is tried. Without, it is not.
  MQTT_HOST,
  MQTT_PORT = '1883',
  HOST = '127.0.0.1',
  PORT = '8080',
} = process.env;

const MAX_BODY_BYTES = 1024;
const MAX_PAGE = 1000;
const MAC_ADDRESS = /^[\da-f]{2}([:-]?)(?:[\da-f]{2}\1){4}[\da-f]{2}$/i;

interface Device {
  /** The MAC address in 12 hexadecimal digits. */
  id: string;
  mac: string;
  username: string;
}

interface Reply {
  status: number;
  body?: unknown;
}

class HttpError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const reload = brokerToTell();
// If the file is lost, registering a device must not make one that holds only that device.
const file = new PasswordFile(MQTT_PASSWD_FILE, { reload, missing: 'error' });
const turns = new Map<string, Promise<unknown>>();
let devices = await readState();

await file.create();
if (MQTT_SERVICE_USERNAME) await file.setUser(MQTT_SERVICE_USERNAME, MQTT_SERVICE_PASSWORD);
// The last run may have ended between a change and its reload. A broker that does not run yet reads the file when it starts.
if (reload !== undefined) await file.reloaded({ force: true }).catch(failure);

const server = createServer((request, response) => void answer(request, response));
server.listen(Number(PORT), HOST);
await once(server, 'listening');
console.log(`Listening on http://${HOST}:${(server.address() as AddressInfo).port}`);

// Requests under way are still answered. With the last of them the process ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => server.close());

function brokerToTell() {
  if (MQTT_BROKER_PID_FILE) return { pidFile: MQTT_BROKER_PID_FILE };
  return MQTT_BROKER_PROCESS ? { process: MQTT_BROKER_PROCESS } : undefined;
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, body } = await route(request).catch(failure);
  if (!server.listening) response.setHeader('connection', 'close');
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(body === undefined ? undefined : `${JSON.stringify(body)}\n`);
}

async function route(request: IncomingMessage): Promise<Reply> {
  const [path = '', query] = (request.url ?? '').split('?', 2);
  const id = /^\/devices\/([^/]+)$/.exec(path)?.[1];
  if (request.method === 'POST' && path === '/devices') return register(await readMac(request));
  if (request.method === 'GET' && path === '/devices') return list(new URLSearchParams(query));
  if (request.method === 'DELETE' && id !== undefined) return remove(id);
  throw new HttpError(404, 'There is no such device or path.');
}

/** Errors of the system and of mosquitto-passwd-ts have a code; their messages hold no password and no hash. */
function failure(error: Error & { code?: unknown }): Reply {
  if (error instanceof HttpError) return { status: error.status, body: { error: error.message } };
  const isForeseen = typeof error.code === 'string';
  console.error(isForeseen ? `${error.code}: ${error.message}` : error);
  return { status: isForeseen ? 503 : 500, body: { error: 'That could not be done. Try again later.' } };
}

/** The MAC address that a request sends as JSON, in 12 lower-case hexadecimal digits. */
async function readMac(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // To its end even where it is too long: a client that is still sending would not see the answer.
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (bytes > MAX_BODY_BYTES) throw new HttpError(413, `Send at most ${MAX_BODY_BYTES} bytes.`);
  const mac = (parseJson(Buffer.concat(chunks).toString()) as { mac?: unknown } | null)?.mac;
  if (typeof mac !== 'string' || !MAC_ADDRESS.test(mac)) {
    throw new HttpError(400, 'mac must be a MAC address, such as "aa:bb:cc:dd:ee:ff".');
  }
  return mac.replace(/[:-]/g, '').toLowerCase();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new HttpError(400, 'Send JSON.');
  }
}

// Which is written first: always the password file, then the state.
//
// Registering: a crash between the two leaves a login that is in no list and whose password nobody has. The user
// name is made from the MAC address, so registering the device again gives that login a new password.
// Deleting: it leaves a device in the list that cannot log in. Deleting it again takes it out, registering it again
// gives it a new login: a device counts as registered only while its login is in the password file.
//
// Nothing is swept on start: with a lost state file that would lock out every device there is.

function register(id: string): Promise<Reply> {
  return inTurn(id, async () => {
    const known = devices.get(id);
    if (known !== undefined && (await file.hasUser(known.username))) return { status: 200, body: known };
    // Deleted but for the list. There, it would count as registered before its password is returned.
    if (known !== undefined) await save(next => next.delete(id));

    const device: Device = { id, mac: id.replace(/..\B/g, '$&:'), username: `device_${id}` };
    const password = generatePassword();
    await file.setUser(device.username, password);
    try {
      await confirm(device.username, password);
      await save(next => next.set(id, device));
    } catch (error) {
      await file.removeUser(device.username).catch(failure);
      throw error;
    }
    return { status: 201, body: { ...device, password } };
  });
}

function remove(id: string): Promise<Reply> {
  return inTurn(id, async () => {
    const device = devices.get(id);
    if (device === undefined) throw new HttpError(404, 'There is no such device.');
    await file.removeUser(device.username);
    if (reload !== undefined) await file.reloaded();
    await save(next => next.delete(id));
    return { status: 204 };
  });
}

/** Resolves when the broker lets the user in. */
async function confirm(username: string, password: string): Promise<void> {
  if (reload !== undefined) await file.reloaded();
  if (!MQTT_HOST) return;
  await confirmLogin({ host: MQTT_HOST, port: Number(MQTT_PORT), username, password, timeout: 5_000 });
}

function list(query: URLSearchParams): Reply {
  const after = query.get('after') ?? '';
  const limit = Number(query.get('limit') ?? 100);
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= MAX_PAGE)) {
    throw new HttpError(400, `limit must be a whole number from 1 to ${MAX_PAGE}.`);
  }
  const rest = [...devices.values()].filter(({ id }) => id > after).sort((a, b) => (a.id < b.id ? -1 : 1));
  const page = rest.slice(0, limit);
  return { status: 200, body: { devices: page, next: rest.length > limit ? page.at(-1)?.id : null } };
}

/** Runs what has the same key one after the other: two requests for one device, two replacements of one file. */
async function inTurn<T>(key: string, run: () => Promise<T>): Promise<T> {
  const turn = (turns.get(key) ?? Promise.resolve()).catch(() => undefined).then(run);
  turns.set(key, turn);
  try {
    return await turn;
  } finally {
    if (turns.get(key) === turn) turns.delete(key);
  }
}

async function readState(): Promise<Map<string, Device>> {
  try {
    const stored: Device[] = JSON.parse(await readFile(STATE_FILE, 'utf8'));
    return new Map(stored.map(device => [device.id, device]));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw new Error(`${STATE_FILE} cannot be read as a list of devices. Fix it or remove it.`, {
      cause: error,
    });
  }
}

/** Changes the state: on disk first, whole and atomically, then here. */
function save(change: (next: Map<string, Device>) => void): Promise<void> {
  return inTurn(STATE_FILE, async () => {
    const next = new Map(devices);
    change(next);
    const draft = `${STATE_FILE}.new`;
    await synced(draft, 'w', handle => handle.writeFile(JSON.stringify([...next.values()], null, 2)));
    await rename(draft, STATE_FILE);
    await synced(dirname(STATE_FILE), 'r');
    devices = next;
  });
}

async function synced(
  path: string,
  flags: string,
  write?: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const handle = await open(path, flags, 0o600);
  try {
    await write?.(handle);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** examples/device-registry.ts as a running service, called over HTTP. */
import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { link, mkdir, mkdtemp, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Broker, findBrokers, login, type RunningBroker, startBroker } from '../support/broker.js';
import { broker, describeBrokers, mounting, namespaces, needs, program, root } from '../support/require.js';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const MAC = '02:00:00:00:00:0a';
const ID = '02000000000a';
const DEVICE = { id: ID, mac: MAC, username: `device_${ID}` };

let directory: string;
let path: string;
const started: Registry[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'registry-'));
  await mkdir(join(directory, 'auth'));
  path = join(directory, 'auth/passwd');
});
afterEach(async () => {
  for (const registry of started.splice(0)) await registry.kill('SIGKILL');
  await rm(directory, { recursive: true });
});

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: JSON, which the tests look into
  body: any;
}

/** Starts the service. Resolves when it listens; rejects with its output if it ends instead. */
async function start(env: NodeJS.ProcessEnv = {}, prefix: string[] = []): Promise<Registry> {
  const command = [...prefix, process.execPath, '--import', 'tsx', 'examples/device-registry.ts'];
  const { PATH } = process.env;
  const child = spawn(command[0] as string, command.slice(1), {
    cwd: PROJECT,
    env: { PATH, MQTT_PASSWD_FILE: path, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const registry = new Registry(child);
  started.push(registry);
  await registry.listening();
  return registry;
}

class Registry {
  output = '';
  readonly exited: Promise<unknown[]>;
  #url = '';

  constructor(readonly process: ChildProcessByStdio<null, Readable, Readable>) {
    this.exited = once(process, 'close');
    for (const stream of [process.stdout, process.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
  }

  async listening(): Promise<void> {
    for (;;) {
      this.#url = /^Listening on (\S+)$/m.exec(this.output)?.[1] ?? '';
      if (this.#url !== '') return;
      const [status] = await Promise.race([once(this.process.stdout, 'data'), this.exited]);
      if (typeof status !== 'string') throw new Error(`ended with ${status}: ${this.output}`);
    }
  }

  /** Ends the service. Resolves with its exit status, or with the signal that ended it. */
  async kill(signal: NodeJS.Signals): Promise<unknown> {
    this.process.kill(signal);
    const [status, killedBy] = await this.exited;
    return status ?? killedBy;
  }

  async request(method: string, target: string, body?: string): Promise<Answer> {
    const response = await fetch(`${this.#url}${target}`, { method, body: body ?? null });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  }

  register(mac: unknown): Promise<Answer> {
    return this.request('POST', '/devices', JSON.stringify({ mac }));
  }

  remove(id: string): Promise<Answer> {
    return this.request('DELETE', `/devices/${id}`);
  }

  async ids(query = ''): Promise<string[]> {
    const { status, body } = await this.request('GET', `/devices${query}`);
    expect(status).toBe(200);
    return body.devices.map(({ id }: { id: string }) => id);
  }
}

const file = () => new PasswordFile(path);
const macs = (count: number) =>
  Array.from({ length: count }, (_, n) => (0x020000000000 + n).toString(16).padStart(12, '0'));

describe('a device of examples/device-registry.ts', () => {
  test('gets its password only in the first answer', async () => {
    const registry = await start();
    const { status, body } = await registry.register(MAC);
    expect({ status, body }).toEqual({ status: 201, body: { ...DEVICE, password: expect.any(String) } });
    expect(await file().verify(body.username, body.password)).toBe(true);
    expect(await registry.register(MAC)).toEqual({ status: 200, body: DEVICE });
    expect(await file().verify(body.username, body.password)).toBe(true);
  });

  test('is the same for each notation of its MAC address', async () => {
    const registry = await start();
    expect((await registry.register('02:00:00:00:00:0a')).status).toBe(201);
    for (const mac of ['02-00-00-00-00-0A', '02000000000A', '02:00:00:00:00:0A']) {
      expect(await registry.register(mac)).toEqual({ status: 200, body: DEVICE });
    }
    expect(await file().users()).toEqual([DEVICE.username]);
  });

  test('is registered once by many requests at the same time, and so are others', async () => {
    const registry = await start();
    const requests = [...Array(20).fill(MAC), ...macs(10)];
    const answers = await Promise.all(requests.map(mac => registry.register(mac)));
    expect(new Set(answers.slice(0, 20).map(({ body }) => body.id))).toEqual(new Set([ID]));
    const created = answers.filter(({ status }) => status === 201);
    expect(new Set(created.map(({ body }) => body.id))).toEqual(new Set([ID, ...macs(10)]));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(19);
    expect(created).toHaveLength(11);
    for (const { body } of created) expect(await file().verify(body.username, body.password)).toBe(true);
  });

  test('is removed from file and state by DELETE, and can be registered again', async () => {
    const registry = await start();
    const { body: first } = await registry.register(MAC);
    expect(await registry.remove(ID)).toEqual({ status: 204, body: undefined });
    expect(await file().users()).toEqual([]);
    expect(await registry.ids()).toEqual([]);
    expect((await registry.remove(ID)).status).toBe(404);
    const { status, body } = await registry.register(MAC);
    expect(status).toBe(201);
    expect(body.password).not.toBe(first.password);
  });

  test('is in both the file and the state or in neither after requests to register and delete it at the same time', async () => {
    const registry = await start();
    for (let round = 0; round < 10; round++) {
      await Promise.all([
        registry.register(MAC),
        registry.remove(ID),
        registry.register(MAC),
        registry.remove(ID),
      ]);
      expect((await registry.ids()).length).toBe((await file().users()).length);
    }
  });
});

test('examples/device-registry.ts lists devices in pages', async () => {
  const registry = await start();
  const all = macs(7);
  for (const mac of all.toReversed()) await registry.register(mac);
  const { body: first } = await registry.request('GET', '/devices?limit=3');
  expect(first.next).toBe(all[2]);
  expect(first.devices[0]).toEqual({ id: all[0], mac: '02:00:00:00:00:00', username: `device_${all[0]}` });
  // A page may begin after a device that has been deleted since.
  await registry.remove(first.next);
  const { body: second } = await registry.request('GET', `/devices?limit=4&after=${first.next}`);
  expect(second.next).toBe(null);
  expect([...first.devices, ...second.devices].map(({ id }) => id)).toEqual(all);
});

test('examples/device-registry.ts answers wrong requests with 400, 404 or 413 and a reason', async () => {
  const registry = await start();
  const cases: [number, string, string, string?][] = [
    [400, 'POST', '/devices'],
    [400, 'POST', '/devices', '{"mac"'],
    [400, 'POST', '/devices', 'null'],
    [400, 'POST', '/devices', '[]'],
    [400, 'POST', '/devices', '{"mac": 7}'],
    [400, 'POST', '/devices', '{"mac": ["02:00:00:00:00:0a"]}'],
    [400, 'POST', '/devices', '{"mac": "02:00:00:00:00"}'],
    [400, 'POST', '/devices', '{"mac": "02:00:00:00:00:0a:0b"}'],
    [400, 'POST', '/devices', '{"mac": "02:00-00:00:00:0a"}'],
    [400, 'POST', '/devices', '{"mac": "02:00:00:00:00:0g"}'],
    [400, 'POST', '/devices', '{"mac": "02:00:00:00:00:0a\\n"}'],
    [413, 'POST', '/devices', JSON.stringify({ mac: MAC, more: 'x'.repeat(2_000_000) })],
    [400, 'GET', '/devices?limit=0'],
    [400, 'GET', '/devices?limit=1001'],
    [400, 'GET', '/devices?limit=many'],
    [404, 'GET', '/'],
    [404, 'PUT', '/devices', '{}'],
    [404, 'DELETE', '/devices'],
    [404, 'DELETE', '/devices/__proto__'],
    [404, 'DELETE', `/devices/${ID}/`],
    [404, 'POST', `/devices/${ID}`, JSON.stringify({ mac: MAC })],
  ];
  for (const [status, method, target, body] of cases) {
    const answer = await registry.request(method, target, body);
    expect(answer, `${method} ${target} ${body?.slice(0, 50)}`).toEqual({
      status,
      body: { error: expect.any(String) },
    });
  }
  expect(await registry.ids()).toEqual([]);
  expect(registry.output.split('\n')).toHaveLength(2);
});

describe('examples/device-registry.ts, if the password file cannot be written,', () => {
  test('registers and deletes nothing (the file has two hard links)', async () => {
    const registry = await start();
    await registry.register(macs(1)[0]);
    await link(path, join(directory, 'other'));
    await expectRefused(registry);
    await unlink(join(directory, 'other'));
    expect((await registry.register(MAC)).status).toBe(201);
  });

  needs(mounting).test('registers and deletes nothing (the directory is read-only)', async () => {
    const auth = join(directory, 'auth');
    const registry = await start({ STATE_FILE: join(directory, 'devices.json') });
    await registry.register(macs(1)[0]);
    execFileSync('mount', ['--bind', auth, auth]);
    try {
      execFileSync('mount', ['-o', 'remount,ro,bind', auth]);
      await expectRefused(registry);
    } finally {
      // Lazily, because the service has the file open.
      execFileSync('umount', ['-l', auth]);
    }
    expect((await registry.register(MAC)).status).toBe(201);
  });

  test('registers and deletes nothing (the file is lost, and no new one is made)', async () => {
    const registry = await start();
    await registry.register(macs(1)[0]);
    const [device = ''] = await registry.ids();
    await unlink(path);
    expect((await registry.register(MAC)).status).toBe(503);
    expect((await registry.remove(device)).status).toBe(503);
    expect(await registry.ids()).toEqual([device]);
    expect(existsSync(path)).toBe(false);
    expect(registry.output).toContain('ERR_FILE_MISSING: ');
  });

  async function expectRefused(registry: Registry): Promise<void> {
    const before = await readFile(path, 'utf8');
    const listed = await registry.ids();
    expect(await registry.register(MAC)).toEqual({ status: 503, body: { error: expect.any(String) } });
    expect((await registry.remove(listed[0] as string)).status).toBe(503);
    expect(await registry.ids()).toEqual(listed);
    expect(await readFile(path, 'utf8')).toBe(before);
    expect(registry.output).toContain('ERR_NOT_REPLACEABLE: ');
  }
});

test('examples/device-registry.ts registers nothing if its state cannot be written', async () => {
  const registry = await start();
  await mkdir(join(directory, 'auth/devices.json.new'));
  expect(await registry.register(MAC)).toEqual({ status: 503, body: { error: expect.any(String) } });
  expect(await registry.ids()).toEqual([]);
  expect(await file().users()).toEqual([]);
  await rm(join(directory, 'auth/devices.json.new'), { recursive: true });
  expect((await registry.register(MAC)).status).toBe(201);
});

describe('examples/device-registry.ts, at its start,', () => {
  test('creates the password file and the service account', async () => {
    await start();
    expect(await readFile(path, 'utf8')).toBe('');
    await start({ MQTT_SERVICE_USERNAME: 'service', MQTT_SERVICE_PASSWORD: 'to be kept' });
    expect(await file().verify('service', 'to be kept')).toBe(true);
  });

  test('fails if the service account has no password', async () => {
    await expect(start({ MQTT_SERVICE_USERNAME: 'service' })).rejects.toThrow('ERR_INVALID_PASSWORD');
  });

  test('fails if its state is damaged', async () => {
    await writeFile(join(directory, 'auth/devices.json'), '[{');
    await expect(start()).rejects.toThrow('devices.json');
    expect(await readFile(join(directory, 'auth/devices.json'), 'utf8')).toBe('[{');
  });

  test('has the devices of the process before', async () => {
    const first = await start();
    const { body } = await first.register(MAC);
    expect(await first.kill('SIGTERM')).toBe(0);
    const second = await start();
    expect(await second.register(MAC)).toEqual({ status: 200, body: DEVICE });
    expect(await file().verify(body.username, body.password)).toBe(true);
  });
});

test('examples/device-registry.ts writes no password and no hash to its log or state', async () => {
  const registry = await start({ MQTT_SERVICE_USERNAME: 'service', MQTT_SERVICE_PASSWORD: 'to be kept' });
  const { body } = await registry.register(MAC);
  await link(path, join(directory, 'other'));
  await registry.remove(ID);
  const shown = `${registry.output} ${await readFile(join(directory, 'auth/devices.json'), 'utf8')}`;
  for (const secret of [body.password, 'to be kept', '$7$']) expect(shown).not.toContain(secret);
});

describe('examples/device-registry.ts, after a crash', () => {
  test('while it registers a device, can register that', async () => {
    // The service waits between password file and state, because this broker never answers.
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const first = await start({ MQTT_HOST: '127.0.0.1', MQTT_PORT: String(port) });
    const lost = first.register(MAC).catch(() => undefined);
    await once(silent, 'connection');
    await first.kill('SIGKILL');
    await lost;
    silent.close();
    expect(await file().users()).toEqual([DEVICE.username]);

    const second = await start();
    expect(await second.ids()).toEqual([]);
    const { status, body } = await second.register(MAC);
    expect(status).toBe(201);
    expect(await file().verify(body.username, body.password)).toBe(true);
    expect(await second.ids()).toEqual([ID]);
  });

  test('while it deletes a device, can delete that, or register it again', async () => {
    const registry = await start();
    await registry.register(MAC);
    // Such a crash leaves a state with the device, and a file without its user.
    await file().removeUser(DEVICE.username);
    expect((await registry.remove(ID)).status).toBe(204);

    await registry.register(MAC);
    await file().removeUser(DEVICE.username);
    const { status, body } = await registry.register(MAC);
    expect(status).toBe(201);
    expect(await file().verify(body.username, body.password)).toBe(true);
  });
});

/** The environment of a service that makes this broker reload. */
async function beside(running: RunningBroker): Promise<NodeJS.ProcessEnv> {
  const pidFile = join(directory, 'broker.pid');
  await writeFile(pidFile, String(running.pid));
  return { MQTT_BROKER_PID_FILE: pidFile, MQTT_HOST: '127.0.0.1', MQTT_PORT: String(running.port) };
}

describeBrokers('examples/device-registry.ts beside a broker', each => {
  test('lets a registered device log in, and a deleted one not', async () => {
    await file().create();
    await using running = await startBroker(each, { passwordFile: path });
    const registry = await start(await beside(running));
    const { status, body } = await registry.register(MAC);
    expect(status).toBe(201);
    expect(await login(running.port, body.username, body.password)).toBe(0);
    const { body: other } = await registry.register(macs(1)[0]);
    expect((await registry.remove(ID)).status).toBe(204);
    expect(await login(running.port, body.username, body.password)).toBe(5);
    expect(await login(running.port, other.username, other.password)).toBe(0);
    expect((await registry.register(MAC)).status).toBe(201);
    expect(await login(running.port, body.username, body.password)).toBe(5);
    expect(await registry.kill('SIGTERM')).toBe(0);
  });
});

needs(broker()).describe('examples/device-registry.ts beside a broker', () => {
  const newest = findBrokers().at(-1) as Broker;
  let running: RunningBroker;
  beforeEach(async () => {
    await file().create();
    running = await startBroker(newest, { passwordFile: path });
  });
  afterEach(() => running.stop());

  test('registers many devices at once, with fewer reloads', async () => {
    const registry = await start(await beside(running));
    const answers = await Promise.all(macs(50).map(mac => registry.register(mac)));
    expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(201));
    for (const { body } of answers) expect(await login(running.port, body.username, body.password)).toBe(0);
    expect(running.reloads).toBeLessThan(50);
  });

  test('answers a request that is under way before it ends at SIGTERM', async () => {
    const registry = await start(await beside(running));
    const answer = registry.register(MAC);
    while (!(await file().hasUser(DEVICE.username))) await pause(5);
    expect(await registry.kill('SIGTERM')).toBe(0);
    const { status, body } = await answer;
    expect(status).toBe(201);
    expect(await login(running.port, body.username, body.password)).toBe(0);
  });

  test('registers nothing if the broker has ended, and deletes nothing until it is back', async () => {
    const registry = await start(await beside(running));
    const [id] = macs(1) as [string];
    await registry.register(id);
    await running.stop();
    expect((await registry.register(MAC)).status).toBe(503);
    expect((await registry.remove(id)).status).toBe(503);
    expect(registry.output).toContain('ERR_RELOAD_FAILED: ');
    expect(await registry.ids()).toEqual([id]);
    expect(await file().users()).toEqual([]);

    running = await startBroker(newest, { passwordFile: path });
    await beside(running);
    expect((await registry.remove(id)).status).toBe(204);
  });

  test('registers nothing if the broker reads another file', async () => {
    const registry = await start({ ...(await beside(running)), MQTT_PASSWD_FILE: join(directory, 'passwd') });
    expect((await registry.register(MAC)).status).toBe(503);
    expect(registry.output).toContain('ERR_LOGIN_REFUSED: ');
    expect(await registry.ids()).toEqual([]);
    expect(await new PasswordFile(join(directory, 'passwd')).users()).toEqual([]);
  });

  test('makes the broker reload at its start, because that may have missed a signal', async () => {
    const first = await start();
    const { body } = await first.register(MAC);
    await first.kill('SIGKILL');
    expect(await login(running.port, body.username, body.password)).toBe(5);
    const service = { MQTT_SERVICE_USERNAME: 'service', MQTT_SERVICE_PASSWORD: 'to be kept' };
    await start({ ...(await beside(running)), ...service });
    await running.reloaded(1);
    expect(await login(running.port, body.username, body.password)).toBe(0);
    expect(await login(running.port, 'service', 'to be kept')).toBe(0);
  });
});

needs(root, namespaces, program('nsenter'), broker()).test(
  'examples/device-registry.ts makes the only broker in its pid namespace reload',
  async () => {
    await file().create();
    const found = findBrokers().at(-1) as Broker;
    const unshared = join(directory, 'broker');
    const unshare = 'exec unshare --pid --fork --kill-child --mount-proc';
    await writeFile(unshared, `#!/bin/sh\n${unshare} ${found.path} "$@"\n`, { mode: 0o755 });
    await using running = await startBroker({ ...found, path: unshared }, { passwordFile: path });
    const children = await readFile(`/proc/${running.pid}/task/${running.pid}/children`, 'utf8');
    const first = Number(children);
    try {
      const { MQTT_HOST, MQTT_PORT } = await beside(running);
      const nsenter = ['nsenter', '--target', String(first), '--pid', '--mount', `--wd=${PROJECT}`];
      const registry = await start({ MQTT_BROKER_PROCESS: 'mosquitto', MQTT_HOST, MQTT_PORT }, nsenter);
      const { status, body } = await registry.register(MAC);
      expect(status).toBe(201);
      expect(await login(running.port, body.username, body.password)).toBe(0);
    } finally {
      // All processes of a pid namespace end with its first one.
      process.kill(first, 'SIGKILL');
    }
  },
);

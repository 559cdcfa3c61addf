/** examples/aedes.ts as a running broker, tested with a real MQTT client. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connectAsync, type IClientOptions } from 'mqtt';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { PasswordFile } from '../../src/password-file.js';
import { testDirectory } from '../support/directory.js';

let path: string;
let file: PasswordFile;
beforeEach(() => {
  path = join(testDirectory(), 'passwd');
  file = new PasswordFile(path);
});

/** Starts the example. Resolves with its port. */
async function startExample(): Promise<number> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/aedes.ts'], {
    env: { ...process.env, PORT: '0', PASSWORD_FILE: path },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await once(child, 'close');
  });
  const [line] = await once(createInterface(child.stdout), 'line');
  return Number(/^listening on port (\d+)$/.exec(line)?.[1]);
}

/** The message that a client gets after it has published it to a topic of its own, or the CONNACK code of its refusal. */
async function echo(port: number, options: IClientOptions): Promise<string | number> {
  try {
    const client = await connectAsync({ host: '127.0.0.1', port, reconnectPeriod: 0, ...options });
    await client.subscribeAsync('devices/1');
    const received = new Promise<string>(resolve => {
      client.once('message', (topic, payload) => resolve(`${topic} ${payload}`));
    });
    await client.publishAsync('devices/1', 'on', { qos: 1 });
    const message = await received;
    await client.endAsync();
    return message;
  } catch (error) {
    return (error as { code: number }).code;
  }
}

const LET_IN = 'devices/1 on';
const NOT_AUTHORIZED = 5;

test('examples/aedes.ts lets in the users of the file by their passwords, and nobody else', async () => {
  await file.setUsers(new Map(Object.entries({ alice: 'correct horse', 設備: '密码' })));
  const port = await startExample();
  expect(await echo(port, { username: 'alice', password: 'correct horse' })).toBe(LET_IN);
  expect(await echo(port, { username: '設備', password: '密码' })).toBe(LET_IN);
  expect(await echo(port, { username: 'alice', password: 'wrong' })).toBe(NOT_AUTHORIZED);
  expect(await echo(port, { username: 'bob', password: 'correct horse' })).toBe(NOT_AUTHORIZED);
  expect(await echo(port, { username: 'alice' })).toBe(NOT_AUTHORIZED);
  expect(await echo(port, {})).toBe(NOT_AUTHORIZED);
});

test('examples/aedes.ts uses an edited file from the next CONNECT on', async () => {
  await file.setUser('alice', 'old');
  const port = await startExample();
  expect(await echo(port, { username: 'alice', password: 'old' })).toBe(LET_IN);
  await file.setUser('alice', 'new');
  expect(await echo(port, { username: 'alice', password: 'old' })).toBe(NOT_AUTHORIZED);
  expect(await echo(port, { username: 'alice', password: 'new' })).toBe(LET_IN);
  await file.removeUser('alice');
  expect(await echo(port, { username: 'alice', password: 'new' })).toBe(NOT_AUTHORIZED);
});

test('examples/aedes.ts answers CONNACK 3, server unavailable, while the file is missing', async () => {
  await file.setUser('alice', 'secret');
  const port = await startExample();
  await unlink(path);
  expect(await echo(port, { username: 'alice', password: 'secret' })).toBe(3);
  await file.setUser('alice', 'secret');
  expect(await echo(port, { username: 'alice', password: 'secret' })).toBe(LET_IN);
});

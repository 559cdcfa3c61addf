/**
 * Provisions a service account and some devices into a new password file, and has a real broker let them in.
 * Run it with `npm run demo`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Credentials, generateCredentials, PasswordFile } from 'mosquitto-passwd-ts';
import { findBrokers, login, startBroker } from '../test/support/broker.js';

const directory = await mkdtemp(join(tmpdir(), 'mosquitto-passwd-ts-'));
const path = join(directory, 'passwd');
const file = new PasswordFile(path);

const service = generateCredentials({ username: { prefix: 'service-' } });
await file.addUser(service.username, service.password);
const devices = await Promise.all(Array.from({ length: 5 }, () => file.provision()));
const removed = await file.provision();
await file.removeUser(removed.username);

const accounts = [service, ...devices];
for (const { username, password } of accounts) expect(await file.verify(username, password), true, username);
expect(await file.verify(removed.username, removed.password), false, 'the removed user');
expect((await file.users()).length, accounts.length, 'the number of users');

console.log(`${path} holds:`);
for (const username of await file.users()) console.log(`  ${username}`);

const [broker] = findBrokers();
if (broker === undefined) {
  console.log('No mosquitto on the PATH, so no broker was asked. Get one with: apt-get install mosquitto');
} else {
  await askBroker(accounts, removed);
}
await rm(directory, { recursive: true });

async function askBroker(known: Credentials[], unknown: Credentials): Promise<void> {
  const running = await startBroker(broker as NonNullable<typeof broker>, { passwordFile: path });
  try {
    for (const { username, password } of known) {
      expect(await login(running.port, username, password), 0, `CONNACK for ${username}`);
    }
    expect(await login(running.port, unknown.username, unknown.password), 5, 'CONNACK for the removed user');
    expect(await login(running.port, service.username, 'wrong'), 5, 'CONNACK for a wrong password');
    console.log(
      `mosquitto ${broker?.version} on 127.0.0.1:${running.port} let all ${known.length} in, ` +
        'and refused the removed user and a wrong password.',
    );
  } finally {
    await running.stop();
  }
}

function expect<T>(found: T, wanted: T, what: string): void {
  if (found !== wanted) throw new Error(`${what}: expected ${wanted}, found ${found}`);
}

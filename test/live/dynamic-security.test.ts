/** The dynamic-security plugin of real brokers lets in the clients that the library exports, and nobody else. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { exportDynamicSecurity } from '../../src/export/dynamic-security.js';
import { hashPassword } from '../../src/hash/hash.js';
import { PasswordFile } from '../../src/password-file.js';
import { type Broker, findBrokers, login, type RunningBroker, startBroker } from '../support/broker.js';
import { call } from '../support/cli.js';
import { testDirectory } from '../support/directory.js';
import { mosquittoCtrl, pluginConfig, publish, startWithClients } from '../support/dynamic-security.js';
import { broker, describeBrokers, needs } from '../support/require.js';

let config: string;
beforeEach(() => {
  config = join(testDirectory(), 'dynamic-security.json');
});

const SUCCESS = [0, 16];
const NOT_AUTHORIZED = 135;

async function pairs(
  passwords: Record<string, string>,
  ...options: Parameters<typeof hashPassword>[1][]
): Promise<Array<[string, string]>> {
  return Promise.all(
    Object.entries(passwords).map(
      async ([name, password], i): Promise<[string, string]> => [
        name,
        await hashPassword(password, options[i % (options.length || 1)]),
      ],
    ),
  );
}

/** Makes calls of `mosquitto_ctrl dynsec` as the client `admin`. */
function administration(broker: Broker, password: string) {
  return ({ port }: RunningBroker, ...args: string[]): Promise<string> => {
    const address = ['-h', '127.0.0.1', '-p', String(port)];
    const login = ['-u', 'admin', '-P', password, '-V', 'mqttv5'];
    return mosquittoCtrl(broker, ...address, ...login, 'dynsec', ...args);
  };
}

describeBrokers('the dynamic-security plugin', broker => {
  test('lets exported clients in by their passwords, and nobody else', async () => {
    const passwords = { device_1: 'secret', 設備: '密码', 'tenant:1/α': ' blanks ', '#x': 'a' };
    const { clients, skipped } = await exportDynamicSecurity(
      await pairs(passwords, { iterations: 101 }, { iterations: 1000 }),
    );
    expect(skipped).toEqual([]);
    await using running = await startWithClients(broker, config, clients);
    for (const [username, password] of Object.entries(passwords)) {
      expect([username, await login(running.port, username, password)]).toEqual([username, 0]);
      expect([username, await login(running.port, username, `${password}x`)]).toEqual([username, 5]);
    }
    expect(await login(running.port, 'nobody', 'secret')).toBe(5);
  });

  test('lets a client publish that has the role, and denies one without it', async () => {
    const { clients } = await exportDynamicSecurity(await pairs({ device: 'one' }), { roles: ['device'] });
    const { clients: others } = await exportDynamicSecurity(await pairs({ other: 'two' }));
    await using running = await startWithClients(broker, config, [...clients, ...others]);
    expect(SUCCESS).toContain(await publish(running.port, 'device', 'one', 'devices/1'));
    expect(await publish(running.port, 'device', 'one', 'elsewhere')).toBe(NOT_AUTHORIZED);
    expect(await publish(running.port, 'other', 'two', 'devices/1')).toBe(NOT_AUTHORIZED);
    expect(await publish(running.port, 'device', 'wrong', 'devices/1')).toBeNull();
  });

  test('lets a client in by the last hash of a duplicate name', async () => {
    const rows = [...(await pairs({ alice: 'old', bob: 'secret' })), ...(await pairs({ alice: 'new' }))];
    const { clients } = await exportDynamicSecurity(rows);
    await using running = await startWithClients(broker, config, clients);
    expect(await login(running.port, 'alice', 'new')).toBe(0);
    expect(await login(running.port, 'alice', 'old')).toBe(5);
    expect(await login(running.port, 'bob', 'secret')).toBe(0);
  });

  test('reads an exported file, whatever names the entries have', async () => {
    const [[, hash] = ['', '']] = await pairs({ alice: 'secret' });
    const names = ['\ud800', 'alice\0', '', 'a\u0001', 'x'.repeat(65_536), 'alice'];
    const { clients, skipped } = await exportDynamicSecurity(names.map(name => [name, hash]));
    expect(skipped).toHaveLength(5);
    await using running = await startWithClients(broker, config, clients);
    expect(await login(running.port, 'alice', 'secret')).toBe(0);
  });

  test('starts with a file of mosquitto_ctrl to which the program has added clients', async () => {
    const passwords = { device_1: 'secret', 設備: '密码', 'tenant/α': ' blanks ' };
    const passwd = join(testDirectory(), 'passwd');
    await mosquittoCtrl(broker, 'dynsec', 'init', config, 'admin', 'of the admin');
    const asAdmin = administration(broker, 'of the admin');
    {
      await using running = await startBroker(broker, { config: pluginConfig(broker, config) });
      await asAdmin(running, 'createRole', 'device');
      await asAdmin(running, 'addRoleACL', 'device', 'publishClientSend', 'devices/#', 'allow');
      await running.stop();
    }
    await new PasswordFile(passwd, { missing: 'empty' }).setHashes(await pairs(passwords));
    const { status, stderr } = await call(['--dynsec', config, '--role', 'device', passwd]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });

    await using running = await startBroker(broker, { config: pluginConfig(broker, config) });
    for (const [username, password] of Object.entries(passwords)) {
      expect(await login(running.port, username, password)).toBe(0);
      expect(await login(running.port, username, `${password}x`)).toBe(5);
      expect(SUCCESS).toContain(await publish(running.port, username, password, 'devices/1'));
      expect(await publish(running.port, username, password, 'elsewhere')).toBe(NOT_AUTHORIZED);
    }
    const names = await asAdmin(running, 'listClients');
    expect(names.trim().split('\n').sort()).toEqual(['admin', ...Object.keys(passwords)].sort());
    await asAdmin(running, 'deleteClient', 'device_1');
    expect(await login(running.port, 'device_1', 'secret')).toBe(5);
  });

  describe('with hashes that not all releases read', () => {
    const kinds = [
      { salt: randomBytes(64) },
      { algorithm: 'sha512', salt: randomBytes(12) },
      { algorithm: 'sha512', salt: randomBytes(64) },
    ] as const;
    const passwords = { pbkdf2_64: 'one', sha512_12: 'two', sha512_64: 'three' };

    test('lets in the clients of the export for its release, and not those that this skips', async () => {
      const rows = await pairs(passwords, ...kinds);
      const { clients, skipped } = await exportDynamicSecurity(rows, { broker: broker.release });
      expect(skipped).toHaveLength(broker.release === '2.0' ? 3 : 0);
      const forced = (await exportDynamicSecurity(rows, { broker: '2.1' })).clients;
      const ofSkipped = forced.filter(({ username }) => skipped.some(each => each.username === username));
      await using running = await startWithClients(broker, config, [...clients, ...ofSkipped]);
      for (const [username, password] of Object.entries(passwords)) {
        const isExported = clients.some(client => client.username === username);
        expect([username, await login(running.port, username, password)]).toEqual([
          username,
          isExported ? 0 : 5,
        ]);
      }
    });
  });
});

needs(broker('2.1')).describe('a file that the plugin of Mosquitto 2.1 has made itself', () => {
  test('keeps the passwords of its administrators when the program replaces clients', async () => {
    const program = findBrokers().find(({ release }) => release === '2.1') as Broker;
    const start = () => startBroker(program, { config: pluginConfig(program, config) });
    let password: string;
    {
      await using running = await start();
      password = /^admin (.*)$/m.exec(readFileSync(`${config}.pw`, 'utf8'))?.[1] ?? '';
      const asAdmin = administration(program, password);
      await asAdmin(running, 'createClient', 'boss', '-p', 'of the boss');
      await asAdmin(running, 'createGroup', 'operators');
      await asAdmin(running, 'addGroupRole', 'operators', 'super-admin');
      await asAdmin(running, 'addGroupClient', 'operators', 'boss');
      await running.stop();
    }
    const names = ['admin', 'boss', 'democlient'];
    const passwd = join(testDirectory(), 'passwd');
    const rows = await pairs(Object.fromEntries(names.map(name => [name, 'of a device'])));
    await new PasswordFile(passwd, { missing: 'empty' }).setHashes(rows);
    const { status, stderr } = await call(['--dynsec', config, '--role', 'client', '--force', passwd]);
    const stays = (name: string) =>
      `${passwd}: error: User ${name}: In ${config} this client is an administrator, and stays.\n`;
    expect({ status, stderr }).toEqual({ status: 1, stderr: stays('boss') + stays('admin') });

    await using running = await start();
    const answers = names.map(name => login(running.port, name, 'of a device'));
    expect(await Promise.all(answers)).toEqual([5, 5, 0]);
    expect(await login(running.port, 'admin', password)).toBe(0);
    expect(await login(running.port, 'boss', 'of the boss')).toBe(0);
  });
});

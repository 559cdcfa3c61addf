/** What a reload does to connected clients (docs/deployment.md). */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { describe, expect, test } from 'vitest';
import { type Broker, type BrokerOptions, startBroker } from '../support/broker.js';
import { testDirectory } from '../support/directory.js';
import { MqttClient } from '../support/mqtt-client.js';
import { describeBrokers } from '../support/require.js';

const PLUGIN = 'mosquitto_password_file.so';

/** The password-file plugin of Mosquitto 2.1; `undefined`: there is none with this broker. */
function pluginOf(broker: Broker): string | undefined {
  const libraries = [
    join(dirname(broker.path), '../root/usr/lib/x86_64-linux-gnu'),
    '/usr/lib/x86_64-linux-gnu',
  ];
  return libraries.map(library => join(library, 'mosquitto', PLUGIN)).find(path => existsSync(path));
}

describeBrokers('a reload', program => {
  const plugin = program.release === '2.1' ? pluginOf(program) : undefined;
  const ways: Array<[title: string, options: (path: string) => BrokerOptions]> = [
    ['password_file', path => ({ passwordFile: path })],
  ];
  if (plugin !== undefined) {
    const config = (path: string) => `plugin ${plugin}\nplugin_opt_password_file ${path}`;
    ways.push(['the password-file plugin', path => ({ config: config(path) })]);
  }

  describe.each(ways)('with %s', (_title, optionsFor) => {
    test('disconnects clients whose user was removed or has another password, and no others', async () => {
      const path = join(testDirectory(), 'passwd');
      await new PasswordFile(path).setUsers([
        ['kept', 'pw'],
        ['changed', 'pw'],
        ['removed', 'pw'],
      ]);
      await using broker = await startBroker(program, optionsFor(path));
      const [kept, changed, removed] = await Promise.all([
        MqttClient.connect(broker.port, 'kept', 'pw'),
        MqttClient.connect(broker.port, 'changed', 'pw'),
        MqttClient.connect(broker.port, 'removed', 'pw'),
      ]);

      const file = new PasswordFile(path, { reload: { pid: broker.pid } });
      await Promise.all([file.setUser('changed', 'other'), file.removeUser('removed'), file.provision()]);
      await file.reloaded();

      await Promise.all([changed.closed, removed.closed]);
      kept.subscribe('ping');
      expect(await kept.ping('ping')).toBeGreaterThan(0);
      await kept.close();
    });
  });
});

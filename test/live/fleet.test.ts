/** examples/fleet: PostgreSQL is the source of all users, and an agent beside each broker keeps its file up to date. */
import { appendFileSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { register, remove } from '../../examples/fleet/register.js';
import { hashPassword } from '../../src/index.js';
import { login } from '../support/broker.js';
import { Fleet, type Site } from '../support/fleet.js';
import { postgres } from '../support/postgres.js';
import { broker, needs } from '../support/require.js';

needs(postgres, broker('2.0'), broker('2.1')).describe('examples/fleet', () => {
  let fleet: Fleet;
  let site: Site;
  let hash: string;
  beforeAll(async () => {
    hash = await hashPassword('secret');
    fleet = await Fleet.start();
    site = fleet.sites[0] as Site;
  });
  afterAll(() => fleet?.[Symbol.asyncDispose]());
  // So that the table is never empty.
  beforeEach(() => insert('always'));

  const insert = (username: string) =>
    fleet.database.query('INSERT INTO device VALUES ($1, $2) ON CONFLICT DO NOTHING', [username, hash]);

  /** Waits until all files hold the rows of the table, and nothing else. */
  async function expectEqualFiles(sites = fleet.sites): Promise<void> {
    const lines = await fleet.lines();
    await vi.waitFor(
      () => {
        for (const each of sites) expect(each.lines(), each.program.version).toEqual(lines);
      },
      { timeout: 30_000, interval: 20 },
    );
  }

  function answers(username: string, password: string): Promise<Array<number | null>> {
    return Promise.all(fleet.sites.map(({ listener }) => login(listener.port, username, password)));
  }

  /** Changes rows without a notification, as an agent misses it while its connection is lost. */
  async function changeUnnoticed(...statements: string[]): Promise<void> {
    const client = await fleet.database.connect();
    try {
      await client.query('BEGIN');
      await client.query('SET LOCAL session_replication_role = replica');
      for (const statement of statements) await client.query(statement);
      await client.query('COMMIT');
    } finally {
      client.release();
    }
  }

  /** Calls `act`. Resolves when the agent of each of these sites has copied the table once more. */
  async function makesCopy(act: () => Promise<void>, sites = fleet.sites): Promise<void> {
    const before = sites.map(({ agent }) => agent?.copies ?? 0);
    await act();
    await Promise.all(sites.map(({ agent }, i) => agent?.copied((before[i] ?? 0) + 1)));
  }

  async function endConnectionOf(each: Site): Promise<void> {
    const end = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1';
    await fleet.database.query(end, [`agent of ${each.program.version}`]);
  }

  test('all brokers let a registered device in, and none does after its removal', async () => {
    const password = await register(fleet.database, fleet.listeners, 'device_1');
    expect(await answers('device_1', password)).toEqual([0, 0, 0]);
    expect(await answers('device_1', 'wrong')).toEqual([5, 5, 5]);

    expect(await remove(fleet.database, 'device_1')).toBe(true);
    await vi.waitFor(async () => expect(await answers('device_1', password)).toEqual([5, 5, 5]), 30_000);
    expect(await remove(fleet.database, 'device_1')).toBe(false);
    await expectEqualFiles();
  });

  test('a device that is registered again has only the new password', async () => {
    const first = await register(fleet.database, fleet.listeners, 'device_2');
    const second = await register(fleet.database, fleet.listeners, 'device_2');
    expect(await answers('device_2', second)).toEqual([0, 0, 0]);
    expect(await answers('device_2', first)).toEqual([5, 5, 5]);
  });

  test('a registration fails if one broker does not let the device in', async () => {
    await site.killBroker();
    const registered = register(fleet.database, fleet.listeners, 'device_3', 1_000);
    // On a busy machine, another broker may not have reloaded by then either, so the code can differ.
    await expect(registered).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_LOGIN_/) });
    await site.startBroker();
    const password = await register(fleet.database, fleet.listeners, 'device_3');
    expect(await answers('device_3', password)).toEqual([0, 0, 0]);
  });

  test('many changes of a few devices in many transactions leave the last change of each', async () => {
    const { database } = fleet;
    const names = ['a', 'b', 'c'].map(name => `busy_${name}`);
    const changes = names.map(async name => {
      for (let i = 0; i < 40; i++) {
        if (i % 3 === 2) await remove(database, name);
        else
          await database.query(
            'INSERT INTO device VALUES ($1, $2) ON CONFLICT (username) DO UPDATE SET hash = excluded.hash',
            [name, await hashPassword(`${i}`)],
          );
      }
    });
    await Promise.all(changes);
    await expectEqualFiles();
    for (const name of names)
      await vi.waitFor(async () => expect(await answers(name, '39')).toEqual([0, 0, 0]), 30_000);
  });

  test('single transactions add, rename and remove thousands of devices', async () => {
    const { database } = fleet;
    const copies = fleet.sites.map(({ agent }) => agent?.copies);
    await database.query(`INSERT INTO device SELECT 'many_' || i, $1 FROM generate_series(1, 2000) AS i`, [
      hash,
    ]);
    await expectEqualFiles();
    await database.query(`UPDATE device SET username = 'renamed_' || username WHERE username LIKE 'many_1%'`);
    await expectEqualFiles();
    await database.query(`DELETE FROM device WHERE username LIKE '%many_%'`);
    await expectEqualFiles();
    expect(fleet.sites.map(({ agent }) => agent?.copies)).toEqual(copies);
  });

  test('an agent that was dead makes up for the changes it missed', async () => {
    await insert('device_4');
    await expectEqualFiles();
    await site.killAgent();
    await remove(fleet.database, 'device_4');
    await insert('device_5');
    await expectEqualFiles(fleet.sites.slice(1));
    expect(site.lines()).toContain(`device_4:${hash}`);

    await site.startAgent();
    await expectEqualFiles();
    await vi.waitFor(async () => expect(await answers('device_5', 'secret')).toEqual([0, 0, 0]), 30_000);
    expect(await answers('device_4', 'secret')).toEqual([5, 5, 5]);
  });

  test('an agent that died between a commit and its reload makes the broker reload when it starts', async () => {
    await expectEqualFiles();
    await site.killAgent();
    // After this, no signal of the agent is still to come.
    await site.broker?.reload();
    await insert('device_6');
    appendFileSync(site.path, `device_6:${hash}\n`);
    expect(await login(site.listener.port, 'device_6', 'secret')).toBe(5);
    await site.startAgent();
    await vi.waitFor(async () => expect(await answers('device_6', 'secret')).toEqual([0, 0, 0]), 30_000);
  });

  test('after a lost connection an agent copies the table, because it has missed changes', async () => {
    await insert('device_7');
    await expectEqualFiles();
    await changeUnnoticed(
      `INSERT INTO device VALUES ('device_8', '${hash}')`,
      `DELETE FROM device WHERE username = 'device_7'`,
    );
    for (const each of fleet.sites) await makesCopy(() => endConnectionOf(each), [each]);
    await expectEqualFiles();
    await vi.waitFor(async () => expect(await answers('device_8', 'secret')).toEqual([0, 0, 0]), 30_000);
  });

  test('an agent gives up a connection that has become silent', async () => {
    await expectEqualFiles();
    const find = 'SELECT pid FROM pg_stat_activity WHERE application_name = $1';
    const { rows } = await fleet.database.query(find, [`agent of ${site.program.version}`]);
    process.kill(rows[0].pid, 'SIGSTOP');
    try {
      await makesCopy(async () => void (await insert('device_15')), [site]);
      await expectEqualFiles();
    } finally {
      process.kill(rows[0].pid, 'SIGCONT');
    }
  });

  test('NOTIFY without a name makes the agents copy the table', async () => {
    await changeUnnoticed(`INSERT INTO device VALUES ('device_16', '${hash}')`);
    await makesCopy(async () => void (await fleet.database.query('NOTIFY device')));
    await expectEqualFiles();
  });

  test('files stay as they are while the database is down, and the table is copied when it is back', async () => {
    await insert('device_9');
    await expectEqualFiles();
    const lines = site.lines();
    await makesCopy(async () => {
      await fleet.postgres.kill();
      await site.agent?.complained('connect ENOENT');
      expect(site.lines()).toEqual(lines);
      await fleet.postgres.restart();
    });
    await insert('device_10');
    await expectEqualFiles();
  });

  test.each(['TRUNCATE device', 'DELETE FROM device'])(
    '%s removes no users from the files',
    async statement => {
      await insert('device_11');
      await expectEqualFiles();
      const lines = site.lines();
      await makesCopy(async () => {
        Object.assign(site.agent ?? {}, { errors: '' });
        await fleet.database.query(statement);
        await site.agent?.complained('The source yielded no entries');
        expect(site.lines()).toEqual(lines);
        await insert('device_12');
      });
      await expectEqualFiles();
    },
  );

  test('a password file that is lost gets all devices at the next change', async () => {
    await insert('device_19');
    await expectEqualFiles();
    await makesCopy(async () => {
      rmSync(site.path);
      await insert('device_20');
    }, [site]);
    await expectEqualFiles();
  });

  test('the last device can be deleted, and an agent then starts with an empty table', async () => {
    await fleet.database.query("DELETE FROM device WHERE username <> 'always'");
    await expectEqualFiles();
    await fleet.database.query('DELETE FROM device');
    await expectEqualFiles();
    expect(site.lines()).toEqual([]);
    await site.killAgent();
    await site.startAgent();
    await insert('device_18');
    await expectEqualFiles();
  });

  test('a broker that was down during changes has them when it is back', async () => {
    await site.killBroker();
    await insert('device_13');
    await expectEqualFiles();
    await site.startBroker();
    await insert('device_14');
    for (const name of ['device_13', 'device_14'])
      await vi.waitFor(async () => expect(await answers(name, 'secret')).toEqual([0, 0, 0]), 30_000);
  });

  test.each([
    ['a name with a colon', 'a:b', undefined],
    ['a name with a blank', 'a b', undefined],
    ['a name that does not fit into a notification', 'a'.repeat(8_000), undefined],
    ['a plain password', 'plain', 'secret'],
    ['a hash that Mosquitto 2.0 does not read', 'long', `$7$101$${'A'.repeat(86)}==$${'A'.repeat(86)}==`],
  ])('the table refuses %s', async (_what, username, value = hash) => {
    const inserted = fleet.database.query('INSERT INTO device VALUES ($1, $2)', [username, value]);
    await expect(inserted).rejects.toMatchObject({ constraint: /^device_\w+_check$/ });
  });
});

/** Real brokers with the files of the program. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Broker, freePort, login, startBroker } from '../support/broker.js';
import { certificate } from '../support/certificate.js';
import { call } from '../support/cli.js';
import { testDirectory } from '../support/directory.js';
import { describeBrokers, needs, program } from '../support/require.js';

const USERS = 2_000;

/** Runs the program, which must exit with 0 and print nothing on standard error. */
async function run(argv: string[], input?: string): Promise<string> {
  const { status, stdout, stderr } = await call(argv, { input });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

describeBrokers('a broker with a file of the program', broker => {
  test(`lets ${USERS} imported users in`, async () => {
    const path = join(testDirectory(), 'passwd');
    const list = Array.from({ length: USERS }, (_, i) => `device_${i}:pässword ${i}:${i}\n`).join('');
    await run(['-c', '--import', '-', path], list);
    expect(await run(['--check', '--broker', releaseOf(broker), path])).toBe('');

    await using running = await startBroker(broker, { passwordFile: path });
    for (let i = 0; i < USERS; i += 97) {
      expect(await login(running.port, `device_${i}`, `pässword ${i}:${i}`)).toBe(0);
      expect(await login(running.port, `device_${i}`, `pässword ${i}:${i + 1}`)).not.toBe(0);
    }
  });

  test('lets the new user in as soon as a call with --reload has ended', async () => {
    const directory = testDirectory();
    const path = join(directory, 'passwd');
    await run(['-c', '-b', path, 'alice', 'one']);
    const pidFile = join(directory, 'mosquitto.pid');
    await using running = await startBroker(broker, { passwordFile: path });
    writeFileSync(pidFile, `${running.pid}\n`);

    await run(['--reload', String(running.pid), '-b', path, 'bob', 'two']);
    expect(await login(running.port, 'bob', 'two')).toBe(0);

    const password = await run(['--reload', pidFile, '--generate', path, 'carol']);
    expect(await login(running.port, 'carol', password.trimEnd())).toBe(0);

    const [, name, secret] =
      /^(.+):(.+)\n$/.exec(await run(['--reload', pidFile, '--provision', path])) ?? [];
    expect(await login(running.port, name, secret)).toBe(0);

    await run(['--reload', pidFile, '-D', path, 'alice', 'carol']);
    expect(await login(running.port, 'alice', 'one')).not.toBe(0);
    expect(await login(running.port, 'bob', 'two')).toBe(0);
  });

  test('has let the new user in when a call with --confirm ends', async () => {
    const path = join(testDirectory(), 'passwd');
    writeFileSync(path, '', { mode: 0o600 });
    await using running = await startBroker(broker, { passwordFile: path });
    const reload = ['--reload', String(running.pid)];
    const confirm = [...reload, '--confirm', `127.0.0.1:${running.port}`];
    const password = await run([...confirm, '--generate', path, 'alice']);
    expect(running.log()).toContain("u'alice'");
    expect(await login(running.port, 'alice', password.trimEnd())).toBe(0);
    const [, name = ''] = /^(.+):.+\n$/.exec(await run([...confirm, '--provision', path])) ?? [];
    expect(running.log()).toContain(`u'${name}'`);

    // Nothing listens on port 1 of this host.
    const { status, stderr } = await call([...reload, '--confirm', '127.0.0.1:1', '-b', path, 'bob', 'two']);
    expect({ status, stderr }).toEqual({
      status: 3,
      stderr: expect.stringMatching(
        /^Error: .*127\.0\.0\.1.*\nThe password file holds the change\. The login is not confirmed\.\n$/,
      ),
    });
    expect(await login(running.port, 'bob', 'two')).toBe(0);
  });

  needs(program('openssl')).test(
    'has let the new user in by TLS when a call with --confirm and --cafile ends',
    async () => {
      const directory = testDirectory();
      const path = join(directory, 'passwd');
      writeFileSync(path, '', { mode: 0o600 });
      const { cert, key } = certificate(directory);
      const port = await freePort();
      const config = `listener ${port} 127.0.0.1\ncertfile ${cert}\nkeyfile ${key}\n`;
      await using running = await startBroker(broker, { passwordFile: path, config });
      const confirm = ['--reload', String(running.pid), '--confirm', `127.0.0.1:${port}`];
      await run([...confirm, '--cafile', cert, '-b', path, 'alice', 'one']);
      expect(running.log()).toContain("u'alice'");
      const stranger = certificate(testDirectory()).cert;
      const other = await call([...confirm, '--cafile', stranger, '-b', path, 'bob', 'two']);
      expect(other.status).toBe(3);
      expect(other.stderr).toMatch(/\nThe password file holds the change\. The login is not confirmed\.\n$/);
    },
  );

  test('lets users in whose hashes are made with its release in --broker', async () => {
    const path = join(testDirectory(), 'passwd');
    await run(['-c', '--broker', releaseOf(broker), '-b', path, 'alice', 'one']);
    writeFileSync(path, `${readFileSync(path, 'utf8')}# staff\nbob: two:2 \n`);
    await run(['-U', '-H', 'sha512', path]);
    await using running = await startBroker(broker, { passwordFile: path });
    expect(await login(running.port, 'alice', 'one')).toBe(0);
    expect(await login(running.port, 'bob', 'two:2')).toBe(0);
  });
});

function releaseOf({ release }: Broker): string {
  return release;
}

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findBrokers, login, startBroker } from '../support/broker.js';
import { describeBrokers, describePasswdTools, needs, root } from '../support/require.js';

// Output of mosquitto_passwd 2.0.11: `mosquitto_passwd -c -b FILE alice secret`.
const ALICE =
  'alice:$7$101$scU/k7oUJbQzXHJQ$kEkPM0VqEBgXl+6B/N1n4my5Mo6hj+D5IPAlJ5TuMDzeBSeVdd5fVfkEaRNWg7Upvy2bYz8XezEhmmEsXpHRhw==\n';

let directory: string;
let passwordFile: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'harness-'));
  passwordFile = join(directory, 'passwords');
  await writeFile(passwordFile, ALICE);
});
afterEach(() => rm(directory, { recursive: true }));

describeBrokers('the broker harness', broker => {
  test('starts a broker that lets in the users of the file, and nobody else', async () => {
    await using running = await startBroker(broker, { passwordFile });
    expect(await login(running.port, 'alice', 'secret')).toBe(0);
    expect(await login(running.port, Buffer.from('alice'), Buffer.from('secret'))).toBe(0);
    expect(await login(running.port, 'alice', 'wrong')).toBe(5);
    expect(await login(running.port, 'bob', 'secret')).toBe(5);
    expect(await login(running.port)).toBe(5);
  });

  test('starts a process called mosquitto', async () => {
    await using running = await startBroker(broker, { passwordFile });
    expect(await readFile(`/proc/${running.pid}/comm`, 'utf8')).toBe('mosquitto\n');
  });

  test('resolves reload() when the broker has read the file again', async () => {
    await using running = await startBroker(broker, { passwordFile });
    for (let round = 1; round <= 20; round++) {
      await writeFile(passwordFile, `bob${round}${ALICE.slice('alice'.length)}`);
      expect(await running.reload()).toBe(true);
      expect(await login(running.port, `bob${round}`, 'secret')).toBe(0);
      expect(await login(running.port, `bob${round - 1}`, 'secret')).toBe(5);
      expect(running.reloads).toBe(round);
    }
  });

  test('waits in reload() for a reload that is under way', async () => {
    const hash = ALICE.slice('alice'.length);
    const many = Array.from({ length: 50_000 }, (_, n) => `user${n}${hash}`).join('');
    await writeFile(passwordFile, many);
    await using running = await startBroker(broker, { passwordFile });
    process.kill(running.pid, 'SIGHUP');
    await running.logged('Reloading config.');
    await writeFile(`${passwordFile}.new`, ALICE);
    await rename(`${passwordFile}.new`, passwordFile);
    expect(await running.reload()).toBe(true);
    expect(await login(running.port, 'alice', 'secret')).toBe(0);
  });

  test('reports from reload() whether the broker has ended or runs on', async () => {
    await using running = await startBroker(broker, { passwordFile });
    await writeFile(passwordFile, `${ALICE}bob:$7$broken\n`);
    if (broker.release === '2.0') {
      expect(await running.reload()).toBe(true);
      expect(await login(running.port, 'alice', 'secret')).toBe(0);
    } else {
      expect(await running.reload()).toBe(false);
      expect(await running.exited).toEqual({ code: 3, signal: null });
      await expect(login(running.port, 'alice', 'secret')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    }
  });

  test('leaves no process and no directory after stop()', async () => {
    const running = await startBroker(broker, { passwordFile });
    const config = /Config loaded from (.+)\.$/m.exec(running.log())?.[1];
    expect(existsSync(`${config}`)).toBe(true);
    await running.stop();
    expect(() => process.kill(running.pid, 0)).toThrow('ESRCH');
    expect(existsSync(dirname(`${config}`))).toBe(false);
    await running.stop();
  });

  test('stops a broker that is stopped by SIGSTOP', async () => {
    const running = await startBroker(broker, { passwordFile });
    process.kill(running.pid, 'SIGSTOP');
    await running.stop();
    expect(await running.exited).toEqual({ code: 0, signal: null });
  });

  test('reports with the log why a broker did not start', async () => {
    const start = startBroker(broker, { passwordFile: join(directory, 'missing') });
    await expect(start).rejects.toThrow(/did not start \(status \d+\):\n.*missing/s);
  });

  needs(root).test('runs the broker as another user', async () => {
    await chmod(directory, 0o755);
    await chmod(passwordFile, 0o644);
    await using running = await startBroker(broker, { passwordFile, user: 'nobody' });
    expect((await stat(`/proc/${running.pid}`)).uid).not.toBe(0);
    expect(await running.reload()).toBe(true);
    expect(await login(running.port, 'alice', 'secret')).toBe(0);
  });
});

describePasswdTools('mosquitto_passwd', tool => {
  test('adds a user', async () => {
    expect(spawnSync(tool.path, ['-b', passwordFile, 'carol', 'secret']).status).toBe(0);
    expect(await readFile(passwordFile, 'utf8')).toMatch(/^alice:\$7\$.+\ncarol:\$7\$.+\n$/);
  });
});

test('login() of the broker harness resolves with null if the connection is dropped without an answer', async () => {
  const server = createServer(socket => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  expect(await login((server.address() as AddressInfo).port, 'alice', 'secret')).toBeNull();
  server.close();
});

test('findBrokers() finds each version once', () => {
  const versions = findBrokers().map(({ version }) => version);
  expect(versions).toEqual([...new Set(versions)]);
});

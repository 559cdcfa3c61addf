/** How processes of other users, with other ancestors and in other namespaces find the broker. */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { testDirectory } from '../support/directory.js';
import { linux, namespaces, needs, root } from '../support/require.js';
import { runScript } from '../support/script.js';
import { perl, standIn, uniqueName } from '../support/stand-in.js';

needs(linux, perl).describe('reloadBroker({ pid })', () => {
  test('refuses this process, even if it is called mosquitto', async () => {
    const message = await runScript(`
      const { reloadBroker } = await load('src/broker/reload.ts');
      process.title = 'mosquitto';
      process.on('SIGHUP', () => {});
      return reloadBroker({ pid: process.pid }).catch(error => error.message);
    `);
    expect(message).toMatch(/^pid \d+ is mosquitto, but not the broker: it is this very process\. /);
  });

  test('refuses the parent of the parent, even if it is called mosquitto', async () => {
    const grandparent = join(testDirectory(), 'mosquitto');
    await writeFile(grandparent, '#!/bin/sh\ntrap "echo hangup >&2; exit 9" HUP\n"$@"\nexit $?\n');
    await chmod(grandparent, 0o755);
    const message = await runScript(
      `
      const { reloadBroker } = await load('src/broker/reload.ts');
      const { readFileSync } = await import('node:fs');
      const parentOf = pid => Number(/^PPid:\\s*(.*)$/m.exec(readFileSync('/proc/' + pid + '/status', 'utf8'))[1]);
      return reloadBroker({ pid: parentOf(process.ppid) }).catch(error => error.message);
    `,
      { through: [grandparent, 'sh', '-c', '"$@"; exit $?', 'sh'] },
    );
    expect(message).toMatch(
      /^pid \d+ is mosquitto, but not the broker: it is an ancestor of this process\. /,
    );
  });

  needs(root).test(
    'fails with EPERM and says what to do if this process may not signal the broker',
    async () => {
      const broker = await standIn();
      const message = await runScript(
        `
      const { reloadBroker } = await load('src/broker/reload.ts');
      process.setgroups([]);
      process.setgid(54321);
      process.setuid(54321);
      return reloadBroker({ pid: args }).catch(error => error.code + ' ' + error.cause.code + ' ' + error.message);
    `,
        { args: broker.pid },
      );
      expect(message).toContain(
        `ERR_RELOAD_FAILED EPERM pid ${broker.pid} is mosquitto, but this process (uid 54321)`,
      );
      expect(message).toContain("Run as the broker's user (uid 0) or as root");
      expect(await broker.hangups()).toBe(0);
    },
  );
});

needs(linux, perl).describe('reloadBroker({ process })', () => {
  test('ignores this process', async () => {
    const message = await runScript(
      `
      const { reloadBroker } = await load('src/broker/reload.ts');
      process.title = args;
      process.on('SIGHUP', () => {});
      return reloadBroker({ process: args }).catch(error => error.message);
    `,
      { args: uniqueName() },
    );
    expect(message).toMatch(/^None of .* Zombies and ancestors of this process do not count, /);
  });
});

describe('reloadBroker in another pid namespace', () => {
  needs(linux, namespaces, perl).test('signals nothing if /proc is that of another namespace', async () => {
    const name = uniqueName();
    const broker = await standIn({ name });
    const path = join(testDirectory(), 'broker.pid');
    await writeFile(path, `${broker.pid}`);
    const messages = await runScript(
      `
      const { reloadBroker } = await load('src/broker/reload.ts');
      const messages = [];
      for (const target of args) await reloadBroker(target).catch(error => messages.push(error.code, error.message));
      return messages;
    `,
      {
        through: ['unshare', '--pid', '--fork'],
        args: [{ pid: broker.pid }, { pidFile: path }, { process: name }, { pid: 1 }],
      },
    );
    const message = expect.stringMatching(
      /^\/proc shows another pid namespace .* use a command, .* Nothing was signalled/,
    );
    expect(messages).toEqual(Array(4).fill(['ERR_RELOAD_FAILED', message]).flat());
    expect(await broker.hangups()).toBe(0);
  });

  needs(linux, namespaces, perl).test(
    'finds only the processes of its namespace if it has a /proc of its own',
    async () => {
      const name = uniqueName();
      const broker = await standIn({ name });
      const message = await runScript(
        `
      const { reloadBroker } = await load('src/broker/reload.ts');
      return reloadBroker({ process: args }).catch(error => error.message);
    `,
        { through: ['unshare', '--pid', '--fork', '--mount-proc'], args: name },
      );
      expect(message).toMatch(/^None of the \d+ processes here is called /);
      expect(await broker.hangups()).toBe(0);
    },
  );

  needs(linux, namespaces).test(
    'runs a command without /proc, and for a pid says what else to use',
    async () => {
      const messages = await runScript(
        `
      const { reloadBroker } = await load('src/broker/reload.ts');
      await reloadBroker({ command: ['true'] });
      return reloadBroker({ pid: args }).catch(error => error.message);
    `,
        {
          through: ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh'],
          args: process.pid,
        },
      );
      expect(messages).toMatch(/^There is no \/proc here .* kill -HUP with the pid of the broker/);
    },
  );

  needs(linux, namespaces, root).test('says if /proc hides the processes of other users', async () => {
    const messages = await runScript(
      `
      const { reloadBroker } = await load('src/broker/reload.ts');
      const { spawn } = await import('node:child_process');
      const hidden = spawn('sleep', ['1000']);
      process.setgroups([]);
      process.setgid(54321);
      process.setuid(54321);
      return reloadBroker({ pid: hidden.pid }).catch(error => error.message);
    `,
      {
        through: [
          ...['unshare', '--pid', '--fork', '--mount'],
          ...['sh', '-c', 'mount -t proc -o hidepid=2 none /proc && exec "$@"', 'sh'],
        ],
      },
    );
    expect(messages).toMatch(
      /^pid \d+ is hidden by \/proc \(mounted with hidepid\)\. Run as root, or use the command kill -HUP \d+\./,
    );
  });
});

needs(linux, perl).describe('reloadBroker', () => {
  test('does not keep the process alive after an abort', async () => {
    const broker = await standIn();
    process.kill(broker.pid, 'SIGSTOP');
    const message = await runScript(
      `
      const { reloadBroker } = await load('src/broker/reload.ts');
      const { kill } = process;
      const controller = new AbortController();
      process.kill = (...signal) => {
        setImmediate(() => controller.abort(new Error('no more')));
        return kill.apply(process, signal);
      };
      // The process then ends only if nothing keeps it alive.
      process.exit = () => undefined;
      return reloadBroker({ pid: args }, { timeout: 1e6, signal: controller.signal }).catch(error => error.message);
    `,
      { args: broker.pid },
    );
    expect(message).toBe('no more');
  });
});

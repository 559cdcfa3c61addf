/** One task for each row of the table of Deno's permissions: `permissions.mjs TASK PATH PORT PID`. */
import assert from 'node:assert/strict';
import {
  checkPasswordFile,
  confirmLogin,
  generateCredentials,
  hashPassword,
  PasswordFile,
  reloadBroker,
  verifyPassword,
} from 'mosquitto-passwd-ts';

const [task, path, port, pid] = process.argv.slice(2);

const tasks = {
  async generate() {
    const { username } = generateCredentials();
    assert.equal(checkPasswordFile(new TextEncoder().encode(`${username}:`), { broker: '2.1' }).loads, false);
  },
  async hash() {
    assert.equal(await verifyPassword('secret', await hashPassword('secret')), true);
  },
  async read() {
    const file = new PasswordFile(path);
    assert.deepEqual(await file.users(), ['alice']);
    assert.equal((await file.check()).loads, true);
  },
  async verify() {
    assert.equal(await new PasswordFile(path).verify('alice', 'correct horse'), true);
  },
  async edit() {
    const file = new PasswordFile(path);
    assert.equal(await file.setUser('bob', 'battery staple'), 'added');
    assert.equal(await file.removeUser('bob'), true);
  },
  async login() {
    await confirmLogin({
      host: '127.0.0.1',
      port: Number(port),
      username: 'alice',
      password: 'correct horse',
    });
  },
  async command() {
    await reloadBroker({ command: ['true'] });
  },
  async pid() {
    await reloadBroker({ pid: Number(pid) });
  },
};

await tasks[task]();

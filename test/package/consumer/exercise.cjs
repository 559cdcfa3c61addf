/** What each runtime does with a loaded copy of the package, from the first login to many writers beside a broker. */
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { join } = require('node:path');
const { createInterface } = require('node:readline');

const USERS = 1_000;
const WRITERS = 4;
const EDITS = 25;

/**
 * @param library the loaded package
 * @param task `path`: the password file; `launch`: the command that runs a script in this runtime;
 *   `broker`: the process and the port of one that reads the file, where there is one
 */
exports.exercise = async (library, { path, launch, broker }) => {
  await hash(library);
  const file = new library.PasswordFile(path, broker && { reload: { pid: broker.pid } });
  const login = await provision(file);
  await setThousand(file);
  const written = await writeTogether(path, launch);
  await check(file, [login.username, ...thousand().keys(), ...written]);
  if (broker !== undefined) await confirm(library, file, broker, login);
};

async function hash({ formatHash, hashPassword, parseHash, verifyPassword }) {
  const hash = await hashPassword('correct horse');
  assert.match(hash, /^\$7\$101\$/);
  assert.equal(formatHash(parseHash(hash)), hash);
  assert.equal(await verifyPassword('correct horse', hash), true);
  assert.equal(await verifyPassword('battery staple', hash), false);
}

async function provision(file) {
  const login = await file.provision();
  assert.equal(await file.setUser('alice', 'correct horse'), 'added');
  assert.equal(await file.verify(login.username, login.password), true);
  assert.equal(await file.verify('alice', 'battery staple'), false);
  await assert.rejects(file.addUser('alice', 'battery staple'), { code: 'ERR_USER_EXISTS' });
  await assert.rejects(file.setUser('bob', undefined), { code: 'ERR_INVALID_PASSWORD' });
  assert.equal(await file.removeUser('alice'), true);
  assert.deepEqual(await file.users(), [login.username]);
  return login;
}

function thousand() {
  return new Map(Array.from({ length: USERS }, (_, number) => [`device_${number}`, `password ${number}`]));
}

async function setThousand(file) {
  const counts = await file.setUsers(thousand());
  assert.deepEqual([counts.added, counts.updated, counts.unchanged], [USERS, 0, 0]);
  assert.equal(await file.verify('device_999', 'password 999'), true);
}

/** Writers in processes of their own, one of which is killed. Returns the names whose edits were acknowledged. */
async function writeTogether(path, launch) {
  const [program, ...flags] = launch;
  const script = join(__dirname, 'writer.mjs');
  const acknowledged = [];
  const ends = Array.from({ length: WRITERS }, async (_, writer) => {
    const argv = [...flags, script, path, `writer_${writer}`, String(EDITS)];
    const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(child, 'close');
    createInterface({ input: child.stdout }).on('line', name => {
      acknowledged.push(name);
      if (name === 'writer_0-5') child.kill('SIGKILL');
    });
    return (await closed)[0];
  });
  const [killed, ...statuses] = await Promise.all(ends);
  assert.notEqual(killed, 0);
  assert.deepEqual(statuses, [0, 0, 0]);
  const survivors = acknowledged.filter(name => !name.startsWith('writer_0-'));
  assert.equal(survivors.length, (WRITERS - 1) * EDITS);
  assert.ok(acknowledged.includes('writer_0-5'));
  return acknowledged;
}

async function check(file, expected) {
  const { loads, users, findings } = await file.check();
  assert.deepEqual(
    { loads, errors: findings.filter(({ severity }) => severity === 'error') },
    { loads: true, errors: [] },
  );
  // One edit of the killed writer may have been made and not acknowledged.
  const names = new Set(users);
  assert.deepEqual(
    expected.filter(name => !names.has(name)),
    [],
  );
  assert.ok(users.length - expected.length <= 1, `${users.length} users, ${expected.length} expected`);
}

async function confirm({ confirmLogin, reloadBroker }, file, { port }, { username, password }) {
  await file.setUser('last', 'correct horse');
  await file.reloaded();
  await assert.rejects(reloadBroker({ command: ['no-such-program'] }), { code: 'ERR_RELOAD_FAILED' });
  await confirmLogin({ host: '127.0.0.1', port, username, password });
  await confirmLogin({ host: '127.0.0.1', port, username: 'last', password: 'correct horse' });
  const wrong = confirmLogin({ host: '127.0.0.1', port, username, password: 'battery staple', timeout: 500 });
  await assert.rejects(wrong, { code: 'ERR_LOGIN_REFUSED' });
}

/** What a consumer in plain JavaScript does with a loaded copy of the package. */
const assert = require('node:assert/strict');

exports.exercise = async (library, path) => {
  const { PasswordFile, formatHash, hashPassword, parseHash, verifyPassword } = library;

  const hash = await hashPassword('correct horse');
  assert.match(hash, /^\$7\$101\$/);
  assert.equal(formatHash(parseHash(hash)), hash);
  assert.equal(await verifyPassword('correct horse', hash), true);
  assert.equal(await verifyPassword('battery staple', hash), false);

  const file = new PasswordFile(path);
  const { username, password } = await file.provision();
  assert.equal(await file.setUser('alice', 'correct horse'), 'added');
  assert.equal(await file.verify(username, password), true);
  assert.equal(await file.verify('alice', 'battery staple'), false);
  await assert.rejects(file.addUser('alice', 'battery staple'), { code: 'ERR_USER_EXISTS' });
  await assert.rejects(file.setUser('bob', undefined), { code: 'ERR_INVALID_PASSWORD' });
  assert.equal(await file.removeUser('alice'), true);
  assert.deepEqual(await file.users(), [username]);
};

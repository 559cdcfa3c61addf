/** Real brokers let in the users that the library has written, and nobody else. */
import { chmod, chown, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { PasswordFile } from '../../src/password-file.js';
import { login, startBroker } from '../support/broker.js';
import { testDirectory } from '../support/directory.js';
import { describeBrokers, type Need, needs, root } from '../support/require.js';
import { userNamed } from '../support/users.js';

const LOGINS: Array<[username: string, password: string]> = [
  ['plain', 'secret'],
  ['blank in front', ' secret'],
  ['blank behind', 'secret '],
  ['blanks at both ends', '  \t secret\r\n '],
  ['only a blank', ' '],
  ['colons', ':a:b::'],
  ['dollars', '$7$101$x$y'],
  ['comment', '# secret'],
  ['quotes', `'"\\`],
  ['letters', 'pässwörd'],
  ['signs', '密码'],
  ['emoji', '🔑🔒'],
  ['combining', 'e\u0301'],
  ['composed', '\u00e9'],
  ['control characters', '\u0001\u001b\u007f\u0085'],
  ['noncharacters', '\uffff\ufdd0'],
  ['a thousand bytes', 'x'.repeat(1000)],
  ['a thousand bytes of letters', 'é'.repeat(500)],
  ['all that MQTT carries', 'y'.repeat(65_535)],
  ['ålicé', 'secret 1'],
  ['設備', 'secret 2'],
  ['🙂', 'secret 3'],
  ['\u00a0no-break spaces\u00a0', 'secret 4'],
  ['a  b', 'secret 5'],
  ['sensor/tenant-1/42', 'secret 6'],
  ['user@example.com', 'secret 7'],
  ['a#b', 'secret 8'],
  ['a\\b"c\'d', 'secret 9'],
  ['$sys', 'secret 10'],
  ['n'.repeat(2000), 'secret 11'],
  ['é'.repeat(1000), 'secret 12'],
];

const mosquittoUser = userNamed('mosquitto');
const aMosquittoUser: Need = {
  what: 'a system user called mosquitto, whom the broker can become',
  isProgram: true,
  met: () => mosquittoUser !== undefined,
};

let directory: string;
let passwordFile: string;
let file: PasswordFile;
beforeEach(() => {
  directory = testDirectory();
  passwordFile = join(directory, 'passwd');
  file = new PasswordFile(passwordFile);
});

describeBrokers('a broker with a file of the library', broker => {
  test('lets in all users of setUsers, and nobody with another password', async () => {
    await file.setUsers(LOGINS);
    await using running = await startBroker(broker, { passwordFile });
    for (const [username, password] of LOGINS) {
      expect([username, await login(running.port, username, password)]).toEqual([username, 0]);
      expect([username, await file.verify(username, password)]).toEqual([username, true]);
      const other = password.length > 1 ? password.slice(0, -1) : `${password}x`;
      expect([username, await login(running.port, username, other)]).toEqual([username, 5]);
      expect([username, await file.verify(username, other)]).toEqual([username, false]);
    }
    expect(await login(running.port, 'nobody', 'secret')).toBe(5);
    expect(await login(running.port)).toBe(5);
  });

  test('lets in the users of addUser, setHash, provision and update, also with a password of bytes', async () => {
    const password = new Uint8Array([0xff, 0x80, 0x01]);
    await file.addUser('bytes', password);
    const { username, password: generated } = await file.provision();
    const sha512 = new PasswordFile(passwordFile, { hash: { algorithm: 'sha512' } });
    await sha512.setUser('sha512', 'old style');
    const slow = new PasswordFile(passwordFile, { hash: { iterations: 1000 } });
    await slow.setUser('slow', 'many iterations');
    const hash = (await file.getHash('slow')) as string;
    await file.setHash('rebuilt', hash);
    await file.update(draft => draft.set('edited', hash).delete('slow'));

    await using running = await startBroker(broker, { passwordFile });
    expect(await login(running.port, 'bytes', password)).toBe(0);
    expect(await login(running.port, username, generated)).toBe(0);
    expect(await login(running.port, 'sha512', 'old style')).toBe(0);
    expect(await login(running.port, 'rebuilt', 'many iterations')).toBe(0);
    expect(await login(running.port, 'edited', 'many iterations')).toBe(0);
    expect(await login(running.port, 'slow', 'many iterations')).toBe(5);
  });

  test('refuses the old password after setUser, and the user after removeUser, when it has reloaded', async () => {
    await file.setUser('alice', 'old');
    await file.setUser('bob', 'secret');
    await using running = await startBroker(broker, { passwordFile });
    expect(await login(running.port, 'alice', 'old')).toBe(0);

    await file.setUser('alice', 'new');
    await file.removeUser('bob');
    await file.setUser('carol', 'secret');
    expect(await running.reload()).toBe(true);
    expect(await login(running.port, 'alice', 'new')).toBe(0);
    expect(await login(running.port, 'alice', 'old')).toBe(5);
    expect(await login(running.port, 'bob', 'secret')).toBe(5);
    expect(await login(running.port, 'carol', 'secret')).toBe(0);
  });

  test('starts with the empty file of create(), and lets in users who are added later', async () => {
    await file.create();
    await using running = await startBroker(broker, { passwordFile });
    expect(await login(running.port, 'alice', 'secret')).toBe(5);
    await file.setUser('alice', 'secret');
    expect(await running.reload()).toBe(true);
    expect(await login(running.port, 'alice', 'secret')).toBe(0);
  });

  test('reads the lines that edits have kept, with comments, blanks and CR LF', async () => {
    await file.setUser('alice', 'one');
    const hash = await file.getHash('alice');
    await writeFile(passwordFile, `# users\r\n\r\nalice :${hash}\r\nno colon\r\nbob: ${hash} `);
    await file.setUser('carol', 'three');
    await file.setUser('alice', 'two');
    await using running = await startBroker(broker, { passwordFile });
    expect(await login(running.port, 'alice', 'two')).toBe(0);
    expect(await login(running.port, 'alice', 'one')).toBe(5);
    expect(await login(running.port, 'bob', 'one')).toBe(0);
    expect(await login(running.port, 'carol', 'three')).toBe(0);
  });

  needs(root, aMosquittoUser).describe('as the user mosquitto, with the library as root', () => {
    const { uid, gid } = mosquittoUser ?? { uid: 0, gid: 0 };

    test('reads a new and a replaced file in a directory of its own', async () => {
      await chown(directory, uid, gid);
      await file.setUser('alice', 'old');
      await using running = await startBroker(broker, { passwordFile, user: 'mosquitto' });
      expect((await stat(`/proc/${running.pid}`)).uid).toBe(uid);
      expect(await login(running.port, 'alice', 'old')).toBe(0);

      await file.setUser('alice', 'new');
      expect(await stat(passwordFile)).toMatchObject({ uid, gid });
      expect((await stat(passwordFile)).mode & 0o777).toBe(0o600);
      expect(await running.reload()).toBe(true);
      expect(await login(running.port, 'alice', 'new')).toBe(0);
      expect(await login(running.port, 'alice', 'old')).toBe(5);
    });

    test('reads a replaced file that only its group may read', async () => {
      await file.setUser('alice', 'old');
      await chown(passwordFile, 0, gid);
      await chmod(passwordFile, 0o640);
      await using running = await startBroker(broker, { passwordFile, user: 'mosquitto' });
      await file.setUser('alice', 'new');
      expect(await stat(passwordFile)).toMatchObject({ uid: 0, gid });
      expect(await running.reload()).toBe(true);
      expect(await login(running.port, 'alice', 'new')).toBe(0);
    });
  });
});

describe('userNamed', () => {
  test('finds root, and no user who does not exist', () => {
    expect(userNamed('root')).toEqual({ uid: 0, gid: 0 });
    expect(userNamed('no such user')).toBeUndefined();
  });
});

/**
 * An MQTT broker in Node, aedes, that lets in the users of a Mosquitto password file. Edits of the file count from the
 * next CONNECT on, without a reload; clients that are connected already stay.
 *
 *   PORT=1883 PASSWORD_FILE=/mosquitto/auth/passwd npx tsx examples/aedes.ts
 */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Aedes, type AuthenticateError } from 'aedes';
import { PasswordFile } from 'mosquitto-passwd-ts';

const { PORT = '1883', PASSWORD_FILE = 'passwd' } = process.env;

const file = new PasswordFile(PASSWORD_FILE, { missing: 'error' });

/** CONNACK 3 (MQTT 3.1.1 section 3.2.2.3): the client may try again later. */
const SERVER_UNAVAILABLE: AuthenticateError = Object.assign(new Error('server unavailable'), {
  returnCode: 3,
});

const broker = await Aedes.createBroker({
  authenticate(_client, username, password, done) {
    // Both are absent from the CONNECT of an anonymous client.
    if (username === undefined || password === undefined) return done(null, false);
    file.verify(username, password).then(
      verified => done(null, verified),
      error => {
        console.error(`Nobody can log in: ${error.message}`);
        done(SERVER_UNAVAILABLE, false);
      },
    );
  },
});

const server = createServer(broker.handle).listen(Number(PORT), '127.0.0.1');
await once(server, 'listening');
console.log(`listening on port ${(server.address() as AddressInfo).port}`);

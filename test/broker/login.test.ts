import { AsyncLocalStorage } from 'node:async_hooks';
import { spawn, spawnSync } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { EventEmitter, getEventListeners, once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, createServer as createTlsServer } from 'node:tls';
import { inspect } from 'node:util';
import { type IConnectPacket, parser } from 'mqtt-packet';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { confirmLogin, type LoginOptions } from '../../src/broker/login.js';
import { readConnack } from '../../src/broker/mqtt.js';
import { timers } from '../../src/util/event-loop.js';
import { detached } from '../support/detached.js';
import { needs, program } from '../support/require.js';
import { leftBy } from '../support/resources.js';

const host = '127.0.0.1';
/** Milliseconds of a timeout that is awaited; a server in this process answers sooner. */
const SHORT = 1000;
const ALICE = { host, username: 'alice', password: 'correct horse' };
const CONNACK = { accepted: Uint8Array.of(0x20, 2, 0, 0), silence: new Uint8Array() };
const refused = (code: number) => Uint8Array.of(0x20, 2, 0, code);

/** The sockets that confirmLogin has made since the test began, but for those of {@link failure}. */
let sockets: Socket[];
/** Those of a call of {@link failure}. */
const ownSockets = new AsyncLocalStorage<Socket[]>();
const connecting = new EventEmitter();
function remember(message: unknown): void {
  const { socket } = message as { socket: Socket };
  (ownSockets.getStore() ?? sockets).push(socket);
  connecting.emit('socket', socket);
}
const servers: Server[] = [];
beforeAll(() => subscribe('net.client.socket', remember));
beforeEach(() => {
  sockets = [];
});
afterAll(async () => {
  unsubscribe('net.client.socket', remember);
  for (const server of servers) await close(server);
});

async function listen(server: Server, port = 0): Promise<number> {
  servers.push(server);
  server.listen(port, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  server.close();
  await once(server, 'close');
}

/** Waits until a socket is closed, by an error or not. */
function closed(socket: Socket): Promise<void> {
  return new Promise(resolve => socket.once('close', () => resolve()));
}

/** A port on which nobody listens. */
async function deadPort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await close(server);
  return port;
}

/** Listens as a broker does. Each CONNECT is answered by the next of these functions, all further ones by the last. */
async function broker(...answers: Array<(socket: Socket, hello: IConnectPacket) => void>) {
  const hellos: IConnectPacket[] = [];
  const events: string[] = [];
  const serve = (socket: Socket) => {
    const packets = parser({ protocolVersion: 4 })
      .on('packet', packet => {
        events.push(packet.cmd);
        if (packet.cmd !== 'connect') return;
        hellos.push(packet);
        answers[Math.min(hellos.length, answers.length) - 1]?.(socket, packet);
      })
      .on('error', () => {});
    socket
      .on('data', data => packets.parse(data))
      .on('error', () => {})
      .on('close', () => events.push('close'));
  };
  return { port: await listen(createServer(serve)), hellos, events, serve };
}

const say = (bytes: Uint8Array | string) => (socket: Socket) => void socket.write(bytes);
const accept = say(CONNACK.accepted);
const stayAway = () => {};

async function failure(
  options: LoginOptions,
  sockets: Socket[] = [],
): Promise<Error & { code: string; cause?: { code?: string } }> {
  const error = await ownSockets
    .run(sockets, () => confirmLogin(options))
    .then(
      () => expect.unreachable('it was let in'),
      error => error,
    );
  expect(error).toMatchObject({ name: 'PasswordFileError', username: options.username });
  expect(inspect(error)).not.toContain(options.password);
  expect(sockets.every(socket => socket.destroyed)).toBe(true);
  return error;
}

test('more than ten calls of confirmLogin with one signal share a listener', async () => {
  const { port } = await broker(stayAway);
  const controller = new AbortController();
  const { signal } = controller;
  const logins = Promise.allSettled(
    Array.from({ length: 11 }, () => confirmLogin({ ...ALICE, port, signal })),
  );
  await expect.poll(() => sockets.length).toBe(11);
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  const reason = new Error('no more');
  controller.abort(reason);
  expect(await logins).toEqual(Array(11).fill({ status: 'rejected', reason }));
  expect(sockets.every(socket => socket.destroyed)).toBe(true);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

test('confirmLogin refuses an unknown option and names the known ones', async () => {
  await expect(confirmLogin({ ...ALICE, port: 1883, user: 'alice' } as LoginOptions)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringMatching(/"user".*host.*username/),
  });
});

describe('confirmLogin', () => {
  test('connects with MQTT 3.1.1, user name and password, then disconnects', async () => {
    const { port, hellos, events } = await broker(accept);
    await confirmLogin({ ...ALICE, port });
    expect(hellos).toEqual([
      expect.objectContaining({
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        keepalive: 10,
        username: 'alice',
        password: Buffer.from('correct horse'),
      }),
    ]);
    expect(hellos[0]?.will).toBeUndefined();
    expect(hellos[0]?.clientId).toMatch(/^[0-9a-zA-Z]{1,23}$/);
    expect(sockets.map(socket => socket.destroyed)).toEqual([true]);
    expect(events).toEqual(['connect', 'disconnect', 'close']);
  });

  test('sends a new client identifier at each call, or the one of the option clientId', async () => {
    const { port, hellos } = await broker(accept);
    await confirmLogin({ ...ALICE, port });
    await confirmLogin({ ...ALICE, port });
    await confirmLogin({ ...ALICE, port, clientId: 'prefix-1' });
    expect(new Set(hellos.map(hello => hello.clientId)).size).toBe(3);
    expect(hellos[2]?.clientId).toBe('prefix-1');
  });

  // The remaining length (MQTT 3.1.1 section 2.2.3) then takes one, two or three bytes; both ends of each range.
  test.each([1, 76, 77, 78, 79, 200, 16_331, 16_332, 16_333, 16_334, 65_535])(
    'sends a user name of %i bytes',
    async length => {
      const { port, hellos } = await broker(accept);
      const username = 'é'.repeat(length / 2) + 'n'.repeat(length % 2);
      await confirmLogin({ ...ALICE, port, username });
      expect(hellos[0]?.username).toBe(username);
      expect(hellos[0]?.password).toEqual(Buffer.from(ALICE.password));
    },
  );

  test('sends a password of 65,535 bytes that are not UTF-8', async () => {
    const { port, hellos } = await broker(accept);
    const password = new Uint8Array(65_535).fill(0xff);
    await confirmLogin({ ...ALICE, port, username: 'n'.repeat(65_535), password });
    expect(hellos[0]?.password?.equals(password)).toBe(true);
  });

  test('sends the password as it was at the call, although its bytes change later', async () => {
    const password = new Uint8Array([1, 2, 3]);
    const { port, hellos } = await broker(socket => {
      password.fill(9);
      socket.write(refused(5));
    }, accept);
    await confirmLogin({ ...ALICE, port, password });
    expect(hellos.map(hello => hello.password)).toEqual(Array(2).fill(Buffer.from([1, 2, 3])));
  });

  test('reads a CONNACK that comes byte by byte', async () => {
    const { port } = await broker(async socket => {
      for (const byte of CONNACK.accepted) {
        const arrived = once(sockets[0] as Socket, 'data');
        socket.write(Uint8Array.of(byte));
        await arrived;
      }
    });
    await confirmLogin({ ...ALICE, port });
    expect(sockets.length).toBe(1);
  });

  test('reads a CONNACK with more bytes after it', async () => {
    const { port, events } = await broker(say(Buffer.concat([CONNACK.accepted, Buffer.alloc(100_000)])));
    await confirmLogin({ ...ALICE, port });
    expect(events).toContain('disconnect');
  });

  test('closes the connection itself if the broker leaves it open', async () => {
    const { serve } = await broker(accept);
    const open: Socket[] = [];
    const server = createServer({ allowHalfOpen: true }, serve).on('connection', socket => open.push(socket));
    onTestFinished(() => void open[0]?.destroy());
    await confirmLogin({ ...ALICE, port: await listen(server), timeout: 3_600_000 });
    expect(sockets.map(socket => socket.destroyed)).toEqual([true]);
    expect(open.map(socket => socket.writable)).toEqual([true]);
  });

  test('closes the connection itself if the broker leaves it open and goes on sending', async () => {
    const { serve } = await broker(socket => {
      accept(socket);
      const sending = setInterval(() => socket.write('more'), 50);
      socket.on('close', () => clearInterval(sending));
    });
    const port = await listen(createServer({ allowHalfOpen: true }, serve));
    await confirmLogin({ ...ALICE, port, timeout: 3_600_000 });
    expect(sockets.map(socket => socket.destroyed)).toEqual([true]);
  });

  test('leaves nothing that keeps the process alive', async () => {
    const { port, events } = await broker(accept);
    const call = async () => {
      await confirmLogin({ ...ALICE, port, timeout: 3_600_000 });
      await expect.poll(() => events).toContain('close');
    };
    expect(await leftBy(call)).toEqual([]);
  });

  test.each([3, 4, 5])('tries again after CONNACK %i until the user is let in', async code => {
    const { port, hellos } = await broker(say(refused(code)), say(refused(code)), accept);
    await confirmLogin({ ...ALICE, port });
    expect(hellos.length).toBe(3);
    expect(sockets.map(socket => socket.destroyed)).toEqual([true, true, true]);
  });

  test('tries again after dropped connections until the user is let in', async () => {
    const { port, hellos } = await broker(
      socket => socket.destroy(),
      socket => socket.resetAndDestroy(),
      socket => socket.end(Uint8Array.of(0x20, 2)),
      accept,
    );
    await confirmLogin({ ...ALICE, port });
    expect(hellos.length).toBe(4);
  });

  test('tries again until a broker that is down has started', async () => {
    const port = await deadPort();
    const login = confirmLogin({ ...ALICE, port });
    const [socket] = await once(connecting, 'socket');
    await closed(socket);
    const { serve, hellos } = await broker(accept);
    await listen(createServer(serve), port);
    await login;
    expect(hellos.length).toBe(1);
  });
});

// Concurrent, because most of these tests wait for a timeout.
describe.concurrent('confirmLogin of a user who is not let in', () => {
  test.for<[number, string]>([
    [3, 'server unavailable'],
    [4, 'bad user name or password'],
    [5, 'not authorized'],
  ])(
    'fails with ERR_LOGIN_REFUSED if the answer is CONNACK %i until the timeout',
    async ([code, meaning], { expect }) => {
      const { port } = await broker(say(refused(code)));
      const error = await failure({ ...ALICE, port, timeout: SHORT });
      expect(error.code).toBe('ERR_LOGIN_REFUSED');
      expect(error.message).toContain(
        `The login at ${host}:${port} was refused with CONNACK ${code}, ${meaning}. `,
      );
    },
  );

  test('names in its error what to check after a refusal', async ({ expect }) => {
    const { port } = await broker(say(refused(5)));
    expect((await failure({ ...ALICE, port, timeout: SHORT })).message).toMatch(
      /Has it reloaded, does password_file .* name the file .* may the user .* read it\?/,
    );
  });

  test.for<[number, string]>([
    [1, 'unacceptable protocol version'],
    [2, 'identifier rejected'],
    [6, 'which MQTT 3.1.1 does not know'],
    [255, 'which MQTT 3.1.1 does not know'],
  ])('fails with ERR_LOGIN_REFUSED at the first CONNACK %i', async ([code, meaning], { expect }) => {
    const { port } = await broker(say(refused(code)), accept);
    const error = await failure({ ...ALICE, port });
    expect(error.code).toBe('ERR_LOGIN_REFUSED');
    expect(error.message).toContain(`CONNACK ${code}, ${meaning}`);
  });

  test('fails with ERR_LOGIN_FAILED if nothing listens on the port', async ({ expect }) => {
    const port = await deadPort();
    const sockets: Socket[] = [];
    const error = await failure({ ...ALICE, port, timeout: SHORT }, sockets);
    expect(error).toMatchObject({ code: 'ERR_LOGIN_FAILED', cause: { code: 'ECONNREFUSED' } });
    expect(error.message).toContain(`failed: connect ECONNREFUSED ${host}:${port}. Does the broker run`);
    expect(sockets.length).toBeGreaterThan(1);
  });

  test('fails with ERR_LOGIN_FAILED if nothing listens at any address of the host name', async ({
    expect,
  }) => {
    const error = await failure({ ...ALICE, host: 'localhost', port: await deadPort(), timeout: SHORT });
    expect(error).toMatchObject({ code: 'ERR_LOGIN_FAILED', cause: { code: 'ECONNREFUSED' } });
    expect(error.message).toContain('ECONNREFUSED');
  });

  test('fails with the error of an earlier look-up of the host name if the last one is not answered', async ({
    expect,
  }) => {
    const unknown = Object.assign(new Error('no such name'), { code: 'ENOTFOUND', syscall: 'getaddrinfo' });
    const lookup = vi.fn((_host, _options, callback) => {
      if (lookup.mock.calls.length < 2) callback(unknown);
    });
    const tls = { lookup } as unknown as ConnectionOptions;
    const error = await failure({ ...ALICE, host: 'broker.invalid', port: 8883, tls, timeout: 3 * SHORT });
    expect(error).toMatchObject({ code: 'ERR_LOGIN_FAILED', cause: unknown });
    expect(lookup).toHaveBeenCalledTimes(2);
  });

  test('fails with ERR_LOGIN_FAILED if the broker drops the connection', async ({ expect }) => {
    const { port, hellos } = await broker(socket => socket.end());
    const error = await failure({ ...ALICE, port, timeout: SHORT });
    expect(error.code).toBe('ERR_LOGIN_FAILED');
    expect(error.message).toContain(
      'the connection was dropped without an answer. If it speaks TLS, set tls (on the command line --cafile).',
    );
    expect(hellos.length).toBeGreaterThan(1);
  });

  test('fails with ERR_LOGIN_FAILED if the broker resets the connection', async ({ expect }) => {
    const { port } = await broker(socket => socket.resetAndDestroy());
    const error = await failure({ ...ALICE, port, timeout: SHORT });
    expect(error).toMatchObject({ code: 'ERR_LOGIN_FAILED', cause: { code: 'ECONNRESET' } });
  });

  test.for<[string, string | Uint8Array]>([
    ['nothing', CONNACK.silence],
    ['half a CONNACK', CONNACK.accepted.subarray(0, 3)],
  ])('fails with ERR_LOGIN_TIMEOUT if the broker answers with %s', async ([_, answer], { expect }) => {
    const { port, hellos } = await broker(say(answer));
    const error = await failure({ ...ALICE, port, timeout: SHORT });
    expect(error.code).toBe('ERR_LOGIN_TIMEOUT');
    expect(error.message).toContain(`The login at ${host}:${port} was not answered within ${SHORT} ms.`);
    expect(error.cause).toBeUndefined();
    expect(hellos.length).toBe(1);
  });

  test('fails with ERR_LOGIN_REFUSED if the broker refuses first and then does not answer', async ({
    expect,
  }) => {
    const { port, hellos } = await broker(say(refused(5)), stayAway);
    const error = await failure({ ...ALICE, port, timeout: SHORT });
    expect(error.code).toBe('ERR_LOGIN_REFUSED');
    expect(hellos.length).toBe(2);
  });

  test('fails with ERR_LOGIN_FAILED if the broker resets the connection first and then does not answer', async ({
    expect,
  }) => {
    const { port, hellos } = await broker(socket => socket.resetAndDestroy(), stayAway);
    const error = await failure({ ...ALICE, port, timeout: SHORT });
    expect(error).toMatchObject({ code: 'ERR_LOGIN_FAILED', cause: { code: 'ECONNRESET' } });
    expect(hellos.length).toBe(2);
  });

  test('fails with ERR_LOGIN_TIMEOUT if there is no connection first, and then one without an answer', async ({
    expect,
  }) => {
    const { port } = await broker(stayAway);
    const unknown = Object.assign(new Error('no such name'), { code: 'ENOTFOUND', syscall: 'getaddrinfo' });
    const lookup = vi.fn((_host, _options, callback) => {
      if (lookup.mock.calls.length < 2) callback(unknown);
      else callback(null, [{ address: host, family: 4 }]);
    });
    const tls = { lookup } as unknown as ConnectionOptions;
    const error = await failure({ ...ALICE, host: 'broker.invalid', port, tls, timeout: 3 * SHORT });
    expect(error.code).toBe('ERR_LOGIN_TIMEOUT');
    expect(lookup).toHaveBeenCalledTimes(2);
  });

  test('names an IPv6 address in brackets', async ({ expect }) => {
    const port = await deadPort();
    const error = await failure({ ...ALICE, host: '::1', port, timeout: SHORT });
    expect(error.message).toContain(`The login at [::1]:${port} failed: `);
  });

  test('fails with ERR_LOGIN_FAILED if the broker refuses first and then has ended', async ({ expect }) => {
    const { port, serve } = await broker();
    const server = createServer(serve).on('connection', socket => {
      server.close();
      socket.end(refused(5));
    });
    const last = await listen(server);
    expect(port).not.toBe(last);
    const error = await failure({ ...ALICE, port: last, timeout: SHORT });
    expect(error).toMatchObject({ code: 'ERR_LOGIN_FAILED', cause: { code: 'ECONNREFUSED' } });
  });

  // Linux queues connections until the queue of the listener is full, and does not answer further ones.
  test.runIf(process.platform === 'linux')(
    'fails with ERR_LOGIN_FAILED if no connection is made within the timeout',
    async ({ expect }) => {
      const script = `
      const server = require('node:net').createServer().listen({ port: 0, host: '${host}', backlog: 1 }, () => {
        console.log(server.address().port);
        process.kill(process.pid, 'SIGSTOP');
      });
    `;
      const frozen = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
      const port = Number((await once(frozen.stdout, 'data'))[0]);
      const others = Array.from({ length: 8 }, () => connect(port, host));
      await once(others[0] as Socket, 'connect');
      try {
        const error = await failure({ ...ALICE, port, timeout: SHORT });
        expect(error.code).toBe('ERR_LOGIN_FAILED');
        expect(error.message).toContain(`failed: no connection within ${SHORT} ms.`);
      } finally {
        for (const socket of others) socket.on('error', () => {}).destroy();
        frozen.kill('SIGKILL');
        await once(frozen, 'exit');
      }
    },
  );

  test.for<[string, string | Uint8Array]>([
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['another packet of MQTT', Uint8Array.of(0xd0, 0)],
    ['a CONNACK of MQTT 5', Uint8Array.of(0x20, 3, 0, 0, 0)],
    ['a CONNACK with reserved flags', Uint8Array.of(0x20, 2, 2, 0)],
  ])('fails with ERR_LOGIN_FAILED at the first answer that is %s', async ([_, answer], { expect }) => {
    const { port } = await broker(say(answer), accept);
    const error = await failure({ ...ALICE, port });
    expect(error.code).toBe('ERR_LOGIN_FAILED');
    expect(error.message).toContain('what answers there is no listener for MQTT over TCP.');
  });
});

test('confirmLogin sets no timer to a negative time, of which Node warns, if the timeout has passed', async () => {
  const started = vi.spyOn(timers, 'setTimeout');
  onTestFinished(() => void started.mockRestore());
  const port = await deadPort();
  const start = performance.now();
  const login = failure({ ...ALICE, port, timeout: 1 });
  while (performance.now() - start < 50);
  await login;
  const delays = started.mock.calls.map(([, delay]) => delay ?? 0);
  expect(Math.min(...delays)).toBe(0);
});

describe('readConnack', () => {
  test('returns the return code as soon as its byte has come', () => {
    const bytes = [0x20, 2, 1, 5];
    expect([0, 1, 2, 3, 4].map(length => readConnack(Uint8Array.from(bytes.slice(0, length))))).toEqual([
      ...Array(4).fill('incomplete'),
      5,
    ]);
    expect(readConnack(Uint8Array.of(0x15))).toBe('not MQTT');
    expect(readConnack(Uint8Array.of(0x20, 4))).toBe('not MQTT');
  });
});

describe('confirmLogin with a signal', () => {
  const reason = new Error('no more');

  test('connects to nothing if that is aborted already', async () => {
    const login = confirmLogin({ ...ALICE, port: 1883, signal: AbortSignal.abort(reason) });
    await expect(login).rejects.toBe(reason);
    expect(sockets).toEqual([]);
  });

  test.each([
    ['waits for an answer', stayAway],
    ['waits for the next attempt', say(refused(5))],
  ])('rejects with the reason of an abort while it %s', async (_, answer) => {
    const controller = new AbortController();
    const asked = new EventEmitter();
    const { port } = await broker(socket => {
      answer(socket);
      asked.emit('hello');
    });
    const login = confirmLogin({ ...ALICE, port, signal: controller.signal, timeout: 2 ** 31 - 1 });
    login.catch(() => {});
    await once(asked, 'hello');
    if (answer !== stayAway) await closed(sockets[0] as Socket);
    controller.abort(reason);
    await expect(login).rejects.toBe(reason);
    expect(sockets.map(socket => socket.destroyed)).toEqual([true]);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('rejects with the reason of an abort shortly before the timeout', async () => {
    const controller = new AbortController();
    const { port } = await broker(stayAway);
    const login = confirmLogin({ ...ALICE, port, signal: controller.signal, timeout: 45 });
    login.catch(() => {});
    await once(connecting, 'socket');
    controller.abort(reason);
    await expect(login).rejects.toBe(reason);
  });

  test('rejects with the reason of an abort right after the call', async () => {
    const controller = new AbortController();
    const { port } = await broker(stayAway);
    const login = confirmLogin({ ...ALICE, port, signal: controller.signal, timeout: 2 ** 31 - 1 });
    controller.abort(reason);
    await expect(login).rejects.toBe(reason);
    expect(sockets.every(socket => socket.destroyed)).toBe(true);
  });

  test('leaves no listener on it', async () => {
    const { signal } = new AbortController();
    const { port } = await broker(say(refused(5)), accept);
    await confirmLogin({ ...ALICE, port, signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

needs(program('openssl')).describe('confirmLogin and TLS', () => {
  const directory = mkdtempSync(join(tmpdir(), 'login-'));
  const keyFile = join(directory, 'key.pem');
  const certFile = join(directory, 'cert.pem');
  const { status } = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...[
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
      '-keyout',
      keyFile,
      '-out',
      certFile,
    ],
  ]);
  if (status !== 0) throw new Error('openssl makes no certificate');
  const [key, cert] = [readFileSync(keyFile), readFileSync(certFile)];
  rmSync(directory, { recursive: true });

  async function tlsBroker(...answers: Parameters<typeof broker>) {
    const names: string[] = [];
    let attempts = 0;
    const { serve, ...rest } = await broker(...answers);
    const server = createTlsServer({ key, cert }, socket => {
      if (socket.servername) names.push(socket.servername);
      serve(socket);
    });
    server.on('connection', () => attempts++).on('tlsClientError', () => {});
    return { ...rest, port: await listen(server), names, attempts: () => attempts };
  }

  test('connects, and sends the host name to the server', async () => {
    const { port, names, events } = await tlsBroker(accept);
    await confirmLogin({ ...ALICE, port, host: 'localhost', tls: { ca: cert } });
    expect(names).toEqual(['localhost']);
    expect(events).toEqual(['connect', 'disconnect', 'close']);
    await confirmLogin({ ...ALICE, port, tls: { ca: cert, servername: 'localhost' } });
    await confirmLogin({ ...ALICE, port, tls: { rejectUnauthorized: false } });
  });

  test('tries again after a refusal', async () => {
    const { port, hellos } = await tlsBroker(say(refused(5)), accept);
    await confirmLogin({ ...ALICE, port, host: 'localhost', tls: { ca: cert } });
    expect(hellos.length).toBe(2);
  });

  test.each([
    ['is not trusted', 'DEPTH_ZERO_SELF_SIGNED_CERT', true],
    ['is for another host', 'ERR_TLS_CERT_ALTNAME_INVALID', { ca: cert }],
  ])('fails at the first attempt and sends no password if the certificate %s', async (_, code, tls) => {
    const { port, hellos, attempts } = await tlsBroker(accept);
    const error = await failure({ ...ALICE, port, tls });
    expect(error).toMatchObject({ code: 'ERR_LOGIN_FAILED', cause: { code } });
    expect(error.message).toContain(
      'Set tls: ca to trust its certificate (on the command line --cafile), servername if ',
    );
    expect(attempts()).toBe(1);
    expect(hellos).toEqual([]);
  });

  test('fails at the first attempt if the listener does not support the version', async () => {
    const { port, attempts } = await tlsBroker(accept);
    const tls = { ca: cert, servername: 'localhost', maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1' } as const;
    expect((await failure({ ...ALICE, port, tls })).code).toBe('ERR_LOGIN_FAILED');
    expect(attempts()).toBe(1);
  });

  test('fails at a listener without TLS, and says to leave out tls', async () => {
    const silent = await broker(stayAway);
    const port = await listen(createServer(socket => socket.once('data', () => socket.end())));
    const [unanswered, error] = await Promise.all([
      failure({ ...ALICE, port: silent.port, tls: true, timeout: SHORT }),
      failure({ ...ALICE, port, tls: true, timeout: SHORT }),
    ]);
    expect(unanswered.code).toBe('ERR_LOGIN_TIMEOUT');
    expect(error).toMatchObject({ code: 'ERR_LOGIN_FAILED', cause: { code: 'ECONNRESET' } });
    expect(error.message).toContain('If it has no TLS, leave out tls (on the command line --cafile).');
    const http = await listen(
      createServer(socket => socket.once('data', () => socket.end('HTTP/1.1 400\r\n\r\n'))),
    );
    const other = await failure({ ...ALICE, port: http, tls: true });
    expect(other).toMatchObject({ code: 'ERR_LOGIN_FAILED', cause: { library: 'SSL routines' } });
    expect(other.message).toContain('If it has no TLS, leave out tls (on the command line --cafile).');
  });

  test('fails without tls at a listener with TLS, and says to set it', async () => {
    const { port } = await tlsBroker(accept);
    const error = await failure({ ...ALICE, port, timeout: SHORT });
    expect(error.code).toBe('ERR_LOGIN_FAILED');
    expect(error.message).toContain('If it speaks TLS, set tls (on the command line --cafile).');
  });

  test('fails with ERR_INVALID_ARGUMENT if the options of tls do not work', async () => {
    const error = await confirmLogin({ ...ALICE, port: 8883, tls: { cert: 'no PEM' } }).catch(error => error);
    expect(error).toMatchObject({ code: 'ERR_INVALID_ARGUMENT', cause: expect.any(Error) });
  });
});

test.each([
  ['ERR_INVALID_ARGUMENT', { host: '' }],
  ['ERR_INVALID_ARGUMENT', { host: undefined }],
  ['ERR_INVALID_ARGUMENT', { host: 'local\0host' }],
  ['ERR_INVALID_ARGUMENT', { host: 'mqtt://alice:secret@localhost' }],
  ['ERR_INVALID_ARGUMENT', { host: '[::1]' }],
  ['ERR_INVALID_ARGUMENT', { port: 0 }],
  ['ERR_INVALID_ARGUMENT', { port: 65_536 }],
  ['ERR_INVALID_ARGUMENT', { port: '1883' }],
  ['ERR_INVALID_ARGUMENT', { port: undefined }],
  ['ERR_INVALID_ARGUMENT', { tls: 'yes' }],
  ['ERR_INVALID_ARGUMENT', { tls: null }],
  ['ERR_INVALID_ARGUMENT', { timeout: 0 }],
  ['ERR_INVALID_ARGUMENT', { timeout: Number.POSITIVE_INFINITY }],
  ['ERR_INVALID_ARGUMENT', { timeout: '1000' }],
  ['ERR_INVALID_ARGUMENT', { clientId: '' }],
  ['ERR_INVALID_ARGUMENT', { clientId: 'c'.repeat(65_536) }],
  ['ERR_INVALID_USERNAME', { username: 'a:b' }],
  ['ERR_INVALID_USERNAME', { username: undefined }],
  ['ERR_INVALID_PASSWORD', { password: '' }],
  ['ERR_INVALID_PASSWORD', { password: detached() }],
  ['ERR_INVALID_PASSWORD', { password: undefined }],
])('confirmLogin fails with %s for %j', async (code, wrong) => {
  const options = { ...ALICE, port: 1883, ...wrong } as LoginOptions;
  await expect(confirmLogin(options)).rejects.toMatchObject({ code });
  expect(sockets).toEqual([]);
});

test('confirmLogin fails with ERR_INVALID_ARGUMENT without options', async () => {
  const login = confirmLogin(undefined as unknown as LoginOptions);
  await expect(login).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
});

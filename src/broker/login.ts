import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { checkedLogin, MAX_BYTES } from '../credentials/rules.js';
import { PasswordFileError, type PasswordFileErrorCode, systemCode } from '../errors.js';
import { onAbort, pause } from '../util/abort.js';
import { timers } from '../util/event-loop.js';
import {
  invalidOption,
  isAnything,
  isSignal,
  MAX_TIMER,
  type OptionCheck,
  readOptions,
  whole,
} from '../util/read-options.js';
import { connectPacket, DISCONNECT, readConnack } from './mqtt.js';

/**
 * Where and as whom {@link confirmLogin} logs in.
 *
 * @example
 * const alice: LoginOptions = { host: 'localhost', port: 1883, username: 'alice', password: 'secret' };
 */
export interface LoginOptions {
  /** The broker's host name or IP address. */
  host: string;
  /** The port of an MQTT listener (not of WebSockets): 1883 on most brokers, with TLS 8883. */
  port: number;
  /** `true`, or options of `tls.connect` such as `ca`: the listener speaks TLS. Default `false`. */
  tls?: boolean | ConnectionOptions | undefined;
  /** The user name to log in with. */
  username: string;
  /** The user's password; `undefined`, an unset variable, is `ERR_INVALID_PASSWORD`. */
  password: string | Uint8Array | undefined;
  /** Milliseconds for all attempts together, until the broker must have let the user in. Default 10,000. */
  timeout?: number | undefined;
  /** Cancels: closes the connection and rejects with `signal.reason`. */
  signal?: AbortSignal | undefined;
  /** The client identifier, for brokers with `clientid_prefixes`. Default: 22 random hexadecimal digits. */
  clientId?: string | undefined;
}

const DEFAULT_TIMEOUT = 10_000;
/** Milliseconds from one attempt to the next: the first pause, doubled each time up to the longest. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 500;
/** How many milliseconds a broker that has let the user in has to close the connection. */
const LONGEST_CLOSE = 1_000;

/** Why an attempt failed. */
interface Failure {
  error: PasswordFileError;
  /** Whether another attempt may succeed. */
  isTransient: boolean;
  /** Whether there was a connection. */
  isConnected?: boolean;
}

/**
 * Resolves when a live broker has let this user in: connects with MQTT 3.1.1, user name and password until the broker
 * answers CONNACK 0, then disconnects. Refusals and failing connections are tried again within the timeout, because
 * the broker may be reloading or starting. A failure that another attempt cannot change, such as a wrong certificate,
 * is reported at once.
 *
 * With `use_username_as_clientid` in mosquitto.conf, a client that is connected under this name is disconnected, as
 * by any second login.
 *
 * @throws PasswordFileError `ERR_LOGIN_REFUSED`: the broker's last answer was a refusal. `ERR_LOGIN_FAILED`: no
 *   connection, or a dropped one, or no MQTT broker there. `ERR_LOGIN_TIMEOUT`: a connection, but no answer.
 *   `ERR_INVALID_ARGUMENT`, `ERR_INVALID_USERNAME`, `ERR_INVALID_PASSWORD`.
 * @example
 * ```ts
 * import { confirmLogin } from 'mosquitto-passwd-ts';
 *
 * try {
 *   await confirmLogin({ host: '127.0.0.1', port: 1883, username: 'alice', password: 'correct horse', timeout: 1_000 });
 *   console.log('alice can connect');
 * } catch (error) {
 *   console.log((error as { code?: string }).code); // ERR_LOGIN_REFUSED, or ERR_LOGIN_FAILED where no broker runs
 * }
 * ```
 */
export async function confirmLogin(options: LoginOptions): Promise<void> {
  const login = readLogin(options);
  const { timeout, signal } = login;
  const deadline = performance.now() + timeout;
  const left = () => Math.max(0, deadline - performance.now());

  const connect = await connector(login);
  signal?.throwIfAborted();
  let failure: Failure | undefined;
  for (let wait = FIRST_PAUSE; ; wait = Math.min(2 * wait, LONGEST_PAUSE)) {
    failure = await tryLogin(connect, login, left(), failure);
    if (failure === undefined) return;
    signal?.throwIfAborted();
    if (!failure.isTransient || left() < FIRST_PAUSE) throw failure.error;
    // Shorter towards the deadline, so that the last attempt is made shortly before it.
    await pause(Math.min(wait, left() / 2), signal);
  }
}

/** {@link LoginOptions}, checked and copied. */
type Login = LoginOptions & { password: string | Uint8Array; timeout: number; clientId: string };

function readLogin(options: LoginOptions): Login {
  const login = readOptions(options, LOGIN_CHECKS);
  const { timeout = DEFAULT_TIMEOUT, clientId = randomBytes(11).toString('hex') } = login;
  if (login.host === undefined || login.port === undefined) throw invalidOption('host and port', 'given');
  const [, password] = checkedLogin(login.username, login.password);
  return { ...login, password, timeout, clientId };
}

const isClientId = (id: unknown) => typeof id === 'string' && id !== '' && Buffer.byteLength(id) <= MAX_BYTES;

const LOGIN_CHECKS: { [K in keyof LoginOptions]-?: OptionCheck } = {
  // A URL may hold a password, which the system's error would show.
  host: host =>
    typeof host === 'string' && /^[^\0\s/@[\]]+$/.test(host)
      ? undefined
      : 'a host name or an IP address, not a URL and without brackets',
  port: /* @__PURE__ */ whole(1, 65_535),
  tls: tls =>
    tls !== null && ['boolean', 'object'].includes(typeof tls)
      ? undefined
      : 'true, false or options of tls.connect',
  username: isAnything,
  password: isAnything,
  timeout: /* @__PURE__ */ whole(1, MAX_TIMER),
  signal: isSignal,
  clientId: id => (isClientId(id) ? undefined : 'a string of 1 to 65535 bytes'),
};

/** Makes one connection and one login. Resolves when the connection is closed; `undefined`: the user was let in. */
function tryLogin(
  connect: () => Socket,
  login: Login,
  ms: number,
  last?: Failure,
): Promise<Failure | undefined> {
  const { clientId, username, password, signal, tls } = login;
  const hello = connectPacket(clientId, username, password);
  return new Promise(resolve => {
    const socket = connect();
    let outcome: Failure | 'accepted' | undefined;
    let isConnected = false;
    let answer = Buffer.alloc(0);
    const destroy = () => socket.destroy();
    let timer = timers.setTimeout(() => {
      // The failure of the attempt before says more than a timeout, unless only this attempt has got a connection.
      const isFirst = last === undefined || (isConnected && !last.isConnected);
      outcome ??= isFirst ? timedOut(login, isConnected) : last;
      destroy();
    }, ms);
    const stopListening = signal && onAbort(signal, destroy);
    socket
      .on('connect', () => {
        isConnected = true;
      })
      // With TLS not on 'connect': the password is sent only after the certificate has been checked.
      .on(tls ? 'secureConnect' : 'connect', () => socket.write(hello))
      .on('data', (chunk: Buffer) => {
        if (outcome !== undefined) return;
        answer = Buffer.concat([answer, chunk]);
        outcome = outcomeOf(answer, login);
        if (outcome === 'accepted') {
          socket.end(DISCONNECT);
          timers.clearTimeout(timer);
          timer = timers.setTimeout(destroy, LONGEST_CLOSE);
        } else if (outcome !== undefined) destroy();
      })
      .on('error', cause => {
        outcome ??= connectionFailed(login, cause);
      })
      .on('close', () => {
        timers.clearTimeout(timer);
        stopListening?.();
        const dropped = `failed: the connection was dropped without an answer. ${tlsHint(login)}`;
        outcome ??= failed(login, 'ERR_LOGIN_FAILED', dropped, true);
        resolve(outcome === 'accepted' ? undefined : { ...outcome, isConnected });
      });
  });
}

/** Loads node:net and node:tls only now: TLS alone would double the time that importing this library takes. */
async function connector({ host, port, tls: tlsOptions }: Login): Promise<() => Socket> {
  const net = await import('node:net');
  if (!tlsOptions) return () => net.connect({ host, port });
  const tls = await import('node:tls');
  // By default node:tls sends no server name, by which proxies choose. An IP address is not one (RFC 6066 section 3).
  const servername = net.isIP(host) ? {} : { servername: host };
  return () => {
    try {
      return tls.connect({ ...servername, ...(tlsOptions === true ? {} : tlsOptions), host, port });
    } catch (cause) {
      const message = `The options in tls do not work (${systemCode(cause)}).`;
      throw new PasswordFileError('ERR_INVALID_ARGUMENT', message, { cause });
    }
  };
}

/** `undefined`: more bytes are to come. */
function outcomeOf(answer: Uint8Array, login: Login): Failure | 'accepted' | undefined {
  const code = readConnack(answer);
  if (code === 0) return 'accepted';
  if (code === 'incomplete') return undefined;
  if (code === 'not MQTT') {
    const problem = `failed: what answers there is no listener for MQTT over TCP. ${tlsHint(login)}`;
    return failed(login, 'ERR_LOGIN_FAILED', problem);
  }
  const problem = `was refused with CONNACK ${code}, ${refusal(code)}`;
  return failed(login, 'ERR_LOGIN_REFUSED', problem, [3, 4, 5].includes(code));
}

const UNKNOWN =
  'The file that the broker read last does not hold this user with this password. Has it reloaded, does ' +
  'password_file in mosquitto.conf name the file that was edited, and may the user that the broker runs as read it?';

/** A CONNACK return code (MQTT 3.1.1 section 3.2.2.3) in words, with what to do. */
function refusal(code: number): string {
  switch (code) {
    case 1:
      return 'unacceptable protocol version. The listener must accept MQTT 3.1.1 (accept_protocol_versions in mosquitto.conf).';
    case 2:
      return 'identifier rejected. Set clientId to an identifier that the broker accepts.';
    case 3:
      return 'server unavailable. The log of the broker may say why.';
    case 4:
      return `bad user name or password. ${UNKNOWN}`;
    case 5:
      return `not authorized. ${UNKNOWN} With clientid_prefixes there, set clientId.`;
    default:
      return 'which MQTT 3.1.1 does not know.';
  }
}

function timedOut(login: Login, isConnected: boolean): Failure {
  const within = `within ${login.timeout} ms`;
  const problem = isConnected
    ? `was not answered ${within}. Is the broker busy, or stopped? ${tlsHint(login)}`
    : `failed: no connection ${within}. Does a firewall block it?`;
  return failed(login, isConnected ? 'ERR_LOGIN_TIMEOUT' : 'ERR_LOGIN_FAILED', problem);
}

function connectionFailed(login: Login, cause: NodeJS.ErrnoException): Failure {
  const { code = '', message } = cause;
  // An error of the system, not one of TLS (ERR_…; of OpenSSL also EPROTO) or a certificate.
  const isTransient = /^E(?!RR|PROTO)/.test(code);
  const remedy = isTransient
    ? 'Does the broker run, and listen there?'
    : 'Set tls: ca to trust its certificate (on the command line --cafile), servername if that is for another name, cert and key if it asks for them.';
  const problem = `failed: ${message.trim() || code}. ${remedy} ${tlsHint(login)}`;
  return failed(login, 'ERR_LOGIN_FAILED', problem, isTransient, cause);
}

function tlsHint({ tls }: Login): string {
  return `${tls ? 'If it has no TLS, leave out tls' : 'If it speaks TLS, set tls'} (on the command line --cafile).`;
}

function failed(
  { host, port, username }: Login,
  code: PasswordFileErrorCode,
  problem: string,
  isTransient = false,
  cause?: unknown,
): Failure {
  const message = `The login at ${host.includes(':') ? `[${host}]` : host}:${port} ${problem}`;
  return { error: new PasswordFileError(code, message, { username, cause }), isTransient };
}

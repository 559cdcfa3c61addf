/** The packets of a login: CONNECT, CONNACK and DISCONNECT. The sections are those of the MQTT 3.1.1 specification. */

/** Section 3.14. */
export const DISCONNECT: Uint8Array = /* @__PURE__ */ Uint8Array.of(0xe0, 0);

/** Section 3.1.2.3: clean session, a password and a user name. */
const CONNECT_FLAGS = 0xc2;
const PROTOCOL_LEVEL = 4;
/** Seconds. With `max_keepalive` Mosquitto refuses 0 and more than that. */
const KEEP_ALIVE = 10;

/** CONNECT, the first packet of a client (section 3.1). */
export function connectPacket(clientId: string, username: string, password: string | Uint8Array): Uint8Array {
  const header = Uint8Array.of(PROTOCOL_LEVEL, CONNECT_FLAGS, 0, KEEP_ALIVE);
  const rest = Buffer.concat([field('MQTT'), header, field(clientId), field(username), field(password)]);
  return Buffer.concat([Uint8Array.of(0x10, ...remainingLength(rest.length)), rest]);
}

/** A string or bytes with their length before them (section 1.5.3). */
function field(value: string | Uint8Array): Uint8Array {
  const bytes = Buffer.from(value);
  return Buffer.concat([Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes]);
}

/** Section 2.2.3: seven bits a byte, the lowest first; the eighth says that more follow. */
function remainingLength(length: number): number[] {
  return length < 0x80 ? [length] : [0x80 | (length & 0x7f), ...remainingLength(length >> 7)];
}

/** CONNACK up to its return code (section 3.2): packet type, remaining length, session present or not. */
const CONNACK = [[0x20], [2], [0, 1]];

/**
 * The return code of a CONNACK that may still be arriving. `'incomplete'`: more bytes are to come. `'not MQTT'`: the
 * bytes are not the beginning of a CONNACK.
 */
export function readConnack(bytes: Uint8Array): number | 'incomplete' | 'not MQTT' {
  if (!CONNACK.every((allowed, at) => at >= bytes.length || allowed.includes(bytes[at] as number)))
    return 'not MQTT';
  return bytes[CONNACK.length] ?? 'incomplete';
}

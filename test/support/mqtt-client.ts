/** Connected MQTT clients, and traffic through a broker. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { generate, type Packet, parser } from 'mqtt-packet';

export class MqttClient {
  readonly #socket: Socket;
  readonly #pings = new Map<string, () => void>();
  #count = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** A connection on which no packet has been sent. */
  static async open(port: number): Promise<MqttClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.setNoDelay(true);
    return new MqttClient(socket);
  }

  /** Rejects unless the broker lets the user in. */
  static async connect(port: number, username: string, password: string): Promise<MqttClient> {
    const client = await MqttClient.open(port);
    const code = await client.login(username, password);
    if (code !== 0) throw new Error(`the broker answers ${code} to ${username}`);
    return client;
  }

  /** What the broker answers: 0 lets the user in. The client identifier is the user name. */
  login(username: string, password: string): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const packets = parser().on('packet', packet => {
        if (packet.cmd === 'connack') resolve(packet.returnCode);
        else this.#receive(packet);
      });
      this.#socket
        .on('data', data => packets.parse(data))
        .on('error', reject)
        .on('close', () => reject(new Error('the broker has closed the connection')));
      const clientId = username;
      this.#send({ cmd: 'connect', clientId, clean: true, username, password: Buffer.from(password) });
    });
  }

  get isConnected(): boolean {
    return !this.#socket.destroyed;
  }

  /** Resolves when the connection is closed. */
  get closed(): Promise<unknown> {
    return this.#socket.destroyed ? Promise.resolve() : once(this.#socket, 'close');
  }

  subscribe(topic: string): void {
    this.#send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 0 }] });
  }

  publish(topic: string, payload: string): void {
    this.#send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false });
  }

  /** The milliseconds that a message takes to the broker and back. The client must be subscribed to the topic. */
  async ping(topic: string): Promise<number> {
    const payload = String(this.#count++);
    const start = performance.now();
    const back = new Promise<void>(resolve => this.#pings.set(payload, resolve));
    this.publish(topic, payload);
    await back;
    return performance.now() - start;
  }

  async close(): Promise<void> {
    if (this.#socket.destroyed) return;
    this.#send({ cmd: 'disconnect' });
    this.#socket.destroy();
    await once(this.#socket, 'close');
  }

  #receive(packet: Packet): void {
    if (packet.cmd !== 'publish') return;
    const payload = String(packet.payload);
    this.#pings.get(payload)?.();
    this.#pings.delete(payload);
  }

  #send(packet: Packet): void {
    this.#socket.write(generate(packet));
  }
}

/** Real brokers with the dynamic-security plugin, and whether they let a client publish. */
import { execFile } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { generate, type IConnectPacket, type IPublishPacket, parser } from 'mqtt-packet';
import type { DynamicSecurityClient } from '../../src/export/dynamic-security.js';
import { type Broker, type RunningBroker, startBroker } from './broker.js';

const LIBRARIES = '/usr/lib/x86_64-linux-gnu';

/** The plugin that came with a broker; `undefined`: none did. */
function pluginOf(broker: Broker): string | undefined {
  const name = 'mosquitto_dynamic_security.so';
  const unpacked = join(dirname(broker.path), '../root', LIBRARIES, name);
  return [unpacked, join(LIBRARIES, name)].find(path => existsSync(path));
}

/** Runs the `mosquitto_ctrl` that came with a broker; it has to succeed. Returns what it prints. */
export async function mosquittoCtrl(broker: Broker, ...args: string[]): Promise<string> {
  const release = join(dirname(broker.path), '..');
  const unpacked = join(release, 'root/usr/bin/mosquitto_ctrl');
  const command = existsSync(unpacked)
    ? [join(release, 'mosquitto'), '--library-path', join(release, 'root', LIBRARIES), unpacked]
    : ['mosquitto_ctrl'];
  const [program = '', ...first] = command;
  return (await promisify(execFile)(program, [...first, ...args])).stdout;
}

/** What the plugin reads: these clients, and a role `device` that may publish. */
export function dynamicSecurityFile(clients: readonly DynamicSecurityClient[]): string {
  const acls = [{ acltype: 'publishClientSend', topic: 'devices/#', allow: true }];
  const defaultACLAccess = {
    publishClientSend: false,
    publishClientReceive: true,
    subscribe: false,
    unsubscribe: true,
  };
  return JSON.stringify({ clients, roles: [{ rolename: 'device', acls }], defaultACLAccess });
}

/** The lines of a broker's configuration that load the plugin with a file. */
export function pluginConfig(broker: Broker, path: string): string {
  return `plugin ${pluginOf(broker)}\nplugin_opt_config_file ${path}`;
}

/** Starts a broker that lets in the clients of the plugin's file. */
export async function startWithClients(
  broker: Broker,
  path: string,
  clients: readonly DynamicSecurityClient[],
): Promise<RunningBroker> {
  writeFileSync(path, dynamicSecurityFile(clients));
  return startBroker(broker, { config: pluginConfig(broker, path) });
}

/**
 * The reason code that a broker answers to MQTT 5 PUBLISH with QoS 1: 0 and 16 (no subscribers) are success, 135 is not
 * authorized. `null`: it does not let the client in.
 */
export async function publish(
  port: number,
  username: string,
  password: string,
  topic: string,
): Promise<number | null> {
  const hello: IConnectPacket = {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 5,
    clientId: 'publisher',
    clean: true,
    username,
    password: Buffer.from(password),
  };
  const message: IPublishPacket = {
    cmd: 'publish',
    messageId: 1,
    qos: 1,
    dup: false,
    retain: false,
    topic,
    payload: 'on',
  };
  return new Promise((resolve, reject) => {
    let answer: number | null = null;
    const socket = connect(port, '127.0.0.1', () => socket.write(generate(hello)));
    const packets = parser({ protocolVersion: 5 }).on('packet', packet => {
      if (packet.cmd === 'connack' && packet.reasonCode === 0) {
        socket.write(generate(message, { protocolVersion: 5 }));
        return;
      }
      if (packet.cmd === 'puback') answer = packet.reasonCode ?? 0;
      socket.end();
    });
    socket
      .on('data', data => packets.parse(data))
      .on('error', reject)
      .on('close', () => resolve(answer));
  });
}

/** A Node with crypto.argon2, which test/support/install-runtimes.sh installs beside the one that runs the tests. */
import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Need } from './require.js';

const { MOSQUITTO_NODE_24, XDG_CACHE_HOME } = process.env;

export const NODE_24 =
  MOSQUITTO_NODE_24 ||
  join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'mosquitto-passwd-ts/node-24/bin/node');

export const node24: Need = {
  what: 'Node 24 (MOSQUITTO_NODE_24 names one, or test/support/install-runtimes.sh gets one)',
  isProgram: true,
  met: () => {
    try {
      accessSync(NODE_24, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  },
};

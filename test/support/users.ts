import { readFileSync } from 'node:fs';
import type { User } from './as-user.js';

/** A user of this machine (passwd(5)). */
export function userNamed(name: string): User | undefined {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  const [, , uid, gid] = lines.find(line => line.startsWith(`${name}:`))?.split(':') ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

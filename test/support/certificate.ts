/** Certificates for brokers on this machine, by openssl. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './directory.js';

/** Makes a key and a self-signed certificate for localhost and 127.0.0.1. Any user may read them. */
export function certificate(directory: string): { key: string; cert: string } {
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  run('openssl', 'req', '-x509', '-days', '2', ...newKey, ...names, '-out', cert);
  chmodSync(key, 0o644);
  return { key, cert };
}

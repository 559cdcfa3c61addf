/** Processes in place of a broker, which report each SIGHUP that they get. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, onTestFinished } from 'vitest';

/** Reports each SIGHUP and SIGUSR2. If it does not listen for SIGHUP yet, a line makes it. */
const STAND_IN = `
  const work = Number(process.argv[3]);
  const listen = () => process.on('SIGHUP', () => {
    console.log('SIGHUP');
    const start = process.cpuUsage();
    for (let used; work > 0; ) if ((used = process.cpuUsage(start)).user + used.system > work * 1_000) break;
  });
  process.title = process.argv[1];
  process.on('SIGUSR2', () => console.log('SIGUSR2'));
  if (process.argv[2] === 'listening') listen();
  // A broker too wakes now and then.
  setInterval(() => {}, 20);
  process.stdin.on('data', () => { listen(); console.log('listening'); });
  console.log('ready');
`;

/**
 * @param as options of setpriv, to run it as another user
 * @param work milliseconds of CPU time that SIGHUP costs it
 */
export async function standIn({ name = 'mosquitto', listening = true, as = '', work = 0 } = {}) {
  const node = [process.execPath, '-e', STAND_IN, name, listening ? 'listening' : 'deaf', String(work)];
  const [program = '', ...args] = as === '' ? node : ['setpriv', ...as.split(' '), ...node];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value;
  const says = async (line: string) => expect(await next()).toBe(line);
  await says('ready');
  return {
    pid: child.pid as number,
    async kill() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
    async listen() {
      child.stdin.write('listen');
      await says('listening');
    },
    /** Waits until it gets SIGHUP. */
    hangup: () => says('SIGHUP'),
    /** How many SIGHUPs it has got since this was last asked: those that were sent come before this. */
    async hangups(): Promise<number> {
      child.kill('SIGUSR2');
      for (let count = 0; ; count++) if ((await next()) !== 'SIGHUP') return count;
    },
  };
}

/** A name that no other process has, as long as Linux allows. */
export function uniqueName(): string {
  return `mq${randomBytes(6).toString('hex')}x`;
}

/** Processes in place of a broker, which report each SIGHUP that they receive. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { type Need, program } from './require.js';

/** Reports each SIGHUP and SIGUSR2. Input makes it listen for SIGHUP if it does not yet. In Perl, which starts quickly. */
const STAND_IN = `
  my ($name, $state, $work, $reads, $user, $groups, $setuid) = @ARGV;
  $| = 1;
  sub used { my ($user, $system) = times; return 1000 * ($user + $system) }
  sub hangup {
    print "SIGHUP\\n";
    my $start = used();
    1 while used() - $start < $work;
    sysread STDIN, my $line, 100 if $reads;
  }
  sub obey { $SIG{HUP} = \\&hangup; }
  if ($user ne "") { $) = "$user $groups"; $( = $user; $< = $user; $> = $user if !$setuid; }
  $0 = $name;
  $SIG{USR2} = sub { print "SIGUSR2\\n" };
  obey() if $state eq "listening";
  print "ready\\n";
  while (1) {
    # A broker too wakes now and then.
    vec(my $ready = "", 0, 1) = 1;
    next if select($ready, undef, undef, 0.02) < 1;
    last if !sysread STDIN, my $line, 100;
    obey();
    print "listening\\n";
  }
`;

/** What the tests with stand-ins need. */
export const perl: Need = program('perl');

export interface StandInOptions {
  name?: string;
  listening?: boolean;
  /** The user that it runs as, in the group of the same number and in these groups. Default: the user of the tests. */
  as?: { user: number; groups?: number[] };
  /** Whether only its real user is changed, as in a setuid program. */
  setuid?: boolean;
  /** Milliseconds of CPU time that SIGHUP costs it. */
  work?: number;
  /** Whether SIGHUP makes it wait for input, in read(2) instead of poll(2) or select(2). */
  reads?: boolean;
}

export async function standIn(options: StandInOptions = {}) {
  const { name = 'mosquitto', listening = true, as, setuid = false, work = 0, reads = false } = options;
  const groups = [as?.user, ...(as?.groups ?? [])].join(' ');
  const state = listening ? 'listening' : 'deaf';
  const args = [name, state, work, reads ? '1' : '', as?.user ?? '', groups, setuid ? '1' : ''].map(String);
  const child = spawn('perl', ['-e', STAND_IN, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value;
  const says = async (line: string) => expect(await next()).toBe(line);
  await says('ready');
  // It may be awake for some time after that.
  while (!/^State:\s*S/m.test(await readFile(`/proc/${child.pid}/status`, 'utf8'))) await pause(1);
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
    /** Writes a line to its standard input. */
    write: () => void child.stdin.write('line\n'),
    /** Waits until it reports SIGHUP. */
    hangup: () => says('SIGHUP'),
    /** How many SIGHUPs it has received since the last call. SIGUSR2 is reported after all SIGHUPs sent before it. */
    async hangups(): Promise<number> {
      child.kill('SIGUSR2');
      for (let count = 0; ; count++) if ((await next()) !== 'SIGHUP') return count;
    },
  };
}

/** A process name of the maximum length on Linux, which no other process has. */
export function uniqueName(): string {
  return `mq${randomBytes(6).toString('hex')}x`;
}

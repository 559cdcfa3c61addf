/** Processes in place of a broker, which report each SIGHUP that they get. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, onTestFinished } from 'vitest';
import { type Need, program } from './require.js';

/** Reports each SIGHUP and SIGUSR2. If it does not listen for SIGHUP yet, a line makes it. In Perl, which starts at once. */
const STAND_IN = `
  my ($name, $state, $work, $user, $groups, $setuid) = @ARGV;
  $| = 1;
  sub used { my ($user, $system) = times; return 1000 * ($user + $system) }
  sub hangup { print "SIGHUP\\n"; my $start = used(); 1 while used() - $start < $work; }
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
  /** Whom it runs as: this user, in the group of the same number and in these ones. Default: whoever runs the tests. */
  as?: { user: number; groups?: number[] };
  /** Its real user alone is changed, as that of somebody who runs a setuid program. */
  setuid?: boolean;
  /** Milliseconds of CPU time that SIGHUP costs it. */
  work?: number;
}

export async function standIn(options: StandInOptions = {}) {
  const { name = 'mosquitto', listening = true, as, setuid = false, work = 0 } = options;
  const groups = [as?.user, ...(as?.groups ?? [])].join(' ');
  const state = listening ? 'listening' : 'deaf';
  const args = [name, state, work, as?.user ?? '', groups, setuid ? '1' : ''].map(String);
  const child = spawn('perl', ['-e', STAND_IN, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
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

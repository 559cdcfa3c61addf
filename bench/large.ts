/** A file of a million users: many edits, memory, `verify`, `check`, and stretches without a turn of the event loop. */
import { statSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { bestInFlight, inFlight, rawHash } from './hashing.js';
import { compare, type Spread, spread, timed } from './measure.js';
import type { Row } from './report.js';
import { expectEqual, expectUser, library, makeFile, nameOf, PASSWORD, run } from './setting.js';

const DIST = new URL('../dist/index.js', import.meta.url).href;

/** Edits as text: half of them change users of the file, the others add new ones. */
const EDITS = `draft => {
  const hash = draft.get('${nameOf(0)}');
  for (let i = 0; i < COUNT / 2; i++) draft.set('${nameOf(0).slice(0, -8)}' + (i * STEP).toString(36).padStart(8, '0'), hash.replace('$101$', '$102$'));
  for (let i = 0; i < COUNT / 2; i++) draft.set('new' + i, hash);
}`;

function edits(users: number, count: number): string {
  return EDITS.replaceAll('COUNT', String(count)).replaceAll('STEP', String(Math.floor((users * 2) / count)));
}

export async function manyEdits(users: number, count: number, rounds: number): Promise<Row> {
  const path = makeFile('large', users);
  const edit = new Function(`return ${edits(users, count)}`)();
  let round = 0;
  // Each in an instance of its own, so that neither finds the file in the cache.
  const one = async () => {
    const file = new library.PasswordFile(path);
    const time = await timed(() => file.setUser(`one${round++}`, PASSWORD));
    await expectUser(path, `one${round - 1}`, PASSWORD);
    return time;
  };
  const many = async () => {
    await new library.PasswordFile(path).removeUsers(Array.from({ length: count / 2 }, (_, i) => `new${i}`));
    const file = new library.PasswordFile(path);
    const time = await timed(() => file.update(edit));
    expectEqual(await file.hasUser(`new${count / 2 - 1}`), true, 'the last edit');
    return time;
  };
  return {
    what: `update() with ${count} edits, ${users} users`,
    rival: 'one setUser there',
    ...(await compare(rounds, many, one)),
    goal: { ratio: 1 / 1.5 },
  };
}

/** The peak memory of a process with one such update, over that of a bare Node. */
export async function memory(users: number, count: number): Promise<Row> {
  const path = makeFile('memory', users);
  const megabytes = statSync(path).size / 1e6;
  // Not resourceUsage(): its peak is inherited from the process that forked this one.
  const peak = `console.log(/VmHWM:\\s*(\\d+)/.exec(require('node:fs').readFileSync('/proc/self/status', 'utf8'))[1])`;
  const bare = Number((await run(process.execPath, ['-e', peak])).stdout);
  const program = `
    import(${JSON.stringify(DIST)}).then(async ({ PasswordFile }) => {
      await new PasswordFile(${JSON.stringify(path)}).update(${edits(users, count)});
      ${peak};
    });`;
  const { stdout } = await run(process.execPath, ['-e', program]);
  await expectUser(path, nameOf(users - 1), PASSWORD);
  const over = ((Number(stdout) - bare) * 1024) / 1e6;
  return {
    what: `memory of update() with ${count} edits, ${users} users`,
    ours: spread([over]),
    unit: 'MB',
    goal: { atMost: Math.round(megabytes + 60) },
    note: `peak over a bare Node; the file has ${megabytes.toFixed(0)} MB`,
  };
}

export async function verifying(users: number, total: number, rounds: number): Promise<Row[]> {
  const path = makeFile('verify', users);
  const file = new library.PasswordFile(path);
  const first = await timed(() => file.verify(nameOf(0), PASSWORD));
  const names = Array.from({ length: total }, (_, i) => nameOf((i * 7919) % users));
  const verify = (i: number) => file.verify(names[i] as string, PASSWORD);
  const expectTrue = (verified: boolean) => expectEqual(verified, true, 'verified');
  const [best, rawBest] = [await bestInFlight(total, verify), await bestInFlight(total)];
  const warm = await compare(
    rounds,
    () => timed(() => inFlight(best, total, verify, expectTrue)),
    () => timed(() => inFlight(rawBest, total, rawHash)),
  );

  await appendFile(path, `late:${await library.hashPassword(PASSWORD)}\n`);
  expectEqual(await file.verify('late', PASSWORD), true, 'a changed file is noticed by the next call');
  return [
    {
      what: `${total} × verify, warm, ${users} users, ${best} in flight`,
      rival: `raw crypto.pbkdf2, ${rawBest} in flight`,
      ...warm,
      goal: { ratio: 0.8 },
    },
    { what: `the first verify, ${users} users`, ours: spread([first]), note: 'one scan' },
  ];
}

export async function checking(users: number, rounds: number): Promise<Row> {
  const path = makeFile('check', users);
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const file = new library.PasswordFile(path);
    times.push(
      await timed(async () => expectEqual((await file.check()).users.length, users, 'users that can log in')),
    );
  }
  return { what: `check(), ${users} lines`, ours: spread(times), goal: { atMost: 1500 } };
}

/** For each call, the longest stretch without a turn of the event loop. */
export async function stretches(users: number): Promise<Row[]> {
  const path = makeFile('loop', users);
  const plain = Array.from({ length: 1000 }, (_, i) => `plain${i}:secret ${i}\n`).join('');
  // A duplicate, so that names are to be told apart. Mosquitto 2.0 loads the file.
  await appendFile(path, `${plain}${nameOf(0)}:x\n`);
  const calls: Record<string, (file: InstanceType<typeof library.PasswordFile>) => Promise<unknown>> = {
    setUser: file => file.setUser('alice', PASSWORD),
    update: file => file.update(draft => draft.delete('alice')),
    'upgrade (1000 plain lines)': file => file.upgrade(),
    verify: file => file.verify(nameOf(1), PASSWORD),
    users: file => file.users(),
    check: file => file.check(),
  };
  const rows: Row[] = [];
  for (const [name, call] of Object.entries(calls)) {
    const longest: number[] = [];
    for (let round = 0; round < 3; round++) {
      const file = new library.PasswordFile(path, { broker: '2.0' });
      longest.push(await longestStretch(() => call(file)));
    }
    rows.push({
      what: `longest stretch without a turn of the event loop: ${name}, ${users} users`,
      ours: spread(longest) satisfies Spread,
      goal: { atMost: 50 },
    });
  }
  return rows;
}

export async function longestStretch(work: () => Promise<unknown>): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await new Promise(resolve => setTimeout(resolve, 20));
  delay.reset();
  await work();
  await new Promise(resolve => setTimeout(resolve, 5));
  delay.disable();
  return delay.max / 1e6;
}

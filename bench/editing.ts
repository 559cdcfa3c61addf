/** Edits of one user, of a thousand users at once, and of plain-text files, compared with mosquitto_passwd and a recipe. */
import * as fs from 'node:fs';
import { copyFile, readFile } from 'node:fs/promises';
import { lockfileRecipe } from './competitors.js';
import { bestInFlight, inFlight, rawHash } from './hashing.js';
import { compare, repeat, spread, timed, warmUp } from './measure.js';
import type { Row, Series } from './report.js';
import { expectEqual, expectUser, library, makeFile, nameOf, PASSWORD, spawnTool } from './setting.js';

/** A run that adds one new user to a file; `add` gets a new name at each run. */
function adding(path: string, prefix: string, add: (name: string) => Promise<unknown>) {
  let added = 0;
  return async (): Promise<number> => {
    const name = `${prefix}${added++}`;
    const time = await timed(() => add(name));
    await expectUser(path, name, PASSWORD);
    settle(path);
    return time;
  };
}

/** Syncs the file, so that the data that a run left unwritten does not slow the next one down. */
function settle(path: string): void {
  const fd = fs.openSync(path, 'r');
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

export async function oneUser(users: number, rounds: number): Promise<Row[]> {
  const path = makeFile('one', users);
  const file = new library.PasswordFile(path);
  const ours = adding(path, 'ours', name => file.setUser(name, PASSWORD));
  const tool = adding(path, 'tool', name => spawnTool('-b', path, name, PASSWORD));
  const recipe = adding(path, 'recipe', name => lockfileRecipe.add(path, name, PASSWORD));
  const what = `setUser, ${users} users in the file`;
  const large = users >= 1_000_000;
  return [
    {
      what,
      rival: 'mosquitto_passwd -b, spawned (does not sync)',
      ...(await compare(rounds, ours, tool)),
      goal: { ratio: 3 },
    },
    {
      what,
      rival: 'proper-lockfile + write-file-atomic',
      ...(await compare(Math.min(rounds, 5), ours, recipe)),
    },
    ...(large ? [await againstTheLimit(path, ours, rounds)] : []),
  ];
}

/** Compares with the plainest code that reads, writes, syncs and renames the same bytes. */
async function againstTheLimit(path: string, ours: () => Promise<number>, rounds: number): Promise<Row> {
  const limit = () => timed(() => copySynced(path));
  return {
    what: 'setUser, the same file',
    rival: 'read, write, sync, rename, sync: the plainest loop',
    ...(await compare(rounds, ours, limit)),
    goal: { ratio: 1 / 1.2 },
    note: 'the limit of this disk',
  };
}

export function copySynced(path: string): void {
  const bytes = fs.readFileSync(path);
  const copy = `${path}.copy`;
  const fd = fs.openSync(copy, 'w', 0o600);
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done);
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  fs.renameSync(copy, `${path}.copied`);
  const directory = fs.openSync(`${path}/..`.replace(/\/[^/]+\/\.\.$/, ''), 'r');
  fs.fsyncSync(directory);
  fs.closeSync(directory);
}

export async function atOnce(count: number, rounds: number): Promise<Row> {
  const path = makeFile('at-once', 1000);
  let round = 0;
  const ours = async () => {
    const file = new library.PasswordFile(path);
    const prefix = `ours${round++}-`;
    const names = Array.from({ length: count }, (_, i) => `${prefix}${i}`);
    const time = await timed(() => Promise.all(names.map(name => file.setUser(name, PASSWORD))));
    await expectUser(path, names[count - 1] as string, PASSWORD);
    await file.removeUsers(names);
    return time;
  };
  const tool = async () => {
    const prefix = `tool${round++}-`;
    const names = Array.from({ length: count }, (_, i) => `${prefix}${i}`);
    const time = await timed(async () => {
      for (const name of names) await spawnTool('-b', path, name, PASSWORD);
    });
    await expectUser(path, names[count - 1] as string, PASSWORD);
    await new library.PasswordFile(path).removeUsers(names);
    return time;
  };
  return {
    what: `${count} concurrent setUser, 1000 users in the file`,
    rival: `${count} × mosquitto_passwd -b, one after the other`,
    ...(await compare(rounds, ours, tool)),
    goal: { ratio: 100 },
  };
}

export async function upgrading(users: number, rounds: number, sample: number): Promise<Row[]> {
  const best = await bestInFlight(sample);
  const plain = makeFile('plain', users, 'plain');
  const path = `${plain}.now`;
  const last = nameOf(users - 1);
  const upgraded = (upgrade: () => Promise<unknown>) => async () => {
    await copyFile(plain, path);
    const time = await timed(upgrade);
    await expectUser(path, last, `secret of ${last}`);
    return time;
  };
  const ours = upgraded(async () => {
    expectEqual((await new library.PasswordFile(path).upgrade()).length, users, 'upgraded');
  });
  return [
    {
      what: `upgrade(), ${users} plain lines`,
      rival: 'mosquitto_passwd -U',
      ...(await compare(
        rounds,
        ours,
        upgraded(() => spawnTool('-U', path)),
      )),
      goal: { ratio: 2 },
    },
    {
      what: 'upgrade(), the same lines',
      rival: `as many raw crypto.pbkdf2, ${best} in flight`,
      ...(await compare(rounds, ours, () => timed(() => inFlight(best, users, rawHash)))),
      goal: { ratio: 1 / 1.2 },
      note: 'the limit of OpenSSL on these cores',
    },
  ];
}

/** The duration of adding one user, by the size of the file. */
export async function growth(sizes: readonly number[], rounds: number): Promise<Series[]> {
  const series: Series[] = [
    { name: 'this library', points: [] },
    { name: 'mosquitto_passwd', points: [] },
    { name: 'lockfile + atomic', points: [] },
  ];
  for (const users of sizes) {
    const path = makeFile('growth', users);
    const file = new library.PasswordFile(path);
    const ways = [
      adding(path, 'ours', name => file.setUser(name, PASSWORD)),
      adding(path, 'tool', name => spawnTool('-b', path, name, PASSWORD)),
      adding(path, 'recipe', name => lockfileRecipe.add(path, name, PASSWORD)),
    ];
    const times: number[][] = [[], [], []];
    for (const way of ways) await warmUp(way);
    for (let round = 0; round < rounds; round++) {
      for (const [i, way] of ways.entries()) times[i]?.push(await way());
    }
    for (const [i, { points }] of series.entries()) points.push([users, spread(times[i] ?? []).median]);
  }
  return series;
}

/** The duration of calls of the library by the size of the file, and of the plainest loop that finds all names. */
export async function growthOfCalls(sizes: readonly number[], rounds: number): Promise<Series[]> {
  const calls: Record<string, (path: string, users: number) => Promise<void>> = {
    'update, 100 edits': async path => {
      const names = Array.from({ length: 100 }, (_, i) => nameOf(i));
      const deleted = await new library.PasswordFile(path).update(draft =>
        names.filter(name => draft.delete(name)),
      );
      expectEqual(deleted.length, 100, 'users taken out');
    },
    'first verify': async path =>
      expectEqual(await new library.PasswordFile(path).verify(nameOf(1), PASSWORD), true, 'verified'),
    check: async (path, users) =>
      expectEqual(
        (await new library.PasswordFile(path).check()).users.length,
        users,
        'users that can log in',
      ),
    'names, plainest loop': async (path, users) => expectEqual((await namesIn(path)).size, users, 'names'),
  };
  const series: Series[] = [];
  for (const [name, call] of Object.entries(calls)) {
    const points: Series['points'] = [];
    for (const users of sizes) {
      const source = makeFile('source', users);
      const path = `${source}.now`;
      const once = async () => {
        await copyFile(source, path);
        return timed(() => call(path, users));
      };
      points.push([users, (await repeat(rounds, once)).median]);
    }
    series.push({ name, points });
  }
  return series;
}

/** The plainest loop that reads a file and collects its names, which `check` must do too. */
async function namesIn(path: string): Promise<Set<string>> {
  const bytes = await readFile(path);
  const names = new Set<string>();
  for (let start = 0; start < bytes.length; start = bytes.indexOf('\n', start) + 1)
    names.add(bytes.toString('latin1', start, bytes.indexOf(':', start)));
  return names;
}

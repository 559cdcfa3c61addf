/** Files that are made to stall those who read them, and the time from an abort to the end of a call. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { longestStretch } from './large.js';
import { small, spread } from './measure.js';
import type { Row } from './report.js';
import { directory, library, makeFile, nameOf, PASSWORD } from './setting.js';

type File = InstanceType<typeof library.PasswordFile>;

const HASH = `$7$101$AQIDBAUGBwgJCgsM$${Buffer.alloc(64, 1).toString('base64')}`;

/** All methods that read the file. */
const methods: Record<string, (file: File, signal?: AbortSignal) => Promise<unknown>> = {
  users: (file, signal) => file.users({ signal }),
  getHash: (file, signal) => file.getHash('alice', { signal }),
  verify: (file, signal) => file.verify(nameOf(1), PASSWORD, { signal }),
  check: (file, signal) => file.check({ signal }),
  upgrade: (file, signal) => file.upgrade({ signal }),
  removeUser: (file, signal) => file.removeUser('a', { signal }),
  setHash: (file, signal) => file.setHash('alice', HASH, { signal }),
  setUser: (file, signal) => file.setUser('bob', PASSWORD, { signal }),
};

/** Files of about so many bytes. Each is made when it is needed, because garbage of this process would stall it too. */
function* hostileFiles(bytes: number): Generator<Buffer> {
  const repeat = (text: string) => Buffer.alloc(bytes, text, 'latin1');
  const lines = (line: (n: number) => string) => {
    const file = Buffer.alloc(bytes);
    for (let n = 0, used = 0; used < bytes; n++) used += file.write(line(n), used, 'latin1');
    return file;
  };
  yield lines(n => `${n.toString(36)}:\n`);
  yield lines(n => `d${n}:$6$\n`);
  for (const line of ['a:\n', '\0\n', '\n', ':', '#:$7$\n', '\xff:x\n', 'no colon\n', 'alice:x\0\n'])
    yield repeat(line);
  const around = (before: string, middle: string, after: string) =>
    Buffer.concat([Buffer.from(before), repeat(middle), Buffer.from(after)]);
  for (const text of ['1', '$', '$7', ' ']) yield around('alice:$7$', text, '$AQIDBAUGBwgJCgsM$x\n');
  yield around('alice', ' ', ':x\n');
  yield around('', 'n', ':x\n');
}

/** For each method, the longest stretch without a turn of the event loop, for any of these files. */
export async function hostileStretches(bytes: number): Promise<Row[]> {
  const longest = Object.keys(methods).map(() => [] as number[]);
  const path = join(directory, 'hostile');
  for (const content of hostileFiles(bytes)) {
    for (const [i, call] of Object.values(methods).entries()) {
      writeFileSync(path, content, { mode: 0o600 });
      const file = new library.PasswordFile(path, { hash: { iterations: 1 } });
      longest[i]?.push(await longestStretch(() => call(file).catch(() => undefined)));
    }
  }
  return Object.keys(methods).map((name, i) => ({
    what: `longest stretch without a turn of the event loop: ${name}, any of ${longest[i]?.length} hostile files of ${bytes / 1e6} MB`,
    ours: { ...spread(longest[i] ?? []), median: Math.max(...(longest[i] ?? [])) },
    goal: { atMost: 100 },
  }));
}

/** Milliseconds from an abort to the rejection, at several moments of a call. */
export async function aborts(users: number): Promise<Row[]> {
  const path = makeFile('aborts', users);
  const rows: Row[] = [];
  for (const [name, call] of Object.entries(methods)) {
    const times: number[] = [];
    for (const delay of small ? [0, 1] : [0, 5, 20, 60, 150, 400]) {
      const controller = new AbortController();
      const called = call(new library.PasswordFile(path), controller.signal).then(
        () => undefined,
        () => performance.now(),
      );
      await new Promise(resolve => setTimeout(resolve, delay));
      const aborted = performance.now();
      controller.abort();
      const rejected = await called;
      if (rejected !== undefined) times.push(rejected - aborted);
    }
    rows.push({
      what: `${name}, from an abort to the rejection, ${users} users`,
      ours: { ...spread(times), median: Math.max(0, ...times) },
      goal: { atMost: 100 },
      note: `${times.length} aborts in time; the longest`,
    });
  }
  return rows;
}

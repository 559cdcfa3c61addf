/** The packed package on each runtime. docs/runtimes.md holds the tables of results. */
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Packed, packAndInstall, run } from '../package/packed.js';
import { type Broker, findBrokers, type RunningBroker, startBroker } from '../support/broker.js';
import { testDirectory } from '../support/directory.js';
import { expectDocumented } from '../support/documented-table.js';
import { broker, needs } from '../support/require.js';
import { DENO, RUNTIMES, type Runtime, versionOf } from '../support/runtimes.js';

const DOCUMENT = new URL('../../docs/runtimes.md', import.meta.url);

let packed: Packed;

beforeAll(async () => {
  packed = await packAndInstall();
}, 300_000);

afterAll(() => rm(packed.directory, { recursive: true, force: true }));

/** Runs a script of consumer/, which must end with status 0 in five minutes. */
function consume({ launch }: Pick<Runtime, 'launch'>, script: string, ...args: string[]) {
  const [program = '', ...flags] = launch ?? [];
  // Keeps the cache of Deno there, and its check for a newer release off.
  const env = {
    ...process.env,
    DENO_DIR: join(packed.directory, '.deno'),
    DENO_NO_UPDATE_CHECK: '1',
    NO_COLOR: '1',
  };
  return run(program, [...flags, join(packed.directory, script), ...args], { timeout: 300_000, env });
}

// Not shuffled, because the test of the table comes last.
describe('the exercise of the whole API', { shuffle: false }, () => {
  const [installed] = findBrokers();
  const title = installed
    ? `with Mosquitto ${installed.version}`
    : 'without reload and login, because there is no broker,';
  const consumers = [
    ['an ES module', 'esm.mjs'],
    ['CommonJS', 'commonjs.cjs'],
    ['both in one process', 'both.mjs'],
  ] as const;
  const rows = new Map<Runtime, string[]>();

  describe.each(RUNTIMES)('$title', runtime => {
    needs(runtime.need).describe('passes', () => {
      test.each(consumers)(
        `${title} from %s`,
        async (_title, script) => {
          const path = join(testDirectory(), 'passwd');
          await new PasswordFile(path).create();
          await using running = installed && (await startBroker(installed, { passwordFile: path }));
          const { launch } = runtime;
          const task = { path, launch, broker: running && { pid: running.pid, port: running.port } };
          await expect(consume(runtime, script, JSON.stringify(task))).resolves.toBeDefined();
          rows.set(runtime, [...(rows.get(runtime) ?? []), 'passes']);
        },
        310_000,
      );
    });
  });

  needs(broker(), ...RUNTIMES.map(({ need }) => need)).test('is documented with these results', () => {
    const head = ['Runtime', 'Release', ...consumers.map(([title]) => `from ${title}`)];
    const body = RUNTIMES.map(each => [each.title, versionOf(each), ...(rows.get(each) ?? ['was not run'])]);
    expectDocumented(DOCUMENT, 'runtimes', [head, ...body]);
  });
});

const ENV = '--allow-env=UV_THREADPOOL_SIZE';

/** The permissions that each task needs, and no more. */
const PERMISSIONS = [
  [
    'generate',
    '`generateCredentials`, `checkPasswordFile`, and what else neither hashes nor reads a file',
    [],
  ],
  ['hash', '`hashPassword`, `verifyPassword`', [ENV]],
  ['read', 'reading a file: `users`, `check`, …', ['--allow-read']],
  ['verify', 'verifying by a file: `verify`', ['--allow-read', ENV]],
  ['edit', 'edits', ['--allow-read', '--allow-write=DIRECTORY', '--allow-sys=uid', ENV]],
  ['login', '`confirmLogin`', ['--allow-net=HOST:PORT']],
  ['command', 'reload by `command`', ['--allow-run=PROGRAM', '--allow-env']],
  ['pid', 'reload by `pid`, `pidFile` or `process`', ['--allow-all']],
] as const;

needs(DENO.need, broker()).describe("Deno's permissions", () => {
  let path: string;
  let running: RunningBroker;

  beforeAll(async () => {
    path = join(packed.directory, 'auth/passwd');
    await mkdir(join(packed.directory, 'auth'));
    await new PasswordFile(path).setUser('alice', 'correct horse');
    running = await startBroker(findBrokers()[0] as Broker, { passwordFile: path });
  });

  afterAll(() => running.stop());

  function permitted(task: string, permissions: readonly string[]) {
    const flags = permissions.map(flag =>
      flag
        .replace('DIRECTORY', dirname(path))
        .replace('HOST:PORT', `127.0.0.1:${running.port}`)
        .replace('PROGRAM', 'true'),
    );
    const launch = [...(DENO.launch ?? ['']), ...flags] as const;
    return consume(
      { launch: launch as Runtime['launch'] },
      'permissions.mjs',
      task,
      path,
      `${running.port}`,
      `${running.pid}`,
    );
  }

  test.each(PERMISSIONS)(
    'for the task %s suffice (%s)',
    async (task, _title, flags) => {
      await expect(permitted(task, flags)).resolves.toBeDefined();
    },
    310_000,
  );

  const lacking = PERMISSIONS.flatMap(([task, , flags]) =>
    flags.map(flag => [task, flag, (flags as readonly string[]).filter(each => each !== flag)] as const),
  );

  test.each(lacking)(
    'for the task %s do not suffice without %s',
    async (task, _flag, rest) => {
      await expect(permitted(task, rest)).rejects.toMatchObject({ code: 1 });
    },
    310_000,
  );

  test('are documented in docs/runtimes.md', () => {
    const body = PERMISSIONS.map(([, title, flags]) => [
      title,
      flags.map(flag => `\`${flag}\``).join(' ') || 'none',
    ]);
    expectDocumented(DOCUMENT, 'deno', [['For', 'Permissions'], ...body]);
  });
});

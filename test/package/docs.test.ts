/**
 * The TypeScript in README.md and in docs. A block that begins with an import begins a module, and blocks
 * without one continue it. All modules compile under strict TypeScript, and those that are complete programs run.
 */
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { hashPasswordSync, PasswordFile } from 'mosquitto-passwd-ts';
import ts from 'typescript';
import { describe, expect, inject, test } from 'vitest';
import { type Broker, findBrokers, login, type RunningBroker, startBroker } from '../support/broker.js';
import { testDirectory } from '../support/directory.js';
import { MqttClient } from '../support/mqtt-client.js';
import { broker, needs } from '../support/require.js';
import { complaints } from './compile.js';
import { PROJECT, run } from './packed.js';

const PAGES = [
  ...['README.md', 'SECURITY.md', 'CONTRIBUTING.md'],
  ...readdirSync(join(PROJECT, 'docs'))
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`),
];
/** The path of the password file in the documents. */
const PATH = '/mosquitto/auth/passwd';

function read(page: string): string {
  return readFileSync(join(PROJECT, page), 'utf8');
}

/** The modules of a page. */
function modulesOf(page: string): string[] {
  const modules: string[] = [];
  for (const [, block = ''] of read(page).matchAll(/^```ts\n([\s\S]*?)^```$/gm)) {
    if (block.startsWith('import ') || modules.length === 0) modules.push(block);
    else modules.push(`${modules.pop()}\n${block}`);
  }
  return modules;
}

/** Runs a module on a file of its own, with these texts replaced, each of which must be in it. */
async function runModule(
  code: string,
  path: string,
  replaced: ReadonlyArray<[string, string]> = [],
): Promise<string> {
  let text = code;
  for (const [from, to] of [[PATH, path] as [string, string], ...replaced]) {
    expect(text).toContain(from);
    text = text.replaceAll(from, to);
  }
  const library = pathToFileURL(join(inject('scripts'), 'src/index.js')).href;
  const { outputText } = ts.transpileModule(text.replaceAll("'mosquitto-passwd-ts'", `'${library}'`), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  const script = join(dirname(path), 'module.mjs');
  writeFileSync(script, outputText);
  const env = { ...process.env, PULSE_PASSWORD: 'the password of pulse' };
  const { stdout } = await run(process.execPath, [script], { env });
  return stdout;
}

/** Replaces the broker of the documents by this one. */
function placeOf({ pid, port }: RunningBroker): Array<[string, string]> {
  return [
    ["process: 'mosquitto'", `pid: ${pid}`],
    ["host: 'mqtt', port: 1883", `host: '127.0.0.1', port: ${port}`],
  ];
}

test('the TypeScript of all documents compiles under strict TypeScript', () => {
  const modules = PAGES.flatMap(page =>
    modulesOf(page).map((code, i): [string, string] => {
      return [join(PROJECT, `test/package/${page.replaceAll('/', '-')}-${i}.ts`), code];
    }),
  );
  expect(modules.length).toBeGreaterThan(10);
  expect(complaints(new Map(modules))).toEqual([]);
});

test('a call that the declarations do not allow is a complaint', () => {
  const wrong = `import { PasswordFile } from 'mosquitto-passwd-ts';\nawait new PasswordFile('p').setUser('a', 1);\n`;
  expect(complaints(new Map([[join(PROJECT, 'test/package/wrong.ts'), wrong]]))).toEqual([
    expect.stringMatching(/^test\/package\/wrong\.ts: Argument of type '1' is not assignable/),
  ]);
});

describe('README.md', () => {
  const [first = '', recipes = ''] = modulesOf('README.md');

  test('has at most 150 lines', () => {
    expect(read('README.md').split('\n').length - 1).toBeLessThanOrEqual(150);
  });

  needs(broker()).test('its first example registers a device at a broker', async () => {
    const path = join(testDirectory(), 'passwd');
    await new PasswordFile(path).create();
    await using running = await startBroker(findBrokers()[0] as Broker, { passwordFile: path });
    await runModule(first, path, placeOf(running));
    expect(running.log()).toMatch(/ as [0-9a-f]{22} \(p\d, c1, k10, u'device_[a-z0-9]{8}'\)/);
    expect(await new PasswordFile(path).users()).toEqual([]);
  });

  test('its recipes run, and do what they say', async () => {
    const path = join(testDirectory(), 'passwd');
    const stdout = await runModule(recipes, path, [
      ['uid: 1883, gid: 1883', `uid: ${process.getuid?.()}, gid: 0`],
    ]);
    expect(stdout).toBe('4 users can log in\n');
    const file = new PasswordFile(path);
    expect(await file.users()).toEqual(['service/pulse', 'alice', 'device_1', 'device_2']);
    expect(await file.verify('service/pulse', 'the password of pulse')).toBe(true);
  });
});

needs(broker()).describe('docs/provisioning.md', () => {
  test('its registration lets a device in, and is rolled back if it cannot be recorded', async () => {
    const path = join(testDirectory(), 'passwd');
    await new PasswordFile(path).create();
    await using running = await startBroker(findBrokers()[0] as Broker, { passwordFile: path });
    const [code = ''] = modulesOf('docs/provisioning.md');
    const calls = `
      const { username, password } = await register(async () => {});
      await register(async () => { throw new Error('not recorded'); }).catch(error => console.log(error.message));
      console.log(JSON.stringify([await file.users(), username, await file.verify(username, password)]));`;
    const stdout = await runModule(code + calls, path, placeOf(running));
    const [message, result = ''] = stdout.split('\n');
    expect(message).toBe('not recorded');
    const [users, username, verified] = JSON.parse(result);
    expect({ users, verified }).toEqual({ users: [username], verified: true });
  });

  test('its change of a password disconnects the device, and lets it in with the new one only', async () => {
    const path = join(testDirectory(), 'passwd');
    await new PasswordFile(path).setUser('meter', 'old');
    await using running = await startBroker(findBrokers()[0] as Broker, { passwordFile: path });
    const { port } = running;
    const device = await MqttClient.connect(port, 'meter', 'old');
    const code = modulesOf('docs/provisioning.md').find(text => text.includes('function rotate')) ?? '';
    const call = `await rotate('meter', async password => process.stdout.write(password));`;
    const password = await runModule(code + call, path, placeOf(running));
    await device.closed;
    expect([await login(port, 'meter', 'old'), await login(port, 'meter', password)]).toEqual([5, 0]);
  });
});

describe('docs/many-brokers.md', () => {
  const codes = modulesOf('docs/many-brokers.md');
  const codeWith = (text: string) => codes.find(code => code.includes(text)) ?? '';

  const kept = hashPasswordSync('kept');
  const rows = `async function* rows() {
    yield ['kept', '${kept}'];
    yield ['new', '${hashPasswordSync('new')}'];
  }`;

  /** Runs the replica with this command for the reload. */
  function runReplica(path: string, calls: string, command: string): Promise<string> {
    return runModule(codeWith('function replicate') + rows + calls, path, [
      ["process: 'mosquitto'", `command: ['sh', '-c', ${JSON.stringify(command)}]`],
    ]);
  }

  test('its replica has only the users of the database', async () => {
    const path = join(testDirectory(), 'passwd');
    const file = new PasswordFile(path);
    await file.setUser('old', 'pw');
    await file.setHash('kept', kept);
    const stdout = await runReplica(path, 'await replicate(rows());', 'true');
    expect(stdout).toBe('{ added: 1, updated: 0, unchanged: 1, removed: 1 }\n');
    expect(await file.users()).toEqual(['kept', 'new']);
  });

  test('its replica reloads the broker again after a reload that failed, also in another process', async () => {
    const directory = testDirectory();
    const path = join(directory, 'passwd');
    const log = join(directory, 'reloads');
    const retry = 'await replicate(rows()).catch(() => replicate(rows()));';
    await runReplica(path, retry, `echo failed >> ${log}; exit 1`).catch(() => undefined);
    await runReplica(path, retry, `echo done >> ${log}`);
    expect(readFileSync(log, 'utf8')).toBe('failed\nfailed\ndone\n');
  });

  test('its copy gets the users with a hash, and reports the others', async () => {
    const path = join(testDirectory(), 'passwd');
    await new PasswordFile(path).setUser('alice', 'pw');
    appendFileSync(path, 'bob:plain\n');
    const calls = `await copyTo(async (username, hash) => console.log(username, hash.slice(0, 7)));`;
    expect(await runModule(codeWith('function copyTo') + calls, path)).toBe('alice $7$101$\n');
  });

  test('its export for dynamic security runs', async () => {
    const code = `${codeWith('exportDynamicSecurity')}// ${PATH}`;
    expect(await runModule(code, join(testDirectory(), 'passwd'))).toBe('1 0\n');
  });
});

describe('the links', () => {
  test.each(PAGES)('of %s lead to files and headings that exist', page => {
    const links = [
      ...withoutCode(read(page)).matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)/g),
    ];
    const missing = links.filter(([, path = '', heading]) => {
      const target = path === '' ? join(PROJECT, page) : resolve(PROJECT, dirname(page), path);
      if (!existsSync(target)) return true;
      return heading !== undefined && !headingsOf(readFileSync(target, 'utf8')).includes(heading);
    });
    expect(missing.map(([link]) => link)).toEqual([]);
  });

  test('lead from README.md to each document', () => {
    const documents = PAGES.filter(page => page !== 'README.md');
    expect(documents.filter(page => !read('README.md').includes(`](${page})`))).toEqual([]);
  });
});

test.each(PAGES)('paths of tests, examples and fixtures that %s names exist', page => {
  const names = [...read(page).matchAll(/`((?:test|examples|fixtures|bench|src|scripts)\/[\w./-]+)`/g)];
  expect(names.map(([, path = '']) => path).filter(path => !existsSync(join(PROJECT, path)))).toEqual([]);
});

function withoutCode(markdown: string): string {
  return markdown.replace(/^```[\s\S]*?^```$/gm, '').replace(/`[^`\n]+`/g, '');
}

/** The anchors that GitHub gives to headings. */
function headingsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** Runs the commands of docs/command-line.md, and compares their output with that in the document. */
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PasswordFile } from 'mosquitto-passwd-ts';
import { expect } from 'vitest';
import { type Broker, findBrokers, login, startBroker } from '../support/broker.js';
import { PROGRAM } from '../support/cli.js';
import { testDirectory } from '../support/directory.js';
import { dynamicSecurityFile } from '../support/dynamic-security.js';
import { broker, needs, program } from '../support/require.js';
import { quoted } from '../support/terminal.js';

const DOCUMENT = readFileSync(new URL('../../docs/command-line.md', import.meta.url), 'utf8');
const PID_FILE = 'mosquitto.pid';

interface Command {
  line: string;
  output: string;
}

/** The commands of a document, each with the output below it. */
function transcripts(markdown: string): Command[] {
  const blocks = [...markdown.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text);
  return blocks
    .flatMap(text => text.split(/^\$ /m).slice(1))
    .map(text => {
      const end = text.indexOf('\n');
      return { line: text.slice(0, end), output: text.slice(end + 1) };
    });
}

/** `…` stands for any text of one line. */
function pattern(output: string): RegExp {
  return new RegExp(`^${output.split('…').map(escaped).join('[^\\n]+')}$`);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

const ALL = transcripts(DOCUMENT);
const RELOADS = ALL.filter(({ line }) => line.includes(PID_FILE));

/** Runs the commands in a directory, and compares their output. */
function run(directory: string, commands: readonly Command[], port?: number): void {
  const npx = join(directory, 'npx');
  writeFileSync(npx, `#!/bin/sh\nshift\nexec ${quoted(process.execPath, PROGRAM)} "$@"\n`);
  chmodSync(npx, 0o755);
  const env = { ...process.env, PATH: `${directory}:${process.env.PATH}`, PORT: String(port) };
  for (const { line, output } of commands) {
    const { stdout } = spawnSync('bash', ['-c', `exec 2>&1; ${line}`], {
      cwd: directory,
      env,
      encoding: 'utf8',
    });
    expect(stdout, `$ ${line}`).toMatch(pattern(output));
  }
}

needs(program('bash')).test(
  'the commands of docs/command-line.md print the output that is shown there',
  () => {
    const directory = testDirectory();
    writeFileSync(join(directory, 'secret'), 'a secret\n');
    writeFileSync(join(directory, 'dynamic-security.json'), dynamicSecurityFile([]));
    const commands = ALL.filter(command => !RELOADS.includes(command));
    expect(commands.length).toBeGreaterThan(20);
    run(directory, commands);
  },
  300_000,
);

needs(program('bash'), broker()).test(
  'the commands of docs/command-line.md with --reload make a broker reload',
  async () => {
    const directory = testDirectory();
    const passwordFile = join(directory, 'passwd');
    await new PasswordFile(passwordFile).setUser('frank', 'plain text');
    await using running = await startBroker(findBrokers()[0] as Broker, { passwordFile });
    writeFileSync(join(directory, PID_FILE), `${running.pid}\n`);

    expect(RELOADS).toHaveLength(3);
    run(directory, RELOADS, running.port);
    expect(await running.logged('Reloading config.', 3)).toBe(true);
    expect(await login(running.port, 'frank', 'plain text')).toBe(5);
  },
);

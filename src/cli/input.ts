/** What comes in: files, standard input, and what somebody types. */
import { readFileSync } from 'node:fs';
import { CliError, STATUS } from './error.js';

const LF = 10;
const CR = 13;

/** The bytes of a file or, for `-`, of standard input. */
export async function readInput(path: string): Promise<Buffer> {
  if (path === '-') return standardInput();
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CliError(`Error: Unable to open file ${path}. ${describe(error)}.`);
  }
}

export async function standardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The lines of some bytes, without their LF or CR LF. */
export function* linesOf(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length; ) {
    const lineFeed = bytes.indexOf(LF, start);
    const next = lineFeed < 0 ? bytes.length : lineFeed + 1;
    let end = lineFeed < 0 ? next : lineFeed;
    if (end > start && bytes[end - 1] === CR) end--;
    yield bytes.subarray(start, end);
    start = next;
  }
}

/** The lines of standard input, as they come. When the caller leaves, so does standard input. */
export async function* standardInputLines(): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    const bytes = Buffer.concat([rest, chunk]);
    const end = bytes.lastIndexOf(LF) + 1;
    yield* linesOf(bytes.subarray(0, end));
    rest = bytes.subarray(end);
  }
  yield* linesOf(rest);
}

/** The lines that somebody types on a terminal, unseen. It is quiet from when this resolves until the caller leaves. */
export async function typedLines(): Promise<AsyncGenerator<Buffer>> {
  const { createInterface } = await import('node:readline');
  const { Writable } = await import('node:stream');
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const editor = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 });
  let isInterrupted = false;
  editor.once('SIGINT', () => {
    isInterrupted = true;
    editor.close();
  });
  // What is typed from here on waits in it.
  const lines = editor[Symbol.asyncIterator]();
  return (async function* () {
    try {
      for await (const line of lines) {
        assertReadable('password', line);
        yield Buffer.from(line);
      }
      if (isInterrupted) throw new CliError('', { status: STATUS.INTERRUPTED });
    } finally {
      editor.close();
    }
  })();
}

/** Of what came as something else than UTF-8, by arguments or from a keyboard, not all is left. */
export function assertReadable(what: string, text: string): void {
  if (!text.includes('\ufffd')) return;
  throw new CliError(`Error: The ${what} is not valid UTF-8. Use a shell or terminal that speaks UTF-8.`);
}

/** `strerror` of what happens to files. */
export function describe(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  return DESCRIPTIONS[code ?? ''] ?? code ?? String(error);
}

const DESCRIPTIONS: Record<string, string> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  EISDIR: 'Is a directory',
  ENOTDIR: 'Not a directory',
};

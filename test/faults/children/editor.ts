/**
 * Makes the edits that the test orders. Reports the outcome of each and the steps that it took, or dies before a step
 * if ordered so.
 */
import { randomFill } from 'node:crypto';
import { promisify } from 'node:util';
import { PasswordFile, type PasswordFileOptions } from '../../../src/index.js';
import { diskCalls } from '../../support/disk-calls.js';
import { argument, orders, tell } from './talk.js';

export interface EditorArgument {
  path: string;
  /** A file that is edited first, before the test traces system calls. */
  warmUp?: string;
  options?: PasswordFileOptions;
}

export interface EditOrder {
  name: string;
  hash: string;
  /** Counted from 1. */
  dieBefore?: number;
}

export interface EditReport {
  outcome?: string;
  error?: { name: string; code: string; message: string; committed?: boolean; errno?: number };
  steps: string[];
}

const { path, warmUp, options } = argument<EditorArgument>();
const file = new PasswordFile(path, options);
if (warmUp !== undefined) await new PasswordFile(warmUp).create();
tell('ready');

for await (const { name, hash, dieBefore } of orders<EditOrder>()) {
  const taken: string[] = [];
  diskCalls.before = call => {
    taken.push(call);
    if (taken.length === dieBefore) process.kill(process.pid, 'SIGKILL');
  };
  const report: EditReport = { steps: taken };
  try {
    report.outcome = await file.setHash(name, hash);
  } catch (error) {
    report.error = describe(error as Error & { code: string; committed?: boolean });
  }
  // Files are closed by the thread pool. With one thread, they are closed before this call.
  if (process.env.UV_THREADPOOL_SIZE === '1') await promisify(randomFill)(new Uint8Array(1));
  tell(report);
}

function describe(error: Error & { code: string; committed?: boolean }): NonNullable<EditReport['error']> {
  const { name, code, message, committed } = error;
  const errno = (error.cause as { errno?: number } | undefined)?.errno;
  return {
    name,
    code,
    message,
    ...(committed === undefined ? {} : { committed }),
    ...(errno === undefined ? {} : { errno }),
  };
}

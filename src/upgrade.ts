/** Hashing the passwords that stand in a file in plain text, and only those. */
import { type BrokerRelease, looksLikeHash, readBrokerHash } from './broker-hash.js';
import type { Draft } from './document.js';
import type { Finding } from './errors.js';
import { type FindingKind, finding, shownName } from './findings.js';
import { MAX_BYTES } from './names.js';
import { hashFor, type Settings } from './options.js';
import { inParallel } from './parallel.js';
import { submit } from './queue.js';
import type { ProgressOptions } from './set-users.js';
import type { FileSite } from './site.js';
import { inSlices } from './slices.js';

/** What `upgrade` can be given. */
export interface UpgradeOptions extends ProgressOptions {
  /** Told of each line that holds neither a readable hash nor a usable password; such lines stay as they are. */
  onSkipped?: ((finding: Finding) => void) | undefined;
}

interface PlainLine {
  name: string;
  /** What stands behind the first `:`, as it stands there, each byte a character. */
  rest: string;
}

/** Upgrades in one commit; in another one what somebody changed meanwhile. */
export async function upgrade(
  site: FileSite,
  settings: Settings,
  options: UpgradeOptions,
): Promise<string[]> {
  const { signal, onSkipped } = options;
  const upgraded: string[] = [];
  for (;;) {
    signal?.throwIfAborted();
    const { plain, skipped } = await inSlices(sortLines(await site.view(), settings.broker));
    const done = plain.length === 0 ? [] : await commitHashes(site, settings, plain, options);
    upgraded.push(...done);
    if (done.length < plain.length) continue;
    for (const finding of skipped) onSkipped?.(finding);
    return upgraded;
  }
}

async function commitHashes(
  site: FileSite,
  settings: Settings,
  plain: readonly PlainLine[],
  { signal, onProgress }: UpgradeOptions,
): Promise<string[]> {
  const hashes = new Map<string, string>();
  const hash = async ({ name, rest }: PlainLine): Promise<void> => {
    hashes.set(name, await hashFor(settings, Buffer.from(trimmed(rest), 'latin1')));
    onProgress?.(hashes.size, plain.length);
  };
  await inParallel(plain, hash, signal);
  return submit(site.target, {
    site,
    names: new Set(hashes.keys()),
    signal,
    *apply(draft) {
      const names: string[] = [];
      for (const { name, rest } of plain) {
        yield;
        const made = hashes.get(name);
        if (made === undefined || draft.rest(name) !== rest) continue;
        draft.set(name, made);
        names.push(name);
      }
      return names;
    },
  });
}

/** Finds the lines to hash, and those that neither are hashed nor can be. */
function* sortLines(
  view: Draft,
  broker: BrokerRelease,
): Generator<void, { plain: PlainLine[]; skipped: Finding[] }> {
  const plain: PlainLine[] = [];
  const skipped: Finding[] = [];
  let number = 0;
  for (const line of view.lines()) {
    yield;
    number++;
    if (line.nameStart < 0) continue;
    const hash = line.hash();
    if (isReadable(hash)) continue;
    const name = line.name();
    const rest = line.rest();
    const obstacle = obstacleTo(view, name, hash, rest, broker);
    if (obstacle !== undefined) skipped.push(finding(obstacle, broker, number, shownName(line)));
    else if (name !== undefined && rest !== undefined) plain.push({ name, rest });
  }
  return { plain, skipped };
}

/** Whether any broker can read it as a hash. */
function isReadable(hash: string): boolean {
  if (!/[67]\$/.test(hash)) return false;
  return readBrokerHash(hash, '2.1').hash !== undefined || readBrokerHash(hash, '2.0').hash !== undefined;
}

/** Why a line cannot be upgraded; `undefined`: it can. */
function obstacleTo(
  view: Draft,
  name: string | undefined,
  hash: string,
  rest: string | undefined,
  broker: BrokerRelease,
): FindingKind | undefined {
  if (name === undefined) return 'UNSENDABLE_NAME';
  if (name === '' || rest === undefined) return 'EMPTY_NAME';
  const password = trimmed(rest);
  if (password === '') return 'missing';
  if (looksLikeHash(hash) || looksLikeHash(password)) return readBrokerHash(hash, broker).fault ?? 'fields';
  if (view.isDoubled(name)) return 'DOUBLED_NAME';
  if (password.includes('\0')) return 'NUL_BYTE';
  return password.length > MAX_BYTES ? 'LONG_HASH' : undefined;
}

/** mosquitto_passwd trims blanks too (C `isspace`). */
function trimmed(rest: string): string {
  return rest.replace(/^[\t-\r ]+/, '').replace(/[\t-\r ]+$/, '');
}

/**
 * Explores every interleaving of writers on a model of a directory. The writers run the functions of src/storage/lock.ts
 * themselves, so that model and code cannot differ. For each state they run from the start: a modelled disk gives each
 * call its recorded answer, and never answers the first call that has none.
 */
import { basename, dirname } from 'node:path';
import type { Disk } from '../../src/storage/disk.js';
import type { Outcome, Writer } from '../../src/storage/lock.js';
import { lockDirectory } from '../../src/storage/lock-owner.js';

const FILE = '/directory/passwd';
const LOCK = lockDirectory(FILE);

/** A call of a writer: of the disk, or for a decision that depends on clocks. */
interface Call {
  name:
    | 'mkdir'
    | 'create'
    | 'open'
    | 'close'
    | 'rename'
    | 'list'
    | 'unlink'
    | 'rmdir'
    | 'isSame'
    | 'isStale'
    | 'work'
    | 'pause';
  /** Paths, or the names that were seen in the lock directory. */
  args: readonly string[];
}

type Answer = { value: unknown } | { error: string };

/** A writer at the point that its answers so far have led it to. */
interface Progress {
  answers: readonly Answer[];
  /** Its next call; `undefined`: it has ended. */
  next: Call | undefined;
  outcome: Outcome | undefined;
  /** How many nonces it has drawn. */
  nonces: number;
  /** Its temp file. */
  temp: string;
  /** What its future depends on besides: its last call that matters, and the names that it has listed. */
  turn: string;
  lists: { beside?: string; names?: string; isRefused?: boolean };
  /** The file that it has open, by its path when it was opened; only with the rules of NTFS. */
  open: string;
  /** Its number in the key of a state. */
  id: number;
}

interface State {
  /** The commits that the file contains. */
  file: readonly number[];
  /** The names in each directory. */
  directories: ReadonlyMap<string, readonly string[]>;
  /** Files removed while open, which stay in their directory until they are closed; only with the rules of NTFS. */
  removed: readonly string[];
  writers: readonly Progress[];
  /** The commits that were in the file when each writer read it. */
  read: ReadonlyArray<readonly number[]>;
  dead: readonly boolean[];
  deaths: number;
}

/** The result of an exploration. */
export interface Exploration {
  states: number;
  ends: number;
  /** The calls that led to a lost update, in order; `undefined`: none was lost. */
  lost: string[] | undefined;
  /** How many ends there are in which a living writer has not committed. */
  stuck: number;
  /** How many cycles without a pause a writer has: in one, it would loop for ever without a call of another writer. */
  spins: number;
}

/** What is explored. */
export interface Exploring {
  writers: number;
  deaths: number;
  /** How many times in all a fenced or swept writer may start over. After that it makes no more calls. */
  retries: number;
  /** Whether a rename may fail with ENOENT although it happened, as over NFS. */
  repeatedRenames?: boolean;
  /** Whether the removal of another writer's file may be refused. */
  refusedRemovals?: boolean;
  /** Whether the rules of NTFS hold. Then a reader may have the file open at any commit. */
  windows?: boolean;
  /** The code of a writer. */
  run(writer: Writer, work: () => Promise<boolean>): Promise<Outcome>;
}

/** Explores all states, or until an update is lost. */
export async function explore(exploring: Exploring): Promise<Exploration> {
  const model = new Model(exploring);
  const found: Exploration = { states: 0, ends: 0, lost: undefined, stuck: 0, spins: 0 };
  const seen = new Set<string>();
  const stack: Array<{ state: State; path: Path | undefined }> = [
    { state: await model.start(), path: undefined },
  ];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    found.states++;
    const moves = await model.moves(at.state);
    for (const { what, state } of moves) {
      const path = { what, before: at.path };
      if (isLost(state)) return { ...found, lost: callsOf(path) };
      const key = keyOf(state);
      if (seen.has(key)) continue;
      seen.add(key);
      stack.push({ state, path });
    }
    if (moves.length > 0) continue;
    found.ends++;
    if (at.state.writers.some((_, id) => model.isWaiting(at.state, id))) found.stuck++;
  }
  found.spins = model.spins();
  return found;
}

interface Move {
  what(): string;
  state: State;
}

interface Path {
  what(): string;
  before: Path | undefined;
}

function callsOf(path: Path): string[] {
  const calls: string[] = [];
  for (let at: Path | undefined = path; at !== undefined; at = at.before) calls.push(at.what());
  return calls.reverse();
}

/** Whether the file no longer contains the commit of a writer that has committed. */
function isLost({ writers, file }: State): boolean {
  return writers.some(({ outcome }, id) => outcome === 'committed' && !file.includes(id));
}

function keyOf({ file, directories, removed, writers, read, dead, deaths }: State): string {
  const each = writers.map(({ id, next }, n) =>
    dead[n] ? 'dead' : next === undefined ? 'end' : `${id} ${read[n]}`,
  );
  return `${file};${namesIn(directories)};${removed};${each.join('|')};${deaths}`;
}

const namesOf = new WeakMap<State['directories'], string>();

function namesIn(directories: State['directories']): string {
  let names = namesOf.get(directories);
  if (names === undefined) {
    names = [...directories]
      .map(([path, inside]) => `${path}:${inside}`)
      .sort()
      .join();
    namesOf.set(directories, names);
  }
  return names;
}

class Model {
  /** Writers by what their future depends on: of those with the same future, the first that was found. */
  readonly #progress = new Map<string, Progress>();
  readonly #steps = new Map<string, Progress>();
  /** Where a writer may be after its next call, unless that is a pause. */
  readonly #next = new Map<Progress, Progress[]>();

  constructor(readonly exploring: Exploring) {}

  async start(): Promise<State> {
    const ids = Array.from({ length: this.exploring.writers }, (_, id) => id);
    const before = { answers: [], turn: '', lists: {}, open: '' };
    return {
      file: [],
      directories: new Map(),
      removed: [],
      writers: await Promise.all(ids.map(id => this.#replay(id, before))),
      read: ids.map(() => []),
      dead: ids.map(() => false),
      deaths: this.exploring.deaths,
    };
  }

  /** Everything that can happen next. */
  async moves(state: State): Promise<Move[]> {
    const moves: Move[] = [];
    for (const [id, { next }] of state.writers.entries()) {
      if (next === undefined || state.dead[id] || this.#isLeftAlone(state, next)) continue;
      for (const choice of this.#choices(state, id, next)) {
        const before = state.writers[id] as Progress;
        const step = `${before.id} ${'error' in choice.answer ? choice.answer.error : `= ${choice.answer.value}`}`;
        const writer = this.#steps.get(step) ?? (await this.#goOn(step, id, before, next, choice.answer));
        moves.push({
          what: () => `${id}: ${next.name} ${next.args} ${JSON.stringify(choice.answer)}`,
          state: purged({ ...choice.state, writers: replaced(state.writers, id, writer) }),
        });
      }
      if (state.deaths > 0) moves.push({ what: () => `${id}: dies`, state: died(state, id) });
    }
    return moves;
  }

  /** Whether a writer is alive, has not ended, and may make its next call. */
  isWaiting(state: State, id: number): boolean {
    const { next } = state.writers[id] as Progress;
    return next !== undefined && !state.dead[id] && !this.#isLeftAlone(state, next);
  }

  /** Whether a writer may not start over once more. Without that bound the exploration would not end. */
  #isLeftAlone({ writers }: State, next: Call): boolean {
    if (next.name !== 'mkdir') return false;
    const begun = writers.map(({ nonces, next }) => nonces - (next?.name === 'mkdir' ? 1 : 0));
    return begun.reduce((sum, count) => sum + count, 0) >= writers.length + this.exploring.retries;
  }

  /** Where an answer leads a writer. Writers with the same future are the same object, so that each runs only once. */
  async #goOn(step: string, id: number, before: Progress, call: Call, answer: Answer): Promise<Progress> {
    const progress = await this.#replay(id, {
      answers: [...before.answers, answer],
      open: this.exploring.windows ? openAfter(before.open, call, answer) : '',
      ...rememberedAfter(before, call, answer),
    });
    this.#steps.set(step, progress);
    if (call.name !== 'pause') this.#next.set(before, [...(this.#next.get(before) ?? []), progress]);
    return progress;
  }

  spins(): number {
    let spins = 0;
    const isOnTheWay = new Map<Progress, boolean>();
    const visit = (progress: Progress): void => {
      isOnTheWay.set(progress, true);
      for (const next of this.#next.get(progress) ?? []) {
        if (isOnTheWay.get(next)) spins++;
        else if (!isOnTheWay.has(next)) visit(next);
      }
      isOnTheWay.set(progress, false);
    };
    for (const progress of this.#next.keys()) if (!isOnTheWay.has(progress)) visit(progress);
    return spins;
  }

  /** Runs a writer up to its first call without an answer. */
  async #replay(
    id: number,
    before: Pick<Progress, 'answers' | 'turn' | 'lists' | 'open'>,
  ): Promise<Progress> {
    const unanswered = await runUntilUnanswered(this.exploring, id, before.answers);
    const key = JSON.stringify([id, unanswered, before.turn, before.lists, before.open]);
    let progress = this.#progress.get(key);
    if (progress === undefined) {
      progress = { ...before, ...unanswered, id: this.#progress.size };
      this.#progress.set(key, progress);
    }
    return progress;
  }

  /** All possible results of a call: several where the disk or the clock decides. */
  *#choices(state: State, id: number, { name, args }: Call): Generator<Choice> {
    const [path = '', other = ''] = args;
    switch (name) {
      case 'isStale': {
        const owner = Number(other[0]);
        yield { answer: { value: true }, state };
        if (!state.dead[owner]) yield { answer: { value: false }, state };
        return;
      }
      case 'work':
        yield { answer: { value: true }, state: { ...state, read: replaced(state.read, id, state.file) } };
        return;
      case 'isSame':
        yield { answer: { value: state.file.at(-1) === id }, state };
        return;
      case 'pause':
        if (canGoOn(state, args)) yield { answer: { value: undefined }, state };
        return;
      case 'rename':
        yield* this.#renames(state, id, path, other);
        return;
      case 'unlink':
        yield changed(state, name, path, other);
        if (this.exploring.refusedRemovals && !other.startsWith(String(id))) {
          yield { answer: { error: 'EPERM' }, state };
        }
        return;
      default:
        yield changed(state, name, path, other);
    }
  }

  *#renames(state: State, id: number, from: string, to: string): Generator<Choice> {
    const { windows, repeatedRenames } = this.exploring;
    if (to !== FILE) {
      yield windows && opened(state).some(each => dirname(each) === from)
        ? { answer: { error: 'EPERM' }, state }
        : movedDirectory(state, from, to, this.exploring);
      return;
    }
    const after = committed(state, id, from);
    yield after;
    if ('error' in after.answer) return;
    if (repeatedRenames) yield { answer: { error: 'ENOENT' }, state: after.state };
    // A reader may have the file open.
    if (windows) yield { answer: { error: 'EPERM' }, state };
  }
}

interface Choice {
  answer: Answer;
  state: State;
}

interface Unanswered {
  next: Call | undefined;
  outcome: Outcome | undefined;
  nonces: number;
  temp: string;
}

function runUntilUnanswered(
  exploring: Exploring,
  id: number,
  answers: readonly Answer[],
): Promise<Unanswered> {
  return new Promise((resolve, reject) => {
    let nonces = 0;
    let answered = 0;
    /** The names that this writer saw in the lock directory; `undefined`: it has paused or changed something since. */
    let seen: readonly string[] | undefined;
    const ask = (name: Call['name'], ...args: readonly string[]): Promise<never> => {
      const answer = answers[answered++];
      if (answer === undefined) {
        resolve({
          next: { name, args },
          outcome: undefined,
          nonces,
          temp: JSON.stringify(writer.temp ?? ''),
        });
        return new Promise(() => undefined);
      }
      if ('error' in answer) return Promise.reject({ code: answer.error });
      return Promise.resolve(answer.value as never);
    };
    const changing = async (answer: Promise<void>): Promise<void> => {
      try {
        await answer;
        seen = undefined;
      } catch (error) {
        if ((error as { code: string }).code === 'ENOENT') seen = undefined;
        throw error;
      }
    };
    const disk: Partial<Disk> = {
      windows: exploring.windows === true,
      mkdir: path => ask('mkdir', path),
      rmdir: path => ask('rmdir', path),
      rename: (from, to) => changing(ask('rename', from, to)),
      create: (directory, name) => ask('create', directory, name),
      open: (directory, name) => ask('open', directory, name),
      // No other writer can notice it, unless the rules of NTFS hold.
      close: () => (exploring.windows ? ask('close') : undefined),
      unlink: (directory, name) => changing(ask('unlink', directory, name)),
      list: async directory => {
        const names: string[] = await ask('list', directory);
        if (directory === LOCK) seen = names;
        return names;
      },
      isSame: path => ask('isSame', path),
    };
    const writer: Writer = {
      disk: disk as Disk,
      file: FILE,
      directory: { uid: 0, gid: 0, mode: 0o755 },
      temp: undefined,
      failures: 0,
      // The nonce, and so the name of the temp file, begins with the id of the writer.
      newNonce: () => `${id}${String(nonces++).padStart(15, '0')}`,
      isStale: (directory, name) => ask('isStale', directory, name),
      pause: () => {
        const names = seen ?? ['nobody'];
        seen = undefined;
        return ask('pause', ...names);
      },
    };
    exploring
      .run(writer, () => ask('work'))
      .then(
        outcome => resolve({ next: undefined, outcome, nonces, temp: '' }),
        error => reject(new Error(`writer ${id} failed: ${JSON.stringify(error)}`)),
      );
  });
}

/** The file that a writer has open after a call, if any. It matters only with the rules of NTFS. */
function openAfter(before: string, { name, args }: Call, answer: Answer): string {
  if (name === 'close') return '';
  return (name === 'create' || name === 'open') && 'value' in answer ? args.join('/') : before;
}

/** What a writer's future depends on besides its next call. */
function rememberedAfter(
  { turn, lists }: Progress,
  { name, args }: Call,
  answer: Answer,
): Pick<Progress, 'turn' | 'lists'> {
  if (name === 'list') {
    const names = JSON.stringify(answer);
    return { turn, lists: args[0] === `${dirname(FILE)}/.` ? { beside: names } : { ...lists, names } };
  }
  // A writer that could not remove a file goes another way: it renames the directory.
  const isRefused = name === 'unlink' && 'error' in answer && answer.error !== 'ENOENT';
  if (isRefused) return { turn, lists: { ...lists, isRefused } };
  if (['unlink', 'rmdir', 'isStale', 'close'].includes(name)) return { turn, lists };
  return { turn: `${name === 'rename' ? args[1] : name} ${JSON.stringify(answer)}`, lists: {} };
}

/** Whether a pause may end. If it could while nothing has changed, the exploration would not end. */
function canGoOn(state: State, seen: readonly string[]): boolean {
  if (seen[0] === 'nobody') return true;
  const names = state.directories.get(LOCK) ?? [];
  const owner = Number(names[0]?.[0] ?? -1);
  return names.join() !== seen.join() || names.length === 0 || state.dead[owner] === true;
}

function died(state: State, id: number): State {
  const dead = replaced(state.dead, id, true);
  const writers = replaced(state.writers, id, { ...(state.writers[id] as Progress), open: '' });
  return purged({ ...state, writers, dead, deaths: state.deaths - 1 });
}

/** The files that writers have open, by the paths that they have now. */
function opened({ writers, dead }: State): string[] {
  return writers.flatMap(({ open }, id) => (open === '' || dead[id] ? [] : [open]));
}

/** Removes the files from their directories that were removed while open and are closed by now. */
function purged(state: State): State {
  if (state.removed.length === 0) return state;
  const stillOpen = opened(state);
  const gone = state.removed.filter(path => !stillOpen.includes(path));
  if (gone.length === 0) return state;
  const directories = new Map(state.directories);
  for (const path of gone) takeOut(directories, path);
  return { ...state, directories, removed: state.removed.filter(path => stillOpen.includes(path)) };
}

/** The state and the answer after a call that changes or reads a directory. */
function changed(state: State, name: Call['name'], path: string, file: string): Choice {
  const directories = new Map(state.directories);
  const inside = directories.get(path);
  const isRemoved = state.removed.includes(`${path}/${file}`);
  const answer = (value?: unknown): Choice => ({ answer: { value }, state: { ...state, directories } });
  const fail = (error: string): Choice => ({ answer: { error }, state });
  if (name === 'mkdir') {
    directories.set(path, []);
    return answer();
  }
  if (name === 'close') return answer();
  if (name === 'list' && path === `${dirname(FILE)}/.`) {
    return answer([...directories.keys()].map(each => basename(each)).sort());
  }
  if (inside === undefined) return fail('ENOENT');
  if (name === 'list') return answer(inside);
  if (name === 'rmdir') {
    if (inside.length > 0) return fail('ENOTEMPTY');
    directories.delete(path);
    return answer();
  }
  if (name === 'create') {
    directories.set(path, [...inside, file].sort());
    return answer(1);
  }
  if (!inside.includes(file)) return fail('ENOENT');
  if (isRemoved) return fail('EPERM');
  if (name === 'open') return answer(1);
  if (opened(state).includes(`${path}/${file}`)) {
    return {
      answer: { value: undefined },
      state: { ...state, removed: [...state.removed, `${path}/${file}`] },
    };
  }
  takeOut(directories, `${path}/${file}`);
  return answer();
}

function movedDirectory(state: State, from: string, to: string, { windows }: Exploring): Choice {
  const inside = state.directories.get(from);
  const there = state.directories.get(to);
  if (inside === undefined) return { answer: { error: 'ENOENT' }, state };
  if (there !== undefined && windows) return { answer: { error: 'EPERM' }, state };
  if (there !== undefined && there.length > 0) return { answer: { error: 'ENOTEMPTY' }, state };
  const directories = new Map(state.directories);
  directories.delete(from);
  directories.set(to, inside);
  return { answer: { value: undefined }, state: { ...state, directories } };
}

function committed(state: State, id: number, temp: string): Choice {
  if (state.removed.includes(temp)) return { answer: { error: 'EPERM' }, state };
  const directories = new Map(state.directories);
  if (!takeOut(directories, temp)) return { answer: { error: 'ENOENT' }, state };
  const file = [...(state.read[id] ?? []), id];
  return {
    answer: { value: undefined },
    state: { ...state, directories, file, read: replaced(state.read, id, []) },
  };
}

function takeOut(directories: Map<string, readonly string[]>, path: string): boolean {
  const inside = directories.get(dirname(path));
  if (!inside?.includes(basename(path))) return false;
  directories.set(
    dirname(path),
    inside.filter(name => name !== basename(path)),
  );
  return true;
}

function replaced<T>(list: readonly T[], at: number, by: T): T[] {
  return list.map((each, i) => (i === at ? by : each));
}

/**
 * Every way in which writers can interleave, on a model of a directory. The writers run the functions of
 * src/storage/lock.ts themselves, anew from their recorded answers for each state, so that model and code cannot drift
 * apart: a modelled disk gives each call its recorded answer, and never answers the first call that has none.
 */
import { basename, dirname } from 'node:path';
import type { Disk } from '../../src/storage/disk.js';
import type { Outcome, Writer } from '../../src/storage/lock.js';
import { lockDirectory } from '../../src/storage/lock-owner.js';

const FILE = '/directory/passwd';
const LOCK = lockDirectory(FILE);

/** A call of a writer: on the disk, or a decision that depends on clocks. */
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
  /** Paths, or what was seen in the lock directory. */
  args: readonly string[];
}

type Answer = { value: unknown } | { error: string };

/** A writer at one point of its way, which its answers so far have led it to. */
interface Progress {
  answers: readonly Answer[];
  /** What it does next; `undefined`: it has come to its end. */
  next: Call | undefined;
  outcome: Outcome | undefined;
  /** How many names it has made. */
  nonces: number;
  /** Its temp file. */
  temp: string;
  /** What its future depends on beside that: its last turning point, and the names that it goes through. */
  turn: string;
  lists: { beside?: string; names?: string };
  /** The file that it has open, as the path that it had then; only with the rules of NTFS. */
  open: string;
  /** Stands for it in the key of a state. */
  id: number;
}

interface State {
  /** The commits that the file holds. */
  file: readonly number[];
  /** The names in each directory. */
  directories: ReadonlyMap<string, readonly string[]>;
  /** Removed while they were open: they stay in their directory until they are closed (only with the rules of NTFS). */
  removed: readonly string[];
  writers: readonly Progress[];
  /** What each read: the commits in the file by then. */
  read: ReadonlyArray<readonly number[]>;
  dead: readonly boolean[];
  deaths: number;
}

/** What an exploration found. */
export interface Exploration {
  states: number;
  ends: number;
  /** How it came to a lost update, the calls of each writer in order; `undefined`: never. */
  lost: string[] | undefined;
  /** Ends in which a living writer had not committed. */
  stuck: number;
  /** Ways of a writer, without a pause, back to where it was: it would go round for ever, and nobody else need move. */
  spins: number;
}

/** How an exploration goes about. */
export interface Exploring {
  writers: number;
  deaths: number;
  /** How many times in all a fenced or swept writer may start over; after that it is left alone. */
  retries: number;
  /** Whether a rename may have happened although it says ENOENT, as over NFS. */
  repeatedRenames?: boolean;
  /** Whether the removal of another writer's file may be refused. */
  refusedRemovals?: boolean;
  /** Whether the rules of NTFS hold; then any commit may find the file open. */
  windows?: boolean;
  /** What a writer does. */
  run(writer: Writer, work: () => Promise<boolean>): Promise<Outcome>;
}

/** Explores until a lost update or to the end. */
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

/** Whether a writer has committed and its commit is not in the file any more. */
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
  /** Of all ways to the same future, the first that was found. */
  readonly #progress = new Map<string, Progress>();
  readonly #steps = new Map<string, Progress>();
  /** Where a writer may be after its next call; after a pause is left out. */
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

  /** Whether a writer is alive and has not come to its end, though it may. */
  isWaiting(state: State, id: number): boolean {
    const { next } = state.writers[id] as Progress;
    return next !== undefined && !state.dead[id] && !this.#isLeftAlone(state, next);
  }

  /** Starting over is bounded, or the exploration would have no end. */
  #isLeftAlone({ writers }: State, next: Call): boolean {
    if (next.name !== 'mkdir') return false;
    const begun = writers.map(({ nonces, next }) => nonces - (next?.name === 'mkdir' ? 1 : 0));
    return begun.reduce((sum, count) => sum + count, 0) >= writers.length + this.exploring.retries;
  }

  /** Where an answer leads a writer. Writers of the same future are the same object, so each is asked but once. */
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

  /** Runs a writer to where its answers lead it. */
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

  /** All that can come of a call: more than one thing where the disk or the clock decides. */
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
    // A reader has the file open.
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
    /** The names that this writer saw in the lock directory; `undefined`: not since it paused or changed something. */
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
      // Nobody else can see it, unless the rules of NTFS hold.
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
      // Begins with the writer, as the name of a temp file does then.
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

/** What a writer has open, if it has. Without the rules of NTFS nobody looks at it. */
function openAfter(before: string, { name, args }: Call, answer: Answer): string {
  if (name === 'close') return '';
  return (name === 'create' || name === 'open') && 'value' in answer ? args.join('/') : before;
}

/** What a writer's future depends on beside what it does next. */
function rememberedAfter(
  { turn, lists }: Progress,
  { name, args }: Call,
  answer: Answer,
): Pick<Progress, 'turn' | 'lists'> {
  if (name === 'list') {
    const names = JSON.stringify(answer);
    return { turn, lists: args[0] === `${dirname(FILE)}/.` ? { beside: names } : { ...lists, names } };
  }
  if (['unlink', 'rmdir', 'isStale', 'close'].includes(name)) return { turn, lists };
  return { turn: `${name === 'rename' ? args[1] : name} ${JSON.stringify(answer)}`, lists: {} };
}

/** Looking again at what has not changed would go on for ever. */
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

/** Takes out the removed files that nobody has open any more. */
function purged(state: State): State {
  if (state.removed.length === 0) return state;
  const stillOpen = opened(state);
  const gone = state.removed.filter(path => !stillOpen.includes(path));
  if (gone.length === 0) return state;
  const directories = new Map(state.directories);
  for (const path of gone) takeOut(directories, path);
  return { ...state, directories, removed: state.removed.filter(path => stillOpen.includes(path)) };
}

/** What a call of one of these names does to a directory, and its answer. */
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

/**
 * Every way in which writers can interleave, on a model of a folder. The writers are the generators of
 * src/storage/lock.ts themselves, run anew from their recorded answers for each state, so that model and code cannot
 * drift apart.
 */
import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import type { Outcome, Step, Writer } from '../../src/storage/lock.js';

const TARGET = '/folder/passwd';
const WRITER_FOLDER = `${TARGET}.writer`;

/** What a writer was told so far, from which its generator can be run to where it is. */
interface Told {
  answers: ReadonlyArray<{ value: unknown } | { error: string }>;
  /** What it does next. */
  step: Step | undefined;
  /** What its future hangs on beside that: the last turning point and its outcome, and the lists it walks. */
  turn: string;
  lists: { folder?: string; names?: string };
  nonces: number;
  /** What it read: the commits in the file by then. */
  read: readonly number[];
  end: Outcome | 'dead' | undefined;
}

interface World {
  /** The commits that the file holds. */
  file: readonly number[];
  folders: Map<string, readonly string[]>;
  writers: Told[];
  deaths: number;
}

/** What an exploration found. */
export interface Exploration {
  states: number;
  /** How it came to a lost update, the steps of each writer in order; `undefined`: never. */
  lost: string[] | undefined;
  /** Ends in which a living writer had not committed. */
  stuck: number;
  ends: number;
}

/** How an exploration goes about. */
export interface Exploring {
  writers: number;
  deaths: number;
  /** How many times in all a fenced or swept writer may start over; after that it is left alone. */
  retries: number;
  /** Whether a rename may have happened although it says ENOENT, as over NFS. */
  repeatedRenames?: boolean;
  make(target: string, newNonce: () => string, nameStage: (nonce: string) => string): Writer;
}

type Choice = { value: unknown; world: World } | { error: string; world: World };

/** Explores until a lost update or to the end. */
export function explore(exploring: Exploring): Exploration {
  const seen = new Set<string>();
  const found: Exploration = { states: 0, lost: undefined, stuck: 0, ends: 0 };
  const stack: Array<{ world: World; path: Path | undefined }> = [
    { world: startOf(exploring), path: undefined },
  ];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { world, path } = next;
    found.states++;
    let moves = 0;
    for (const move of possibleMoves(exploring, world)) {
      moves++;
      const trace = { step: move.what, before: path };
      if (isLost(move.world)) return { ...found, lost: steppedThrough(trace) };
      const key = keyOf(move.world);
      if (seen.has(key)) continue;
      seen.add(key);
      stack.push({ world: move.world, path: trace });
    }
    if (moves > 0) continue;
    found.ends++;
    if (
      world.writers.some(({ step, end }) => step && end === undefined && !isLeftAlone(exploring, world, step))
    ) {
      found.stuck++;
    }
  }
  return found;
}

function startOf(exploring: Exploring): World {
  const writers = Array.from({ length: exploring.writers }, (_, id) => {
    const told: Told = {
      answers: [],
      step: undefined,
      turn: '',
      lists: {},
      nonces: 0,
      read: [],
      end: undefined,
    };
    replay(exploring, told, id);
    return told;
  });
  return { file: [], folders: new Map(), writers, deaths: exploring.deaths };
}

/** Everything that can happen next. */
function* possibleMoves(exploring: Exploring, world: World): Generator<{ what: string; world: World }> {
  for (const [id, { step, end }] of world.writers.entries()) {
    if (step === undefined || end !== undefined || isLeftAlone(exploring, world, step)) continue;
    for (const choice of choices(exploring, world, id, step)) {
      const answer = 'error' in choice ? { error: choice.error } : { value: choice.value };
      const told = choice.world.writers[id] as Told;
      tell(told, step, answer);
      replay(exploring, told, id);
      yield { what: `${id}: ${JSON.stringify(step)} ${JSON.stringify(answer)}`, world: choice.world };
    }
    if (world.deaths > 0) {
      const dying = copy(world);
      (dying.writers[id] as Told).end = 'dead';
      dying.deaths--;
      yield { what: `${id}: dies`, world: dying };
    }
  }
}

interface Path {
  step: string;
  before: Path | undefined;
}

function steppedThrough(path: Path): string[] {
  const steps: string[] = [];
  for (let at: Path | undefined = path; at !== undefined; at = at.before) steps.push(at.step);
  return steps.reverse();
}

/** A writer that committed and whose commit is not in the file any more. */
function isLost(world: World): boolean {
  return world.writers.some((told, id) => told.end === 'committed' && !world.file.includes(id));
}

/** Starting over is bounded, or the exploration would have no end. */
function isLeftAlone({ retries }: Exploring, world: World, step: Step): boolean {
  if (step.call !== 'mkdir') return false;
  const begun = world.writers.map(({ nonces, step }) => nonces - (step?.call === 'mkdir' ? 1 : 0));
  return begun.reduce((sum, count) => sum + count, 0) >= world.writers.length + retries;
}

/** Runs a writer's generator to where it is, and sees what it does next. */
function replay(exploring: Exploring, told: Told, id: number): void {
  let nonces = 0;
  const writer = exploring.make(
    TARGET,
    () => `${id}${String(nonces++).padStart(15, '0')}`,
    nonce => `${nonce}.${id + 1}..-`,
  );
  const protocol = writer.run();
  let next = protocol.next();
  for (const answer of told.answers) {
    next = 'error' in answer ? protocol.throw({ code: answer.error }) : protocol.next(answer.value);
  }
  told.nonces = nonces;
  told.step = next.done ? undefined : next.value;
  if (next.done) told.end = next.value;
}

function tell(told: Told, step: Step, answer: { value: unknown } | { error: string }): void {
  told.answers = [...told.answers, answer];
  if (step.call === 'rename' && step.to === TARGET) told.read = [];
  if (step.call === 'list') {
    const names = JSON.stringify(answer);
    told.lists = step.path === dirname(TARGET) ? { folder: names } : { ...told.lists, names };
  } else if (['mkdir', 'create', 'rename', 'work', 'is ours'].includes(step.call)) {
    told.turn = `${step.call === 'rename' ? step.to : step.call} ${JSON.stringify(answer)}`;
    told.lists = {};
  }
}

/** All that can come of a step: more than one thing where the disk or the clock decides. */
function* choices(exploring: Exploring, world: World, id: number, step: Step): Generator<Choice, void> {
  const next = copy(world);
  switch (step.call) {
    case 'is stale': {
      const holder = Number(basename(step.stage).split('.')[1]) - 1;
      yield { value: true, world: next };
      if (world.writers[holder]?.end !== 'dead') yield { value: false, world: copy(world) };
      return;
    }
    case 'work':
      (next.writers[id] as Told).read = world.file;
      yield { value: true, world: next };
      return;
    case 'is ours':
      yield { value: world.file.at(-1) === id, world: next };
      return;
    case 'pause':
      // Looking again at what has not changed would go on for ever.
      if (world.folders.get(WRITER_FOLDER)?.join() !== step.held.join() || holderIsDead(world)) {
        yield { value: undefined, world: next };
      }
      return;
    default: {
      const error = change(next, id, step);
      yield error === undefined ? { value: answerOf(next, step), world: next } : { error, world: next };
      if (error === undefined && exploring.repeatedRenames && step.call === 'rename' && step.to === TARGET) {
        yield { error: 'ENOENT', world: copy(next) };
      }
    }
  }
}

function holderIsDead(world: World): boolean {
  const [stage] = world.folders.get(WRITER_FOLDER) ?? [];
  return stage !== undefined && world.writers[Number(stage.split('.')[1]) - 1]?.end === 'dead';
}

function answerOf(world: World, step: Step): unknown {
  if (step.call !== 'list') return undefined;
  const stages = world.folders.get(step.path);
  return stages ?? [...world.folders.keys()].map(folder => basename(folder)).sort();
}

/** Does to the folder what a system call would do; the error's code, where it fails. */
function change(world: World, id: number, step: Step): string | undefined {
  const { folders } = world;
  switch (step.call) {
    case 'mkdir':
      folders.set(step.path, []);
      return undefined;
    case 'create': {
      const stages = folders.get(dirname(step.path));
      if (stages === undefined) return 'ENOENT';
      folders.set(dirname(step.path), [...stages, basename(step.path)].sort());
      return undefined;
    }
    case 'rename':
      return step.to === TARGET ? commit(world, id, step.from) : moveFolder(folders, step.from, step.to);
    case 'unlink':
      return takeOut(folders, step.path) ? undefined : 'ENOENT';
    case 'rmdir': {
      const stages = folders.get(step.path);
      if (stages === undefined) return 'ENOENT';
      if (stages.length > 0) return 'ENOTEMPTY';
      folders.delete(step.path);
      return undefined;
    }
    case 'list':
      return folders.has(step.path) || step.path === dirname(TARGET) ? undefined : 'ENOENT';
    default:
      return undefined;
  }
}

function moveFolder(folders: World['folders'], from: string, to: string): string | undefined {
  const stages = folders.get(from);
  if (stages === undefined) return 'ENOENT';
  if ((folders.get(to)?.length ?? 0) > 0) return 'ENOTEMPTY';
  folders.delete(from);
  folders.set(to, stages);
  return undefined;
}

function takeOut(folders: World['folders'], path: string): boolean {
  const stages = folders.get(dirname(path));
  if (!stages?.includes(basename(path))) return false;
  folders.set(
    dirname(path),
    stages.filter(stage => stage !== basename(path)),
  );
  return true;
}

function commit(world: World, id: number, stage: string): string | undefined {
  if (!takeOut(world.folders, stage)) return 'ENOENT';
  world.file = [...(world.writers[id] as Told).read, id];
  return undefined;
}

function copy(world: World): World {
  return { ...world, folders: new Map(world.folders), writers: world.writers.map(told => ({ ...told })) };
}

function keyOf(world: World): string {
  const writers = world.writers.map(({ step, turn, lists, nonces, read, end }) =>
    end === undefined && step !== undefined ? [step, turn, lists, nonces, read] : (end ?? 'left alone'),
  );
  const folders = [...world.folders].sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('md5')
    .update(JSON.stringify([world.file, folders, writers, world.deaths]))
    .digest('base64');
}

/** At which state of a broker a reload is over. Real brokers: test/live/hang-up.test.ts. */
import { expect, test } from 'vitest';
import { Reload } from '../../src/broker/hang-up.js';
import { type ProcessState, statusField } from '../../src/broker/process-view.js';

const state = (sleeps: number, ...what: Array<'asleep' | 'blocked' | 'pending'>): ProcessState => ({
  sleeps,
  isAsleep: what.includes('asleep'),
  isStopped: false,
  isBlocked: what.includes('blocked'),
  isPending: what.includes('pending'),
});

/** The index of the first of these states at which the reload is over. */
function overAt(before: ProcessState, wasAsleep: boolean, states: ProcessState[]): number {
  const reload = new Reload(before, wasAsleep);
  return states.findIndex(now => reload.isOver(now));
}

test('a reload is over when Mosquitto 2.0, which takes the signal at the end of its wait, waits again', () => {
  const waiting = state(7, 'asleep', 'blocked');
  const pending = state(7, 'asleep', 'blocked', 'pending');
  const states = [pending, pending, state(7), state(8), state(8, 'asleep', 'blocked')];
  expect(overAt(waiting, true, states)).toBe(4);
});

test('a reload is over only after a further wait of Mosquitto 2.0 if the signal comes while it works', () => {
  const next = state(8, 'asleep', 'blocked');
  const states = [state(7), state(7, 'blocked'), next, next, state(8), state(9, 'asleep', 'blocked')];
  expect(overAt(state(7), false, states)).toBe(5);
});

test('a reload is not over when Mosquitto 2.0 sleeps without blocking SIGHUP, which is not its wait for events', () => {
  const waiting = state(7, 'asleep', 'blocked');
  const pending = state(7, 'asleep', 'blocked', 'pending');
  const logging = [state(8, 'asleep'), state(9, 'asleep')];
  expect(overAt(waiting, true, [pending, ...logging, state(10, 'asleep', 'blocked')])).toBe(3);
});

test('a reload is over when Mosquitto 2.1, which the signal wakes, waits again', () => {
  const waiting = state(7, 'asleep');
  const states = [state(7, 'pending'), state(7, 'blocked'), state(7), state(7), state(8, 'asleep')];
  expect(overAt(waiting, true, states)).toBe(4);
});

test('a reload is over only after a further wait of Mosquitto 2.1 if it woke before the signal', () => {
  const waiting = state(7, 'asleep');
  const next = state(8, 'asleep');
  expect(overAt(waiting, false, [state(7), state(7), next, state(8), state(9, 'asleep')])).toBe(4);
  expect(overAt(waiting, false, [next, next, state(8), state(9, 'asleep')])).toBe(3);
});

test('a reload is not known to be over while the broker works all the time', () => {
  expect(overAt(state(7), false, [state(7, 'pending'), state(7), state(7), state(8), state(9)])).toBe(-1);
});

test('statusField returns an empty string for an empty field, not the field below', () => {
  const status = 'Gid:\t54321\t54321\t54321\t54321\nGroups:\t \nNStgid:\t7\n';
  expect(['Gid', 'Groups', 'NStgid', 'Pid'].map(name => statusField(status, name))).toEqual([
    '54321\t54321\t54321\t54321',
    '',
    '7',
    undefined,
  ]);
});

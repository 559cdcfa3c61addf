/** By which states of the broker a reload is over. What the kernel shows in truth, test/live/hang-up.test.ts tests. */
import { expect, test } from 'vitest';
import { Reload } from '../../src/broker/hang-up.js';
import { type ProcessState, statusField } from '../../src/broker/process-view.js';

const state = (sleeps: number, ...what: Array<'asleep' | 'blocked' | 'pending'>): ProcessState => ({
  sleeps,
  isAsleep: what.includes('asleep'),
  isBlocked: what.includes('blocked'),
  isPending: what.includes('pending'),
});

/** Of these states, the first one at which the reload is over. */
function overAt(before: ProcessState, sleptOn: boolean, states: ProcessState[]): number {
  const reload = new Reload(before, sleptOn);
  return states.findIndex(now => reload.isOver(now));
}

test('Mosquitto 2.0 takes the signal at the end of its wait, reloads and waits again', () => {
  const waiting = state(7, 'asleep', 'blocked');
  const pending = state(7, 'asleep', 'blocked', 'pending');
  const states = [pending, pending, state(7), state(8), state(8, 'asleep', 'blocked')];
  expect(overAt(waiting, true, states)).toBe(4);
});

test('Mosquitto 2.0 that gets the signal while it works may look for it only after its next wait', () => {
  const next = state(8, 'asleep', 'blocked');
  const states = [state(7), state(7, 'blocked'), next, next, state(8), state(9, 'asleep', 'blocked')];
  expect(overAt(state(7), false, states)).toBe(5);
});

test('Mosquitto 2.0 that sleeps without blocking the signal is not in its wait', () => {
  const waiting = state(7, 'asleep', 'blocked');
  const pending = state(7, 'asleep', 'blocked', 'pending');
  const logging = [state(8, 'asleep'), state(9, 'asleep')];
  expect(overAt(waiting, true, [pending, ...logging, state(10, 'asleep', 'blocked')])).toBe(3);
});

test('Mosquitto 2.1 is woken by the signal, reloads and waits again', () => {
  const waiting = state(7, 'asleep');
  const states = [state(7, 'pending'), state(7, 'blocked'), state(7), state(7), state(8, 'asleep')];
  expect(overAt(waiting, true, states)).toBe(4);
});

test('Mosquitto 2.1 that woke of its own accord before the signal may look for it only after its next wait', () => {
  const waiting = state(7, 'asleep');
  const next = state(8, 'asleep');
  expect(overAt(waiting, false, [state(7), state(7), next, state(8), state(9, 'asleep')])).toBe(4);
  expect(overAt(waiting, false, [next, next, state(8), state(9, 'asleep')])).toBe(3);
});

test('a broker that works all the time has not reloaded for sure', () => {
  expect(overAt(state(7), false, [state(7, 'pending'), state(7), state(7), state(8), state(9)])).toBe(-1);
});

test('an empty field of /proc/PID/status is empty, and not the field below', () => {
  const status = 'Gid:\t54321\t54321\t54321\t54321\nGroups:\t \nNStgid:\t7\n';
  expect(['Gid', 'Groups', 'NStgid', 'Pid'].map(name => statusField(status, name))).toEqual([
    '54321\t54321\t54321\t54321',
    '',
    '7',
    undefined,
  ]);
});

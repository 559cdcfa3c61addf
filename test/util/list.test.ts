import { expect, test } from 'vitest';
import { List } from '../../src/util/list.js';

/** The values of a list, and how often the list has yielded before it returned them. */
function valuesOf<T extends {}>(list: List<T>) {
  const work = list.values();
  for (let yields = 0; ; yields++) {
    const { done, value } = work.next();
    if (done) return { values: value, yields };
  }
}

test('a list keeps its values in the order of their numbers, however many there are, and yields after 256', () => {
  const list = new List<number>();
  const numbers = Array.from({ length: 1000 }, (_, i) => i);
  for (const number of numbers.toReversed()) list.set(number, number);
  expect(valuesOf(list)).toEqual({ values: numbers, yields: 4 });
});

test('a list leaves out what is missing', () => {
  const list = new List<string>();
  expect(valuesOf(list).values).toEqual([]);
  list.set(700, 'last');
  list.set(300, 'removed');
  list.set(300, undefined);
  list.set(1, 'first');
  expect(valuesOf(list).values).toEqual(['first', 'last']);
});

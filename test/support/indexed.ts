import { NameIndex } from '../../src/document/name-index.js';

/** The index of a whole file. */
export function indexed(bytes: Buffer, names?: ReadonlySet<string>): NameIndex {
  const index = new NameIndex(bytes, names);
  scanTo(index, bytes.length);
  return index;
}

/** Adds the lines that end before `limit`. */
export function scanTo(index: NameIndex, limit: number): void {
  const scan = index.scan(limit);
  while (!scan.next().done);
}

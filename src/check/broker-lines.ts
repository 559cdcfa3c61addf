import { LineReader } from '../document/line.js';
import type { BrokerRelease } from './stored-hash.js';

const NUL = 0;
const LF = 10;

/** The broker reads into a buffer of this size at first, and adds so much whenever a line does not fit. */
const BUFFER_SIZE = 256;
const BUFFER_GROWTH = 1000;

/**
 * What becomes of a line before it is parsed:
 *
 * | fate | meaning |
 * |---|---|
 * | `'read'` | the broker parses it, up to its first NUL |
 * | `'dropped'` | 2.1 drops it, or the part of it that fills the buffer, over a NUL |
 * | `'swallowed'` | 2.0 loses it with all that follows, over a NUL |
 * | `'lost'` | the last line, without a line feed, exactly fills the buffer: the broker then finds nothing more |
 */
export type LineFate = 'read' | 'dropped' | 'swallowed' | 'lost';

/**
 * Walks the lines of a password file as the broker's `fgets` sees them: 2.0.11 lib/misc_mosq.c `fgets_extending`, 2.1.2
 * libcommon/file_common.c `mosquitto_fgets`. Where releases 2.0.x differ (a NUL that begins a line ends the file for
 * 2.0.11, not for 2.0.21), it takes the worse.
 */
export class BrokerLines {
  /** The present line. It may begin in the middle of a line of the file, behind a part that was dropped. */
  readonly line: LineReader;
  fate: LineFate = 'read';
  /** The number of the present line in the file, from 1. */
  number = 0;
  /** Where the present line ends for the broker: at its line feed, its first NUL or the end of the file. */
  contentEnd = 0;
  readonly #release: BrokerRelease;
  #bufferSize = BUFFER_SIZE;
  #next = 0;
  #nul: number;

  constructor(bytes: Buffer, release: BrokerRelease) {
    this.line = new LineReader(bytes);
    this.#release = release;
    this.#nul = bytes.indexOf(NUL);
  }

  /** Goes to the next line; `false`: there is none. */
  advance(): boolean {
    const { line } = this;
    const { bytes } = line;
    const start = this.#next;
    if (start >= bytes.length) return false;
    if (start === 0 || bytes[start - 1] === LF) this.number++;
    line.read(start);
    this.#next = line.next;
    this.contentEnd = line.end;
    if (this.#nul >= 0 && this.#nul < start) this.#nul = bytes.indexOf(NUL, start);
    if (this.#nul >= 0 && this.#nul < line.end) {
      this.contentEnd = this.#nul;
      this.fate = this.#release === '2.0' ? this.#swallow() : this.#drop();
      return true;
    }
    const length = Math.min(line.next, bytes.length) - start;
    while (length >= this.#bufferSize) this.#bufferSize += BUFFER_GROWTH;
    const isFull = line.end === bytes.length && length === this.#bufferSize - 1;
    this.fate = isFull ? 'lost' : 'read';
    return true;
  }

  /**
   * 2.0 looks for the line feed before the first NUL only, so it reads on to the end of the file. Where that is not
   * behind a line feed, it then parses what stands before the NUL.
   */
  #swallow(): LineFate {
    const { bytes, start } = this.line;
    this.#next = bytes.length;
    const lastStart = bytes.lastIndexOf(LF) + 1;
    const firstRead = lastStart <= start ? this.#bufferSize - 1 : BUFFER_GROWTH;
    const left = bytes.length - Math.max(start, lastStart) - firstRead;
    const nothingLeft = left === -firstRead || (left >= 0 && left % BUFFER_GROWTH === 0);
    return nothingLeft || this.contentEnd === start ? 'swallowed' : 'read';
  }

  /** 2.1 gives up on what it has in its buffer when that turns out to hold a NUL, and goes on behind it. */
  #drop(): LineFate {
    const { line } = this;
    const { bytes, start, end } = line;
    const lineStop = Math.min(line.next, bytes.length);
    while (start + this.#bufferSize - 1 <= this.#nul) this.#bufferSize += BUFFER_GROWTH;
    const readStop = start + this.#bufferSize - 1;
    if (end === bytes.length && readStop > lineStop) return 'read';
    this.#next = Math.min(readStop, lineStop);
    return 'dropped';
  }
}

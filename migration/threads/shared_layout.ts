/** Giving out the memory that threads share, so that nobody counts its slots by hand. */

/**
 * Bytes from group to group. What different threads write is kept in different groups, so that it is not
 * on one cache line; shared memory is aligned to 16 bytes only, so the end of a full group may still lie
 * on the line where the next one begins.
 */
const LINE_BYTES = 64;

/**
 * The plan of a piece of shared memory. It is made once, when a module is loaded, and is the same in every
 * thread; then each thread sees the memory through arrays over the whole of it.
 *
 * @example
 * ```ts
 * import { SharedLayout } from "./shared_layout.ts";
 *
 * const layout = new SharedLayout();
 * const Flag = layout.words("STOP", "PAUSED");
 * const Counter = layout.numbers("PAGES", "BYTES");
 *
 * const buffer = new SharedArrayBuffer(layout.bytes);
 * Atomics.store(new Int32Array(buffer), Flag.PAUSED, 1);
 * new Float64Array(buffer)[Counter.BYTES]! += 4096;
 * ```
 */
export class SharedLayout {
  #bytes = 0;

  /** Bytes of all that was given out: what the memory must have. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Gives out a group of 32-bit words.
   *
   * @param names one for each word
   * @returns the words' indices in an `Int32Array` over the whole memory
   */
  words<Name extends string>(...names: readonly Name[]): Readonly<Record<Name, number>> {
    return indices(names, this.room(names.length * 4) / 4);
  }

  /**
   * Gives out a group of float64, which are stored whole in shared memory: one writer, any readers.
   *
   * @param names one for each number
   * @returns the numbers' indices in a `Float64Array` over the whole memory
   */
  numbers<Name extends string>(...names: readonly Name[]): Readonly<Record<Name, number>> {
    return indices(names, this.room(names.length * 8) / 8);
  }

  /**
   * Gives out a group that something else lays out.
   *
   * @param bytes how many it takes
   * @returns bytes from the start of the memory, a multiple of 64
   */
  room(bytes: number): number {
    const offset = this.#bytes;
    this.#bytes += Math.ceil(bytes / LINE_BYTES) * LINE_BYTES;
    return offset;
  }
}

function indices<Name extends string>(
  names: readonly Name[],
  first: number,
): Readonly<Record<Name, number>> {
  if (new Set(names).size < names.length) throw new RangeError(`A name comes twice: ${names}`);
  const entries = names.map((name, index) => [name, first + index]);
  return Object.fromEntries(entries) as Readonly<Record<Name, number>>;
}

/** Which of many tasks is due next. */

/** An entry of the queue; it belongs to whoever made it. */
export interface Due {
  /** When it is due; Infinity for never. To be changed by {@linkcode Deadlines.set} alone. */
  time: number;
  /** Where it stands in the queue; -1 when it is in none. To be changed by the queue alone. */
  place: number;
}

/** A queue of times, the earliest first: a binary heap in which each entry knows its place. */
export class Deadlines<T extends Due> {
  readonly #heap: T[] = [];

  /** The earliest time; Infinity when nothing is due ever. */
  get next(): number {
    return this.#heap[0]?.time ?? Infinity;
  }

  /** Changes when an entry is due; Infinity takes it out. */
  set(entry: T, time: number): void {
    if (entry.time === time) return;
    entry.time = time;
    if (time === Infinity) return this.#remove(entry);
    if (entry.place < 0) {
      entry.place = this.#heap.length;
      this.#heap.push(entry);
    }
    this.#settle(entry);
  }

  /** Takes the earliest entry if it is due by now. */
  take(now: number): T | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.time > now) return undefined;
    first.time = Infinity;
    this.#remove(first);
    return first;
  }

  #remove(entry: T): void {
    const { place } = entry;
    if (place < 0) return;
    entry.place = -1;
    const last = this.#heap.pop()!;
    if (last === entry) return;
    this.#put(last, place);
    this.#settle(last);
  }

  /** Moves an entry to where it belongs. */
  #settle(entry: T): void {
    const heap = this.#heap;
    while (entry.place > 0) {
      const above = heap[(entry.place - 1) >> 1]!;
      if (above.time <= entry.time) break;
      this.#swap(entry, above);
    }
    while (true) {
      const left = heap[entry.place * 2 + 1];
      if (left === undefined) return;
      const right = heap[entry.place * 2 + 2];
      const below = right !== undefined && right.time < left.time ? right : left;
      if (below.time >= entry.time) return;
      this.#swap(entry, below);
    }
  }

  #swap(one: T, other: T): void {
    const { place } = one;
    this.#put(one, other.place);
    this.#put(other, place);
  }

  #put(entry: T, place: number): void {
    this.#heap[place] = entry;
    entry.place = place;
  }
}

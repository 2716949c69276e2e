/** What a tree's servers need of each other's descriptors: kept in a queue whose ends a holder has copies of. */

import { closeDescriptor } from "../../../ffi/descriptors.ts";
import { DescriptorQueue, type QueueEnds, type QueueItem } from "../../../ffi/descriptor_queue.ts";

/** What a descriptor in the pouch is. */
export const PouchKind = {
  /** Ends a turn; without a descriptor. */
  MARK: 0,
  /** Of the process with the number: its userfaultfd. */
  PROCESS: 1,
  /** The memory of its `PlacedPages`. */
  PLACED: 2,
  /** CRIU's connection. */
  CONNECTION: 3,
  /** The connection to a page server. */
  SERVER: 4,
} as const;

/** A descriptor that was taken over, which is the owner's to close. */
export interface TakenDescriptor extends QueueItem {
  readonly fd: number;
}

/**
 * A userfaultfd is in the pouch by one system call that waits for nobody: it needs no answer of a holder, for what
 * waits in a socket is open as long as the socket is.
 */
export class TreePouch {
  readonly #queue: DescriptorQueue;
  /** What is in the queue, oldest first. */
  #items: QueueItem[];

  /**
   * @param ends of the queue, owned elsewhere
   * @param items that are in it
   */
  constructor(ends: QueueEnds, items: readonly QueueItem[] = []) {
    this.#queue = new DescriptorQueue(ends);
    this.#items = [...items];
  }

  /** What is in it. */
  get items(): readonly QueueItem[] {
    return this.#items;
  }

  /**
   * Puts a copy of a descriptor in.
   *
   * @returns 0, or the errno
   */
  put(kind: number, id: number, fd: number): number {
    const item = { kind, id };
    const code = this.#queue.put(item, fd);
    if (code === 0) this.#items.push(item);
    return code;
  }

  /**
   * Drops what belongs to a process: nobody is to have it open any more.
   *
   * @returns what else is in it no longer, for want of room
   */
  dropProcess(id: number): QueueItem[] {
    return this.#drop((item) =>
      item.id === id && (item.kind === PouchKind.PROCESS || item.kind === PouchKind.PLACED)
    );
  }

  /** Drops all of a kind; likewise. */
  dropKind(kind: number): QueueItem[] {
    return this.#drop((item) => item.kind === kind);
  }

  #drop(isDropped: (item: QueueItem) => boolean): QueueItem[] {
    const lost: QueueItem[] = [];
    if (!this.#items.some(isDropped)) return lost;
    for (let left = this.#items.length; left > 0; left--) {
      const item = this.#items[0]!;
      if (isDropped(item)) this.#queue.pop();
      else (this.#queue.turn() === 0 ? this.#items : lost).push(item);
      this.#items.shift(); // last: what cannot be turned, for want of a number for its copy, is still there
    }
    return lost;
  }

  /** Copies all that a server before this one has put in: at no time is any of it not there, unless it is full. */
  takeAll(): TakenDescriptor[] {
    const mark = { kind: PouchKind.MARK, id: crypto.getRandomValues(new Uint32Array(1))[0]! };
    const taken: TakenDescriptor[] = [];
    this.#items = [];
    try {
      const aside = this.#queue.put(mark, -1) === 0 ? undefined : this.#setAside(mark);
      for (let item = this.#queue.first(); item !== undefined; item = this.#queue.first()) {
        if (item.kind === PouchKind.MARK) {
          this.#queue.pop();
          if (item.id === mark.id) break;
          continue; // of one that was killed while it did this
        }
        this.#take(item, taken, true);
      }
      if (aside !== undefined && aside.fd >= 0) this.#take(aside, taken, false);
      return taken;
    } catch (error) {
      for (const { fd } of taken) closeDescriptor(fd);
      throw error;
    }
  }

  /** Makes room for the mark. */
  #setAside(mark: QueueItem): TakenDescriptor | undefined {
    const item = this.#queue.first();
    this.#queue.pop();
    this.#queue.put(mark, -1);
    return item;
  }

  /** @param isFirst whether it is the oldest in the queue, too */
  #take(item: TakenDescriptor, taken: TakenDescriptor[], isFirst: boolean): void {
    const { kind, id, fd } = item;
    if (taken.some((other) => other.kind === kind && other.id === id)) {
      closeDescriptor(fd);
      if (isFirst) this.#queue.pop();
      return;
    }
    taken.push(item);
    const code = this.put(kind, id, fd);
    if (isFirst) this.#queue.pop();
    if (code !== 0) this.put(kind, id, fd); // there was no room for two of it
  }
}

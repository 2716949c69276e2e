/** What became of a process tree, in a memfd that outlives the server. */

import { FaultReader, MESSAGE_BYTES, UffdEvent } from "../../../ffi/fault_reader.ts";
import { discardMemory, hostPageSize, MappedMemory, viewMemory } from "../../../ffi/memory.ts";
import { readPair, writePair } from "../../../ffi/word_pairs.ts";

/** What an entry tells beside the messages of the kernel, which have numbers of their own (`UffdEvent`). */
export const RecordKind = {
  /** CRIU has connected. */
  CONNECTED: 0x80,
  /** CRIU has handed a process over: its number in the images. */
  ARRIVED: 0x81,
  /** Of a child: the kernel said whether it has what is oldest of what was moved: 0 or 1. */
  JUDGED: 0x82,
  /** The kernel said that a range is not mapped: start and end. */
  GONE: 0x83,
  /** All that is known of a process is sure. */
  SETTLED: 0x84,
  /** A process is served no longer. */
  OVER: 0x85,
  /** CRIU has said that all are restored. */
  RESTORED: 0x86,
  /** CRIU left before it said so. */
  ABANDONED: 0x87,
  /** Nobody serves a process, which no server had the userfaultfd of: its number in the images. */
  MISSED: 0x88,
  /** Of a record written anew: the number of the next process. */
  NEXT: 0x90,
  /** CRIU has handed a process over, which may be gone: its number in the images. */
  SEEN: 0x98,
  /** A process: its number in the images, and whether its map is settled. */
  PROCESS: 0x91,
  /** Pages of it: address, pages, first page. The second was moved there since the map was settled. */
  SEGMENT: 0x92,
  FRESH_SEGMENT: 0x93,
  /** What was in the way of something moved, likewise. */
  DISPLACED: 0x94,
  /** A range of which the kernel is to be asked: start and end. */
  DOUBTFUL: 0x95,
  /** A child of it whose map is not sure before: its number. */
  CHILD: 0x96,
  /** Of a child: what may have been moved before its fork: from, to and length. */
  MOVE: 0x97,
} as const;

/** Messages taken by one read. */
const MESSAGES = 64;
const ENTRY_WORDS = MESSAGE_BYTES / 4;

/** Words of the head, on a page of its own. */
const Head = { MAGIC: 0, HALF: 1, READER: 2, READ_AT: 3 } as const;
const MAGIC = 0x3154_4350;
const STAGE_OFFSET = 4096;
const HALF_OFFSET = 8192;
/** Bytes of each of two halves, of which the memory is taken that is written: 4 million entries. */
const HALF_BYTES = 128 * 1024 * 1024;
const CAPACITY = HALF_BYTES / MESSAGE_BYTES;
const RECORD_BYTES = HALF_OFFSET + 2 * HALF_BYTES;
/** Entries behind which the record is written anew: what there is now, not how it came to be. */
const RENEW_AT = 64 * 1024;

/** Makes the memory of a new record. */
export function newTreeRecord(): MappedMemory {
  const bytes = Math.ceil(RECORD_BYTES / hostPageSize()) * hostPageSize();
  return MappedMemory.memfd(bytes, "postcopy-tree");
}

/**
 * Maps the record of a server that is gone.
 *
 * @param fd its memfd, which may be closed afterwards
 */
export function takenTreeRecord(fd: number): MappedMemory {
  return MappedMemory.alias(fd, RECORD_BYTES);
}

/** Called with an entry. */
export type EntryVisitor = (kind: number, id: number, a: number, b: number, c: number) => void;

/**
 * The messages of all processes of a tree in their order, page faults left out, and what the kernel said when it
 * was asked.
 *
 * To read a message lets the thread go on that it tells of. A server that dies behind that read must not have
 * forgotten it: so messages are read into the record itself, on a page that is there, and are entered from there.
 * Whoever takes the record over enters what was not.
 *
 * An entry is there when its kind is, which is written last. So no entry is half there: a process that is killed
 * has written all that it wrote in the order in which it did.
 */
export class TreeRecord {
  readonly #address: number;
  readonly #words: Uint32Array;
  readonly #stage: Uint8Array<ArrayBuffer>;
  readonly #stageWords: Uint32Array;
  readonly #renewsAt: number;
  #renewAt: number;
  /** Index of the word at which the half begins that is written. */
  #start: number;
  #length = 0;
  #staged = 0;

  /**
   * @param address of the record's memory, owned elsewhere
   * @param renewAt entries behind which it is to be written anew
   */
  constructor(address: number, renewAt: number = RENEW_AT) {
    this.#address = address;
    this.#renewsAt = renewAt;
    this.#renewAt = renewAt;
    const bytes = viewMemory(address, RECORD_BYTES);
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, RECORD_BYTES / 4);
    this.#stage = viewMemory(address + STAGE_OFFSET, MESSAGES * MESSAGE_BYTES);
    this.#stageWords = new Uint32Array(this.#stage.buffer, this.#stage.byteOffset, MESSAGES * 8);
    this.#start = this.#startOf(this.#words[Head.HALF]!);
    if (this.#words[Head.MAGIC] === MAGIC) this.#goOn();
    else this.#stage.fill(0); // its page is there from now on
    this.#words[Head.MAGIC] = MAGIC;
  }

  /** Entries. */
  get length(): number {
    return this.#length;
  }

  /** True when it has so many entries that it should be written anew. */
  get isLong(): boolean {
    return this.#length >= this.#renewAt;
  }

  /** True when there was no room for an entry: what there is, is not enough to go on. */
  get full(): boolean {
    return this.#length >= CAPACITY;
  }

  /** Makes what reads a process's messages into the record; between two reads of one its messages stay. */
  newReader(uffd: number): FaultReader {
    return new FaultReader(uffd, MESSAGES, this.#stage);
  }

  /** To be called before each read: whose messages come. */
  beforeRead(id: number): void {
    const words = this.#stageWords;
    for (let message = 0; message < this.#staged; message++) words[message * ENTRY_WORDS] = 0;
    this.#staged = 0;
    this.#words[Head.READER] = id;
    this.#words[Head.READ_AT] = this.#length;
  }

  /** To be called behind each read with what it returned. */
  afterRead(count: number): void {
    this.#staged = Math.max(count, 0);
  }

  /** Adds an entry. */
  append(kind: number, id: number, a = 0, b = 0, c = 0): void {
    if (this.full) return;
    const words = this.#words;
    const at = this.#start + this.#length * ENTRY_WORDS;
    words[at + 1] = id;
    writePair(words, at + 2, a);
    writePair(words, at + 4, b);
    writePair(words, at + 6, c);
    Atomics.store(words, at, kind);
    this.#length++;
  }

  /** Calls back with each entry, oldest first. */
  each(visit: EntryVisitor): void {
    const words = this.#words;
    for (let entry = 0; entry < this.#length; entry++) {
      const at = this.#start + entry * ENTRY_WORDS;
      const [a, b, c] = [readPair(words, at + 2), readPair(words, at + 4), readPair(words, at + 6)];
      visit(words[at]!, words[at + 1]!, a, b, c);
    }
  }

  /**
   * Writes it anew: whoever is killed meanwhile leaves the old one.
   *
   * @param write adds the entries of what there is now
   */
  renew(write: () => void): void {
    this.beforeRead(0); // nothing that was read is to be entered behind the new ones
    const old = this.#start;
    const half = 1 - this.#words[Head.HALF]!;
    this.#start = this.#startOf(half);
    this.#length = 0;
    write();
    if (this.full) {
      [this.#start, this.#length] = [old, CAPACITY];
      return;
    }
    Atomics.store(this.#words, Head.HALF, half);
    this.#renewAt = Math.max(this.#renewsAt, 2 * this.#length);
    discardMemory(this.#address + old * 4, HALF_BYTES, true);
  }

  #startOf(half: number): number {
    return (HALF_OFFSET + half * HALF_BYTES) / 4;
  }

  /** Of a server that is gone: finds the end, and enters what was read and not entered. */
  #goOn(): void {
    const words = this.#words;
    while (!this.full && words[this.#start + this.#length * ENTRY_WORDS] !== 0) this.#length++;
    // A half that was being written has not begun to count.
    const other = this.#startOf(1 - words[Head.HALF]!);
    discardMemory(this.#address + other * 4, HALF_BYTES, true);
    const id = words[Head.READER]!;
    // Entries since the read: as many of its messages are there.
    let entered = this.#length - words[Head.READ_AT]!;
    const stage = this.#stageWords;
    for (let message = 0; message < MESSAGES; message++) {
      const at = message * ENTRY_WORDS;
      const event = stage[at]! & 0xff;
      if (event === 0 || event === UffdEvent.PAGEFAULT) continue;
      if (entered-- > 0) continue;
      this.append(
        event,
        id,
        readPair(stage, at + 2),
        readPair(stage, at + 4),
        readPair(stage, at + 6),
      );
    }
    this.#staged = MESSAGES;
    this.beforeRead(0);
  }
}

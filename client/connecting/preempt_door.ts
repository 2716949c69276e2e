/** Finding the preempt channel among the connections of a migration. */

import { Errno } from "../../ffi/errno.ts";
import { PollEvents, type PollSet } from "../../ffi/poll.ts";
import {
  acceptFrom,
  closeSocket,
  peekInto,
  setLowWater,
  shutdownSocket,
} from "../../ffi/socket_calls.ts";
import { readU32 } from "../../migration/protocol/byte_order.ts";
import { RECORD } from "../../migration/protocol/constants.ts";

/** Slots of a poll that a door takes. */
export const DOOR_SLOTS = 17;

const HEAD_BYTES = 8;
const FLAGS = 0xfff;

/** What the fault worker gets of the connections made so far. */
export interface IncomingConnections {
  /** Where further connections come. */
  readonly listenerFd: number;
  /** Connections that have said nothing yet; closed by their owner. */
  readonly silentFds: readonly number[];
}

/**
 * Accepts connections on the fault worker's thread until one of them turns out to be the preempt
 * channel. That has no greeting and says nothing before a page was asked for, so a connection is
 * taken for it when its first bytes are a page record. All others are closed: port scanners, health
 * checks, a second source.
 *
 * This is not left to the main thread, which may itself wait for a page that only the preempt
 * channel brings.
 */
export class PreemptDoor implements Disposable {
  readonly #poll: PollSet;
  readonly #slot: number;
  readonly #listenerFd: number;
  readonly #fds = new Int32Array(DOOR_SLOTS - 1).fill(-1);
  readonly #accepted = new Set<number>();
  readonly #head = new Uint8Array(HEAD_BYTES);
  #open = true;

  /**
   * @param poll what the thread waits on
   * @param slot the first of {@linkcode DOOR_SLOTS} slots of it
   * @param incoming the connections so far
   */
  constructor(poll: PollSet, slot: number, incoming: IncomingConnections) {
    this.#poll = poll;
    this.#slot = slot;
    this.#listenerFd = incoming.listenerFd;
    poll.watch(slot, incoming.listenerFd, PollEvents.IN);
    for (const fd of incoming.silentFds) this.#admit(fd);
  }

  /** True while some connection may yet turn out to be the preempt channel. */
  get undecided(): boolean {
    return this.#open && this.#fds.some((fd) => fd >= 0);
  }

  /**
   * Looks at what the last poll found.
   *
   * @returns the preempt channel's descriptor, once; else -1
   */
  look(): number {
    if (!this.#open) return -1;
    if (this.#poll.ready(this.#slot) !== 0) this.#accept();
    for (let index = 0; index < this.#fds.length; index++) {
      const fd = this.#fds[index]!;
      if (fd < 0 || this.#poll.ready(this.#slot + 1 + index) === 0) continue;
      if (!this.#speaksPages(fd)) {
        this.#drop(index);
        continue;
      }
      this.#fds[index] = -1;
      setLowWater(fd, 1);
      this.#shut();
      return fd;
    }
    return -1;
  }

  /** Closes what was accepted here, the preempt channel included. */
  close(): void {
    for (const fd of this.#accepted) closeSocket(fd);
    this.#accepted.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Accepts all that wait, however few the slots are: the source is among them. */
  #accept(): void {
    let fd = acceptFrom(this.#listenerFd);
    while (fd >= 0) {
      this.#accepted.add(fd);
      this.#admit(fd);
      fd = acceptFrom(this.#listenerFd);
    }
    // Not listening any more, or no descriptors left: the poll would report it again and again.
    if (fd !== -Errno.EAGAIN) this.#poll.watch(this.#slot, -1, 0);
  }

  #admit(fd: number): void {
    let index = this.#fds.indexOf(-1);
    if (index < 0) {
      index = 0; // the one that has been silent for longest
      this.#drop(index);
      this.#fds.copyWithin(0, 1);
      index = this.#fds.length - 1;
      this.#fds[index] = -1;
    }
    this.#fds[index] = fd;
    setLowWater(fd, HEAD_BYTES);
    for (let each = 0; each < this.#fds.length; each++) {
      this.#poll.watch(this.#slot + 1 + each, this.#fds[each]!, PollEvents.IN);
    }
  }

  /** A page's record begins with its offset and flags; the first of a channel names its block too. */
  #speaksPages(fd: number): boolean {
    if (peekInto(fd, this.#head, HEAD_BYTES) !== HEAD_BYTES) return false;
    const flags = readU32(this.#head, 4) & FLAGS;
    return flags === RECORD.PAGE || flags === RECORD.ZERO || flags === RECORD.END_OF_SECTION;
  }

  #drop(index: number): void {
    const fd = this.#fds[index]!;
    this.#fds[index] = -1;
    this.#poll.watch(this.#slot + 1 + index, -1, 0);
    if (this.#accepted.delete(fd)) closeSocket(fd);
    else shutdownSocket(fd);
  }

  /** The channel is found: everybody else is sent away, now and later. */
  #shut(): void {
    this.#open = false;
    this.#poll.watch(this.#slot, -1, 0);
    shutdownSocket(this.#listenerFd);
    for (let index = 0; index < this.#fds.length; index++) {
      if (this.#fds[index]! >= 0) this.#drop(index);
      else this.#poll.watch(this.#slot + 1 + index, -1, 0);
    }
  }
}

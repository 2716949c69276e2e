/** Sending on a worker's thread: it waits for room, and a stop always gets through. */

import { clearEvent } from "../ffi/eventfd.ts";
import type { Gather } from "../ffi/gather.ts";
import { PollEvents, PollSet } from "../ffi/poll.ts";
import { stalled } from "./role.ts";
import type { SendingEnd } from "./sending_end.ts";

/** How long a thread waits for room, and what ends that. */
export interface RoomWait {
  /** Eventfd that is signalled when `stopped` changes. */
  readonly wakeFd: number;
  /** Whether to give up. */
  readonly stopped: () => boolean;
  /** Milliseconds without room after which the peer counts as stalled. */
  readonly stallTimeout: number;
}

/** Sends gathered pages on one channel and waits for room. */
export class BlockingSender {
  /** The channel's end. */
  readonly end: SendingEnd;
  readonly #wait: RoomWait;
  readonly #poll = new PollSet(2);

  /**
   * @param end where to
   * @param wait how long
   */
  constructor(end: SendingEnd, wait: RoomWait) {
    this.end = end;
    this.#wait = wait;
    this.#poll.watch(1, wait.wakeFd, PollEvents.IN);
  }

  /**
   * Sends all that was gathered.
   *
   * @returns false when it was told to stop first
   * @throws {MigrationError} when the peer is gone or takes nothing
   */
  send(gather: Gather): boolean {
    while (!this.end.trySend(gather)) if (!this.#awaitRoom()) return false;
    return true;
  }

  #awaitRoom(): boolean {
    const { stopped, stallTimeout, wakeFd } = this.#wait;
    this.#poll.watch(0, this.end.fd, PollEvents.OUT);
    while (!stopped()) {
      const ready = this.#poll.wait(stallTimeout);
      if (ready === 0 && !stopped()) throw stalled(this.end.role, stallTimeout);
      if (this.#poll.ready(1) !== 0) clearEvent(wakeFd);
      if (this.#poll.ready(0) !== 0) return !stopped();
    }
    return false;
  }
}

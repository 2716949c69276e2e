/** Sending in the steps of a task: it waits for room without its thread, and a stop always gets through. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import type { Gather } from "../ffi/gather.ts";
import { PollEvents } from "../ffi/poll.ts";
import type { Steps, TaskPoll } from "../migration/threads/task.ts";
import { stalled } from "./role.ts";
import type { SendingEnd } from "./sending_end.ts";

/** How long a task waits for room, and what ends that. */
export interface RoomWait {
  /** Whether to give up. What changes it wakes the task by a descriptor that the task watches itself. */
  readonly stopped: () => boolean;
  /** Called after each wait: clears what else the task watches, and was woken by. */
  readonly woken: () => void;
  /** Called before each try: throws when what was gathered is not to be sent after all. */
  readonly check?: (() => void) | undefined;
  /** Milliseconds without room after which the peer counts as stalled. */
  readonly stallTimeout: number;
}

/** Sends gathered pages on one channel and waits for room. */
export class SteppedSender {
  /** The channel's end. */
  readonly end: SendingEnd;
  readonly #poll: TaskPoll;
  readonly #slot: number;
  readonly #wait: RoomWait;

  /**
   * @param end where to
   * @param poll the task's
   * @param slot of the poll, where the channel is while there is no room
   * @param wait how long
   */
  constructor(end: SendingEnd, poll: TaskPoll, slot: number, wait: RoomWait) {
    this.end = end;
    this.#poll = poll;
    this.#slot = slot;
    this.#wait = wait;
  }

  /**
   * Sends all that was gathered, or what is left of it.
   *
   * @returns false when it was told to stop first
   * @throws {MigrationError} when the peer is gone or takes nothing
   * @throws {SyscallError} `EFAULT` when a piece cannot be read
   */
  *send(gather: Gather): Steps<boolean> {
    while (true) {
      this.#wait.check?.();
      if (this.end.trySend(gather)) return true;
      if (!(yield* this.#awaitRoom())) return false;
    }
  }

  *#awaitRoom(): Steps<boolean> {
    const { stopped, woken, stallTimeout } = this.#wait;
    const end = monotonicNanoseconds() + stallTimeout * 1e6;
    // There only while it is waited for: a channel has room nearly always, and would wake the task.
    this.#poll.watch(this.#slot, this.end.fd, PollEvents.OUT);
    try {
      while (!stopped()) {
        this.#poll.sleep(Math.max(0, end - monotonicNanoseconds()));
        yield;
        const room = this.#poll.ready(this.#slot) !== 0;
        woken();
        if (room) return !stopped();
        // Not by what was found: others may have woken the task all the time.
        if (monotonicNanoseconds() >= end && !stopped()) {
          throw stalled(this.end.role, stallTimeout);
        }
      }
      return false;
    } finally {
      this.#poll.watch(this.#slot, -1, PollEvents.OUT);
    }
  }
}

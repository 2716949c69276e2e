/** How a task that sends waits: for its events, for a time, for its turn beside other sessions. */

import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import type { ChannelRole } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { SteppedSender } from "../../channel/stepped_sender.ts";
import type { Steps, TaskPoll } from "../../migration/threads/task.ts";

/** What ends the waits of a task. */
export interface TurnsInit {
  /** Eventfds that wake it; -1 for none. */
  readonly events: readonly number[];
  /** Whether it is to stop; one of the events is signalled when that changes. */
  readonly stopped: () => boolean;
  /** Called before each try to send: throws when what was gathered is not to be sent. */
  readonly check?: (() => void) | undefined;
  /** Milliseconds without room on a channel after which the peer counts as stalled. */
  readonly stallTimeout: number;
}

/** The waits of one task. */
export class Turns {
  readonly #poll: TaskPoll;
  readonly #init: TurnsInit;
  readonly #events: number[];
  #slots: number;
  /** An event was found where nobody looked for what it means: the next nap must not begin. */
  #missed = false;

  /**
   * @param poll the task's, of which nobody else uses a slot
   * @param init what ends the waits
   */
  constructor(poll: TaskPoll, init: TurnsInit) {
    this.#poll = poll;
    this.#init = init;
    this.#events = [...init.events];
    this.#slots = init.events.length;
    this.#events.forEach((fd, slot) => poll.watch(slot, fd, PollEvents.IN));
  }

  /** Makes what sends on a channel of the task. */
  sender(connection: ConnectionInit, role: ChannelRole): SteppedSender {
    const { stopped, check, stallTimeout } = this.#init;
    const woken = () => this.#keep();
    const wait = { stopped, woken, check, stallTimeout };
    return new SteppedSender(new SendingEnd(connection, role), this.#poll, this.#slots++, wait);
  }

  /** Leaves an event to whoever waits for it from now on. */
  leave(fd: number): void {
    const slot = this.#events.indexOf(fd);
    if (fd < 0 || slot < 0) return;
    this.#events[slot] = -1;
    this.#poll.watch(slot, -1, PollEvents.IN);
  }

  /** Waits for an event. Who called it knows which, and the next nap tells of all. */
  *pause(): Steps {
    yield;
    this.#keep();
  }

  /** Waits so long, or for an event, which the next nap still tells of. */
  *doze(nanoseconds: number): Steps {
    this.#poll.sleep(nanoseconds);
    yield* this.pause();
  }

  /**
   * Waits so long; returns true when there was an event before, or since the last nap: whatever it says,
   * a flag or a request, is to be looked at before the next.
   */
  *nap(nanoseconds: number): Steps<boolean> {
    if (!this.#missed) yield* this.doze(nanoseconds);
    const woken = this.#missed;
    this.#missed = false;
    return woken;
  }

  /** Lets the other tasks of the thread have their turns. */
  *give(): Steps {
    this.#poll.again();
    yield* this.pause();
  }

  /** Does what takes long by its pieces, between which the others have their turns. */
  *between<T>(pieces: Steps<T>): Steps<T> {
    while (true) {
      const { done, value } = pieces.next();
      if (done) return value;
      yield* this.give();
    }
  }

  #keep(): void {
    for (let slot = 0; slot < this.#events.length; slot++) {
      if (this.#poll.ready(slot) === 0) continue;
      clearEvent(this.#events[slot]!);
      this.#missed = true;
    }
  }
}

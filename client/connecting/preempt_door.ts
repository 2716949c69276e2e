/** Finding the preempt channel among the connections of a migration. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { FirstBytes } from "../../channel/first_bytes.ts";
import { Errno } from "../../ffi/errno.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { acceptFrom, closeSocket, shutdownSocket } from "../../ffi/socket_calls.ts";
import type { TaskPoll } from "../../migration/threads/task.ts";

/** Slots of a poll that a door takes. */
export const DOOR_SLOTS = 17;

/** Connections accepted at one look: a flood of them keeps nobody waiting. */
const ACCEPTED_A_LOOK = 32;

/** What the fault server gets of the connections made so far. */
export interface IncomingConnections {
  /** Where further connections come. */
  readonly listenerFd: number;
  /** Connections that have not said enough to be known; closed by their owner. */
  readonly silent: readonly ConnectionInit[];
}

/** A connection that may be the preempt channel. */
interface Caller {
  readonly first: FirstBytes;
  readonly slot: number;
}

/**
 * Accepts connections on the fault server's thread until one of them turns out to be the preempt
 * channel. That has no greeting and says nothing before a page was asked for, so a connection is
 * taken for it when its first bytes are a page record. All others are closed, also afterwards: port
 * scanners, health checks, a second source.
 *
 * This is not left to the main thread, which may itself wait for a page that only the preempt
 * channel brings.
 */
export class PreemptDoor implements Disposable {
  readonly #poll: Pick<TaskPoll, "watch" | "ready">;
  readonly #slot: number;
  readonly #listenerFd: number;
  /** Connections that may be the preempt channel, the one that has been silent for longest first. */
  readonly #silent: Caller[] = [];
  /** A connection keeps its slot: a descriptor must not be in two of them, not even for a moment. */
  readonly #freeSlots: number[] = [];
  readonly #accepted = new Set<number>();
  #open = true;
  /** Whether somebody may have said enough already: no poll tells of what was received before. */
  #unheard = true;
  #accepting = true;

  /**
   * @param poll what is waited on
   * @param slot the first of {@linkcode DOOR_SLOTS} slots of it
   * @param incoming the connections so far
   */
  constructor(
    poll: Pick<TaskPoll, "watch" | "ready">,
    slot: number,
    incoming: IncomingConnections,
  ) {
    this.#poll = poll;
    this.#slot = slot;
    this.#listenerFd = incoming.listenerFd;
    for (let index = 1; index < DOOR_SLOTS; index++) this.#freeSlots.push(slot + index);
    for (const connection of incoming.silent) this.#admit(connection);
    this.#watchListener();
  }

  /** True while some connection may yet turn out to be the preempt channel. */
  get undecided(): boolean {
    return this.#silent.length > 0;
  }

  /**
   * Looks at what the last poll found; to be called before the first poll too, for what was said before.
   *
   * @returns the preempt channel, once; what came by it already is in its head
   */
  look(): ConnectionInit | undefined {
    const knocks = this.#poll.ready(this.#slot) !== 0;
    const found = this.#open ? this.#hear() : undefined;
    if (found !== undefined) {
      this.refuse();
      return found;
    }
    // Not before everybody was heard: whoever has been silent for longest may have to go.
    if (knocks) this.#accept();
    return undefined;
  }

  /** From here on everybody is sent away: the channel is found, or no longer of use. */
  refuse(): void {
    this.#open = false;
    while (this.#silent.length > 0) this.#sendAway(this.#remove(0).fd);
  }

  /** Closes what was accepted here, the preempt channel included. */
  close(): void {
    for (const fd of this.#accepted) closeSocket(fd);
    this.#accepted.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Lets everybody speak who has something to say. */
  #hear(): ConnectionInit | undefined {
    for (let index = this.#silent.length - 1; index >= 0; index--) {
      const { first, slot } = this.#silent[index]!;
      if (!this.#unheard && this.#poll.ready(slot) === 0) continue;
      const speaker = first.listen();
      if (speaker === "silent") continue;
      this.#remove(index);
      if (speaker === "preempt") return first.connection;
      this.#sendAway(first.fd);
    }
    this.#unheard = false;
    return undefined;
  }

  /** Accepts those that wait, however few the slots are: the source is among them. */
  #accept(): void {
    for (let count = 0; count < ACCEPTED_A_LOOK; count++) {
      const fd = acceptFrom(this.#listenerFd);
      if (fd === -Errno.EINTR || fd === -Errno.ECONNABORTED) continue;
      if (fd < 0) {
        // No descriptors left, say: the poll would report it again and again until one is free.
        this.#accepting = fd === -Errno.EAGAIN;
        break;
      }
      this.#accepted.add(fd);
      if (this.#open) this.#admit({ fd });
      else this.#sendAway(fd);
    }
    this.#watchListener();
  }

  #admit(connection: ConnectionInit): void {
    if (this.#freeSlots.length === 0) this.#sendAway(this.#remove(0).fd);
    const slot = this.#freeSlots.pop()!;
    this.#silent.push({ first: new FirstBytes(connection), slot });
    this.#poll.watch(slot, connection.fd, PollEvents.IN);
  }

  /** Waits for a connection no more: before it is closed, for its number may be given out again at once. */
  #remove(index: number): FirstBytes {
    const { first, slot } = this.#silent[index]!;
    this.#silent.splice(index, 1);
    this.#poll.watch(slot, -1, 0);
    this.#freeSlots.push(slot);
    return first;
  }

  #watchListener(): void {
    this.#poll.watch(this.#slot, this.#accepting ? this.#listenerFd : -1, PollEvents.IN);
  }

  #sendAway(fd: number): void {
    if (this.#accepted.delete(fd)) closeSocket(fd);
    else shutdownSocket(fd);
    this.#accepting = true;
    this.#watchListener();
  }
}

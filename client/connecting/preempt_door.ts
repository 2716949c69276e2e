/** Finding the preempt channel among the connections of a migration. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { FirstBytes } from "../../channel/first_bytes.ts";
import { Errno } from "../../ffi/errno.ts";
import { PollEvents, type PollSet } from "../../ffi/poll.ts";
import { acceptFrom, closeSocket, shutdownSocket } from "../../ffi/socket_calls.ts";

/** Slots of a poll that a door takes. */
export const DOOR_SLOTS = 17;

/** What the fault worker gets of the connections made so far. */
export interface IncomingConnections {
  /** Where further connections come. */
  readonly listenerFd: number;
  /** Connections that have not said enough to be known; closed by their owner. */
  readonly silent: readonly ConnectionInit[];
}

/**
 * Accepts connections on the fault worker's thread until one of them turns out to be the preempt
 * channel. That has no greeting and says nothing before a page was asked for, so a connection is
 * taken for it when its first bytes are a page record. All others are closed, also afterwards: port
 * scanners, health checks, a second source.
 *
 * This is not left to the main thread, which may itself wait for a page that only the preempt
 * channel brings.
 */
export class PreemptDoor implements Disposable {
  readonly #poll: PollSet;
  readonly #slot: number;
  readonly #listenerFd: number;
  /** Connections that may be the preempt channel, the one that has been silent for longest first. */
  readonly #silent: FirstBytes[] = [];
  readonly #accepted = new Set<number>();
  #open = true;
  /** Whether somebody may have said enough already: no poll tells of what was received before. */
  #unheard = true;
  #accepting = true;

  /**
   * @param poll what the thread waits on
   * @param slot the first of {@linkcode DOOR_SLOTS} slots of it
   * @param incoming the connections so far
   */
  constructor(poll: PollSet, slot: number, incoming: IncomingConnections) {
    this.#poll = poll;
    this.#slot = slot;
    this.#listenerFd = incoming.listenerFd;
    for (const connection of incoming.silent) this.#admit(connection);
    this.#watch();
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
    // Not before everybody was heard: a slot is somebody else's then.
    if (knocks) this.#accept();
    return undefined;
  }

  /** From here on everybody is sent away: the channel is found, or no longer of use. */
  refuse(): void {
    this.#open = false;
    for (const { fd } of this.#silent.splice(0)) this.#sendAway(fd);
    this.#watch();
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
    let changed = false;
    for (let index = this.#silent.length - 1; index >= 0; index--) {
      if (!this.#unheard && this.#poll.ready(this.#slot + 1 + index) === 0) continue;
      const each = this.#silent[index]!;
      const speaker = each.listen();
      if (speaker === "silent") continue;
      this.#silent.splice(index, 1);
      if (speaker === "preempt") return each.connection;
      this.#sendAway(each.fd);
      changed = true;
    }
    this.#unheard = false;
    if (changed) this.#watch();
    return undefined;
  }

  /** Accepts all that wait, however few the slots are: the source is among them. */
  #accept(): void {
    while (true) {
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
    this.#watch();
  }

  #admit(connection: ConnectionInit): void {
    if (this.#silent.length === DOOR_SLOTS - 1) this.#sendAway(this.#silent.shift()!.fd);
    this.#silent.push(new FirstBytes(connection));
  }

  #watch(): void {
    this.#poll.watch(this.#slot, this.#accepting ? this.#listenerFd : -1, PollEvents.IN);
    for (let index = 0; index < DOOR_SLOTS - 1; index++) {
      this.#poll.watch(this.#slot + 1 + index, this.#silent[index]?.fd ?? -1, PollEvents.IN);
    }
  }

  #sendAway(fd: number): void {
    if (this.#accepted.delete(fd)) closeSocket(fd);
    else shutdownSocket(fd);
    this.#accepting = true;
  }
}

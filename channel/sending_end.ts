/** A channel's sending end in a worker: it waits for room, and a stop always gets through. */

import { Errno, errnoName } from "../ffi/errno.ts";
import { clearEvent } from "../ffi/eventfd.ts";
import type { Gather } from "../ffi/gather.ts";
import { PollEvents, PollSet } from "../ffi/poll.ts";
import { MigrationError } from "../migration/migration_error.ts";

/** A socket that a worker sends on, with the eventfd that ends its waits. */
export class Channel {
  /** The socket, owned by the control plane. */
  readonly fd: number;
  readonly #name: string;
  readonly #stallTimeout: number;
  readonly #wakeFd: number;
  readonly #stopped: () => boolean;
  readonly #poll = new PollSet(2);

  /**
   * @param fd a connected socket
   * @param name the channel's name, for messages
   * @param wakeFd eventfd that is signalled when `stopped` changes
   * @param stopped whether to give up
   * @param stallTimeout milliseconds without room after which the peer counts as stalled
   */
  constructor(
    fd: number,
    name: string,
    wakeFd: number,
    stopped: () => boolean,
    stallTimeout: number,
  ) {
    this.fd = fd;
    this.#name = name;
    this.#wakeFd = wakeFd;
    this.#stopped = stopped;
    this.#stallTimeout = stallTimeout;
    this.#poll.watch(0, fd, PollEvents.OUT);
    this.#poll.watch(1, wakeFd, PollEvents.IN);
  }

  /**
   * Sends all that was gathered.
   *
   * @returns false when it was told to stop first
   * @throws {MigrationError} when the peer is gone or takes nothing
   */
  send(gather: Gather): boolean {
    while (true) {
      const code = gather.send(this.fd);
      if (code === 0) return true;
      if (code !== Errno.EAGAIN) {
        throw new MigrationError(
          "CONNECTION_LOST",
          `Destination went away: ${this.#name} channel: ${errnoName(code)}`,
        );
      }
      if (!this.#awaitRoom()) return false;
    }
  }

  #awaitRoom(): boolean {
    while (!this.#stopped()) {
      const ready = this.#poll.wait(this.#stallTimeout);
      if (ready === 0 && !this.#stopped()) {
        throw new MigrationError(
          "STALLED",
          `Destination has taken nothing on the ${this.#name} channel for ${
            this.#stallTimeout / 1000
          } s: see whether it still runs; --stall-timeout sets how long to wait`,
        );
      }
      if (this.#poll.ready(1) !== 0) clearEvent(this.#wakeFd);
      if (this.#poll.ready(0) !== 0) return !this.#stopped();
    }
    return false;
  }
}

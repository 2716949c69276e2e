/** Where CRIU connects, and its connection. */

import { PollEvents } from "../../../ffi/poll.ts";
import { acceptFrom } from "../../../ffi/socket_calls.ts";
import { MigrationError } from "../../../migration/migration_error.ts";
import type { TaskPoll } from "../../../migration/threads/task.ts";
import type { RestoreHandler } from "./restore_messages.ts";
import { RestoreSocket } from "./restore_socket.ts";

/** Nanoseconds until it is looked whether the rest of a message of CRIU has come: it sends it at once. */
const PART_INTERVAL = 1e6;
const HUNG_UP = PollEvents.RDHUP | PollEvents.HUP;

/** Hears of a connection, and what is said. */
export interface ConnectionHandler extends Omit<RestoreHandler, "restored"> {
  /** CRIU has connected. */
  connected(fd: number): void;
  /** A process is restored. */
  restored(pid: number, socket: RestoreSocket): void;
  /** Nothing more comes. */
  disconnected(reason: string): void;
}

/** A slot of a task's poll: for where it connects, then for its connection. */
export class RestoreConnection implements Disposable {
  readonly #listenerFd: number;
  readonly #poll: TaskPoll;
  readonly #slot: number;
  readonly #handler: ConnectionHandler;
  #socket: RestoreSocket | undefined;
  #ended = false;
  /** Whether a part of a message has come. */
  #part = false;

  /** @param listenerFd where it connects, owned elsewhere; -1: it has connected */
  constructor(listenerFd: number, poll: TaskPoll, slot: number, handler: ConnectionHandler) {
    this.#listenerFd = listenerFd;
    this.#poll = poll;
    this.#slot = slot;
    this.#handler = handler;
    poll.watch(slot, listenerFd, PollEvents.IN);
  }

  /**
   * Takes who connects, here and not on the main thread: what is restored waits already.
   *
   * @returns nanoseconds until the next look at the latest
   */
  step(): number {
    const ready = this.#ready;
    if (this.#socket === undefined) {
      if (ready !== 0) this.#accept();
    } else if (!this.#ended && (ready !== 0 || this.#part)) this.#hear((ready & HUNG_UP) !== 0);
    return this.#part ? PART_INTERVAL : Infinity;
  }

  /** Goes on with a connection, which is this object's from here on. */
  connect(fd: number): void {
    this.#poll.watch(this.#slot, -1, 0);
    this.#socket = new RestoreSocket(fd, {
      restored: (pid) => this.#handler.restored(pid, this.#socket!),
      finished: () => this.#handler.finished(),
    });
    this.#hear(false);
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.#poll.watch(this.#slot, -1, 0);
    this.#socket?.[Symbol.dispose]();
  }

  get #ready(): number {
    return this.#poll.ready(this.#slot);
  }

  #accept(): void {
    const fd = acceptFrom(this.#listenerFd);
    if (fd < 0) return;
    this.#handler.connected(fd);
    this.connect(fd);
  }

  #hear(hungUp: boolean): void {
    const socket = this.#socket!;
    try {
      const look = socket.hear(hungUp);
      this.#part = look === "part";
      if (typeof look === "object") return this.#end(look.ended);
      // Of a part that is there nothing new is said: only whether more can come.
      this.#poll.watch(
        this.#slot,
        socket.fd,
        this.#part ? PollEvents.RDHUP : PollEvents.IN | PollEvents.RDHUP,
      );
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      this.#end(error.message);
    }
  }

  #end(reason: string): void {
    this.#part = false;
    this.#ended = true;
    this.#poll.watch(this.#slot, -1, 0);
    this.#handler.disconnected(reason);
  }
}

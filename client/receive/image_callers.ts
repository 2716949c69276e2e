/** Whoever connects beside the main channel of an image: the preempt channel, and a source that resumes. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { connectionLost, FROM_SOURCE } from "../../channel/role.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { TaskPoll } from "../../migration/threads/task.ts";
import type { EntranceRules } from "../connecting/entrance.ts";
import { PreemptDoor } from "../connecting/preempt_door.ts";
import type { ImageMemory } from "./image_memory.ts";
import { ImagePreemptPages } from "./preempt_pages.ts";
import type { ReceiveState } from "./receive_state.ts";

/** The listener's connections, from LISTEN on, and the pages of the one that is the preempt channel. */
export class ImageCallers implements Disposable {
  readonly #poll: TaskPoll;
  readonly #slot: number;
  readonly #memory: ImageMemory;
  readonly #state: ReceiveState;
  readonly #entrance: EntranceRules;
  #door: PreemptDoor | undefined;
  #listeners = 0;
  #preempt: ImagePreemptPages | undefined;
  #resumable = false;
  /** Whether the connection has broken, and no source has resumed: a door that opens then begins so. */
  #held = false;

  /**
   * @param poll its task's
   * @param slot of it, and all behind that
   * @param memory where the preempt channel's pages go
   * @param state has the connections made so far
   * @param entrance where others come from
   */
  constructor(
    poll: TaskPoll,
    slot: number,
    memory: ImageMemory,
    state: ReceiveState,
    entrance: EntranceRules,
  ) {
    this.#poll = poll;
    this.#slot = slot;
    this.#memory = memory;
    this.#state = state;
    this.#entrance = entrance;
  }

  /** Lets in whoever has come before there was a listener; to be called before a wait. */
  begin(): void {
    if (this.#door === undefined) this.look();
  }

  /** Lets in whoever has come, and takes their pages unless the file cannot take them now. */
  look(): void {
    this.#listen();
    const connection = this.#door?.look();
    if (connection !== undefined) {
      this.#preempt = new ImagePreemptPages(connection, this.#memory, this.#state);
    }
    this.receive(); // also what came while it was found out who it is
  }

  /** Takes what has come on the preempt channel, unless the file cannot take it now. */
  receive(): void {
    const preempt = this.#preempt;
    if (preempt?.open !== true || this.#memory.holdsBack) return;
    const open = preempt.receive();
    this.#poll.watch(this.#slot, open ? preempt.fd : -1, PollEvents.IN);
  }

  /** Has pages wait in the preempt channel's socket, until the next {@linkcode ImageCallers.receive}. */
  rest(): void {
    this.#poll.watch(this.#slot, -1, 0);
  }

  /** Whether pages may still come on a preempt channel: one that is open, or has not shown itself. */
  get mayBringPages(): boolean {
    return this.#preempt?.open !== false;
  }

  /**
   * Sees whether the main channel is still the one that counts.
   *
   * @param missing pages to come
   * @throws {MigrationError} when its source has come again, or has lost the preempt channel
   */
  seeConnection(missing: number): void {
    if (this.#door?.knocks === true) {
      throw connectionLost(FROM_SOURCE.MAIN, "it has connected again");
    }
    const preempt = this.#preempt;
    if (preempt === undefined || preempt.open || preempt.marked || missing === 0) return;
    // QEMU 7.2 does not notice that itself, and what was on its way there comes by a recovery alone.
    throw connectionLost(FROM_SOURCE.PREEMPT, "it closed the connection");
  }

  /** From here on a source that resumes is welcome, whether it is known that the connection broke or not. */
  welcomeRecovery(): void {
    this.#resumable = true;
    if (this.#door !== undefined) this.#door.resumable = true;
  }

  /** The main channel of a source that resumes, once; it is its receiver's from here on, who closes it. */
  takeRecovery(): ConnectionInit | undefined {
    const main = this.#door?.takeRecovery();
    if (main !== undefined) this.#door!.give(main.fd);
    return main;
  }

  /** The connection has broken: ends the preempt channel, another is expected. */
  hold(): void {
    const preempt = this.#preempt;
    this.#preempt = undefined;
    this.#held = true;
    this.#door?.hold();
    if (preempt === undefined) return;
    this.rest();
    this.#door!.end(preempt.fd);
    preempt.close();
  }

  /** The source has resumed: its preempt channel may speak. */
  resume(): void {
    this.#held = false;
    this.#door?.resume();
  }

  /** Frees its buffers and closes the connections that were accepted here. */
  close(): void {
    this.#preempt?.close();
    this.#door?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Opens the door once it has a listener, and has it listen elsewhere too. */
  #listen(): void {
    if (this.#door === undefined) {
      const connections = this.#state.connections(this.#entrance);
      if (connections === undefined) return;
      this.#door = new PreemptDoor(this.#poll, this.#slot + 1, connections);
      if (this.#resumable) this.#door.resumable = true;
      // Or it would take the preempt channel for that of the source that resumes.
      if (this.#held) this.#door.hold();
    }
    while (this.#listeners < this.#state.listeners) {
      this.#door.listenAlso(this.#state.listener(this.#listeners++));
    }
  }
}

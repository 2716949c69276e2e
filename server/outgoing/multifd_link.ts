/** The channels of multifd on one link: how they are connected, and what their loss means. */

import type { ConnectionInit } from "../../channel/connection.ts";
import type { MultifdInit } from "../multifd/packet_slots.ts";
import type { SendingChannels } from "../multifd/sending_channels.ts";
import type { SourceState } from "../sending/source_state.ts";
import { untilAborted } from "./answers.ts";
import { notTaken } from "./multifd_agreement.ts";

/** The link that they belong to. */
export interface MultifdLinkInit {
  readonly channels: SendingChannels;
  readonly state: SourceState;
  /** Ends the link. */
  readonly signal: AbortSignal;
  /** Ends the link when one of them is lost too early. */
  readonly lost: (reason: unknown) => Promise<void>;
}

/** Runs them. */
export class MultifdLink {
  readonly #init: MultifdLinkInit;

  /** @param init the link */
  constructor(init: MultifdLinkInit) {
    this.#init = init;
  }

  /** For the task that gives them pages; undefined before they are connected. */
  get init(): MultifdInit | undefined {
    return this.#init.channels.init;
  }

  /**
   * Connects all of them, and lets them say who they are. The destination has the main channel by then: it may
   * take the first connection for that.
   *
   * @param connect makes a connection, owned elsewhere
   * @throws {MigrationError} when the destination does not take them
   */
  async connect(connect: () => Promise<ConnectionInit>): Promise<void> {
    const { channels, signal } = this.#init;
    try {
      channels.failed.catch((error) => this.#lose(error));
      for (let channel = 0; channel < channels.channels; channel++) channels.run(await connect());
      await untilAborted(channels.entered(), signal);
    } catch (cause) {
      signal.throwIfAborted();
      throw notTaken(channels.channels, cause);
    }
  }

  /** Tells the tasks to end; resolves when they have. */
  async stop(): Promise<void> {
    this.#init.channels.stop();
    await this.#init.channels.join();
  }

  /** One failed. Once the guest may run there, all that they had to bring is said to have come. */
  async #lose(error: unknown): Promise<void> {
    const { channels, state, lost } = this.#init;
    if (state.switched) return;
    // Without a page sent, it is the channels that it does not take.
    const refused = state.multifd.bytes === 0;
    await lost(refused ? notTaken(channels.channels, error) : error);
  }
}

/** The sockets of one receiver: where it listens, and its main channel. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { linger } from "../../channel/linger.ts";
import type { Ending } from "../connecting/late_source.ts";
import { Places } from "../connecting/places.ts";

/** Owns them for the control plane; the task uses their descriptors until it has ended. */
export class ReceiverSockets extends Places {
  #hasReturnPath = false;

  /** No task accepts where it listened first: see {@linkcode IncomingChannels.takeBack}. */
  acceptAgain(ending?: Ending): void {
    this.channels?.takeBack(ending);
  }

  /** The source listens to what is said to it: it hears the end. */
  openReturnPath(): void {
    this.#hasReturnPath = true;
  }

  /** A source that resumes listens to what is said to it. */
  override replaceMain(connection: ConnectionInit): ConnectionInit {
    this.openReturnPath();
    return super.replaceMain(connection);
  }

  /**
   * Closes all of them; no task uses one any more.
   *
   * @param heard whether a source that listens has heard the end, and may close the main channel first
   */
  async close(heard: boolean): Promise<void> {
    if (!heard) this.owned?.shutdown();
    else if (this.#hasReturnPath) await linger(this.owned!.init);
    this.owned?.close();
    await this.closePlaces();
  }
}

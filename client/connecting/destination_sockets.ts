/** The sockets of one destination: where it listens, and its main channel. */

import { linger } from "../../channel/linger.ts";
import { Places } from "./places.ts";

/** Owns them for the control plane; the tasks use their descriptors until they have ended. */
export class DestinationSockets extends Places {
  /** Sends away whoever comes from here on. */
  refuse(): void {
    this.channels?.refuse();
  }

  /** Ends the main channel at once: the source learns of it now, and the thread that reads it too. */
  hangUp(): void {
    this.owned?.shutdown();
  }

  /**
   * Closes all of them; no task uses one any more.
   *
   * @param heard whether the source has heard the end, and may close the main channel first
   */
  async close(heard: boolean): Promise<void> {
    if (heard) await linger(this.owned!.init);
    await this.closePlaces();
    this.owned?.close();
  }
}

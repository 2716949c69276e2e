/** Where the destination of a migration listens, and whether it is still there. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { untilAborted } from "./answers.ts";
import type { OutgoingOptions } from "./outgoing_options.ts";

/** The place of one destination. */
export class DestinationPlace {
  /** Where it listens, as far as is known. */
  address: SocketAddress;
  /** Whether nobody is there any more who could have the guest. */
  gone = false;
  readonly #listenAgain: OutgoingOptions["listenAgain"];

  constructor({ to, listenAgain }: Pick<OutgoingOptions, "to" | "listenAgain">) {
    this.address = to;
    this.#listenAgain = listenAgain;
  }

  /**
   * Has the destination listen, where somebody can be asked to do that.
   *
   * @returns whether it says that it has everything
   * @throws {MigrationError} `PEER_FAILED` when it says that it does not run the guest, `CONNECTION_LOST` when
   * it is to be asked again
   * @throws the signal's reason when that is aborted
   */
  async listensAgain(signal: AbortSignal): Promise<boolean> {
    const asked = Promise.resolve(this.#listenAgain?.(signal)).catch(() => undefined);
    const found = await untilAborted(asked, signal);
    if (found === "completed") return true;
    if (found === "failed") {
      this.gone = true;
      throw new MigrationError("PEER_FAILED", "Destination could not load the machine");
    }
    if (found === "not-yet") {
      throw new MigrationError("CONNECTION_LOST", "Destination does not listen yet");
    }
    if (found !== undefined) this.address = found;
    return false;
  }
}

/**
 * Child process: one destination that asks without pause when it is told to.
 *
 * Argument: the host to listen at. Each line in is a {@linkcode FloodCommand}, each line out its answer.
 * Ends with its standard input.
 *
 * @module
 */

import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { answerTries } from "./answers.ts";
import { within } from "./deadline.ts";
import { FloodingDestination, type FloodKind } from "./flooding_destination.ts";

/** What it can be asked. */
export type FloodCommand =
  | { readonly ask: "listen" }
  | { readonly ask: "accept" }
  | { readonly ask: "flood"; readonly kind: FloodKind }
  | { readonly ask: "calm" };

/** Answer to `listen`. */
export interface FloodListening {
  readonly address: SocketAddress;
}

/** Answer to `calm`. */
export interface Flooded {
  /** Requests a second that the server took. */
  readonly rate: number;
}

// It is to load the server, not the processor that it shares with the other destinations.
becomeBackgroundThread();
using destination = await FloodingDestination.listen(Deno.args[0] ?? "127.0.0.1");
let began = 0;
await answerTries(async (message) => {
  const command = message as FloodCommand;
  switch (command.ask) {
    case "listen":
      return { address: destination.address } satisfies FloodListening;
    case "accept":
      await within("the session that floods", destination.accept());
      return {};
    case "flood":
      began = monotonicNanoseconds();
      destination.flood(command.kind);
      return {};
    case "calm": {
      const sent = await within("the flood's last requests to be taken", destination.calm());
      return { rate: sent / (monotonicNanoseconds() - began) * 1e9 } satisfies Flooded;
    }
  }
});
Deno.exit(0);

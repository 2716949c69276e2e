/**
 * Child process: the page server, which runs many sessions of one image.
 *
 * Argument: the image. Each line in is a {@linkcode ServerCommand}, each line out its answer. Ends with its
 * standard input.
 *
 * @module
 */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { answerTries } from "./answers.ts";
import { within } from "./deadline.ts";

/** What the server can be asked. */
export type ServerCommand =
  | {
    readonly ask: "open";
    /** Where the destinations listen. */
    readonly to: readonly SocketAddress[];
    /** Bytes a second of each background stream; 0 for no limit. */
    readonly maxBandwidth: number;
  }
  | { readonly ask: "failures" }
  | { readonly ask: "completed" };

/** Answer to `open`, given at once: when the first session was made, monotonic nanoseconds. */
export interface Opened {
  readonly from: number;
}

/** Answer to `failures`: why sessions ended. */
export type Failures = readonly string[];

/** Answer to `completed`, when all sessions are: bytes sent. */
export interface Completed {
  readonly transferred: number;
}

using image = await openImage(Deno.args[0]!);
const running: Promise<number>[] = [];
const failures: string[] = [];

function open(to: readonly SocketAddress[], maxPostcopyBandwidth: number): Opened {
  const from = monotonicNanoseconds();
  for (const address of to) {
    const source = new Source(image, { to: address, maxPostcopyBandwidth });
    const sent = source.run().then(({ ram }) => ram.transferred);
    sent.catch((error) => failures.push(String(error)));
    running.push(sent);
  }
  return { from };
}

async function completed(): Promise<Completed> {
  const sent = await within("sources that complete", Promise.all(running));
  return { transferred: sent.reduce((sum, bytes) => sum + bytes, 0) };
}

await answerTries(async (message) => {
  const command = message as ServerCommand;
  switch (command.ask) {
    case "open":
      return open(command.to, command.maxBandwidth);
    case "failures":
      return failures;
    case "completed":
      return await completed();
  }
});
Deno.exit(0);

/** A source with multifd, for tests: sends what it is given, as pieces, each channel by itself. */

import { Socket } from "../../ffi/socket.ts";
import { shutdownSending } from "../../ffi/socket_calls.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";

/** What is sent on each connection, in pieces; a connection is made when its turn comes. */
export interface SentStreams {
  readonly main: readonly Uint8Array[];
  readonly channels: readonly (readonly Uint8Array[])[];
  /** In which order they connect: 0 is the main one, then the channels; default as it is. */
  readonly order?: readonly number[];
}

/**
 * Sends all of it: connects in the order given, speaks on all connections at once, ends the direction of each when
 * all of its was sent, and closes them when it is over.
 *
 * @param open connections whose direction is not ended before that; default none
 * @param over settles when the receiver wants nothing more, however that ended
 */
export async function sendStreams(
  to: SocketAddress,
  streams: SentStreams,
  over: Promise<unknown>,
  open: ReadonlySet<number> = new Set(),
): Promise<void> {
  const { main, channels, order = [main, ...channels].map((_, index) => index) } = streams;
  const all = [main, ...channels];
  await using stack = new AsyncDisposableStack();
  const sending: Promise<void>[] = [];
  for (const index of order) {
    const socket = stack.use(await Socket.connect(to));
    sending.push((async () => {
      for (const piece of all[index]!) await socket.sendAll(piece);
      if (!open.has(index)) shutdownSending(socket.fd);
    })());
  }
  // One that the receiver has ended takes nothing more: whether that was right is for the test to say.
  await Promise.allSettled([...sending, over]);
}

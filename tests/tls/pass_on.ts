/** What relays of tests do that begin TLS, end it, or both. */

import type { Connection } from "../../channel/connection.ts";
import { Errno } from "../../ffi/errno.ts";
import type { Listener } from "../../ffi/listener.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { Socket } from "../../ffi/socket.ts";
import { shutdownSending } from "../../ffi/socket_calls.ts";
import { waitReady } from "../../ffi/wait_ready.ts";

/** Bytes that are passed on together: some records. */
const PIECE = 65_536;

/** How an end ended a connection. */
export type Ending = "closing word" | "cut";

/** Serves everybody who connects until the listener is closed; ends when all have been served. */
export async function serveAll(
  listener: Listener,
  serve: (socket: Socket) => Promise<void>,
): Promise<void> {
  const all: Promise<void>[] = [];
  while (true) {
    const socket = await listener.accept().catch(() => undefined);
    if (socket === undefined) break;
    all.push(serve(socket));
  }
  await Promise.all(all);
}

/** Sends the first bytes of an array, all of them. */
export async function sendWhole(to: Connection, bytes: Uint8Array, count: number): Promise<void> {
  for (let sent = 0; sent < count;) {
    const taken = to.sendFrom(bytes.subarray(sent), count - sent);
    if (taken > 0) sent += taken;
    else if (taken !== -Errno.EAGAIN) throw to.failure ?? new Error(`errno ${-taken}`);
    else await waitReady(to.fd, PollEvents.OUT, "room at the other end", {});
  }
}

/** Passes on what comes through TLS, to its end; returns how that was told. */
export async function decrypt(from: Connection, to: Socket): Promise<Ending> {
  const bytes = new Uint8Array(PIECE);
  while (true) {
    const count = from.receiveInto(bytes, 0);
    if (count > 0) {
      await to.sendAll(bytes.subarray(0, count)).catch(() => {}); // gone: its end comes back
    } else if (count === -Errno.EAGAIN) {
      await waitReady(from.fd, PollEvents.IN, "the other end", {});
    } else {
      shutdownSending(to.fd);
      return count === 0 ? "closing word" : "cut";
    }
  }
}

/** Passes on what an end says; its end is no closing word, as with a QEMU, unless it is to be one. */
export async function encrypt(
  from: Socket,
  to: Connection,
  ending: () => Ending = () => "cut",
): Promise<void> {
  const bytes = new Uint8Array(PIECE);
  for (let count: number; (count = await from.receive(bytes)) > 0;) {
    await sendWhole(to, bytes, count);
  }
  if (ending() === "closing word") to.endSending();
  else shutdownSending(to.fd);
}

import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Listener } from "../../ffi/listener.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import { Socket } from "../../ffi/socket.ts";
import { PreemptConnection } from "../../server/outgoing/preempt_connection.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";

for (const mayClose of [true, false]) {
  Deno.test(
    `PreemptConnection that is closed ${
      mayClose ? "in time is never" : "too early is at once"
    } a lost one`,
    leavingNoDescriptors(async () => {
      using listener = await Listener.listen(LOOPBACK);
      const { signal } = new AbortController();
      const connect = () => Socket.connect(listener.address, { signal });
      using connection = await PreemptConnection.connect(connect, signal);
      const peer = await listener.accept();
      const seen: boolean[] = [];
      let calls = 0;
      connection.watch(signal, () => {
        // What others see who have their turn right after this one.
        for (let turn = 0; turn < 3; turn++) queueMicrotask(() => seen.push(connection.lost));
        return mayClose;
      }, () => {
        calls++;
        return Promise.resolve();
      });
      assertEquals(connection.lost, false);
      peer.close();
      await within("the end to be seen", connection.watched);
      assertEquals([connection.lost, calls], [!mayClose, mayClose ? 0 : 1]);
      assertEquals(seen, Array(3).fill(!mayClose));
    }),
  );
}

Deno.test(
  "PreemptConnection takes what comes for no end: TLS says things there that nobody reads",
  leavingNoDescriptors(async () => {
    using listener = await Listener.listen(LOOPBACK);
    const { signal } = new AbortController();
    const connect = () => Socket.connect(listener.address, { signal });
    using connection = await PreemptConnection.connect(connect, signal);
    using peer = await listener.accept();
    connection.watch(signal, () => false, () => Promise.resolve());
    await peer.sendAll(new Uint8Array(300));
    await waitReady(connection.fd, PollEvents.IN, "what was said", {});
    // Another turn of the loop that waits has been made when this is found.
    await waitReady(connection.fd, PollEvents.OUT, "room", {});
    assertEquals([connection.closed, connection.lost], [false, false]);
    peer.close();
    await within("the end to be seen", connection.watched);
    assertEquals([connection.closed, connection.lost], [true, true]);
  }),
);

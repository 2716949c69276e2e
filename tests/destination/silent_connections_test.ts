/** Connections that say nothing: port scanners, health checks, somebody who means harm. */
import "../support/native.ts";
import { assertEquals, assertGreaterOrEqual } from "@std/assert";
import { connect, type Socket as NodeSocket } from "node:net";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { Recovering } from "./recovering.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

const PAGES = 64;
const ALL = Array.from({ length: PAGES }, (_, page) => page);
/** Another host, as far as the destination can tell. */
const STRANGER = "127.0.0.9";

/** Connections that say nothing, closed when disposed of. */
class Silence implements AsyncDisposable {
  readonly #sockets: Socket[] = [];
  readonly #others: NodeSocket[] = [];

  /** Makes more from this host. */
  async add(to: SocketAddress, count: number): Promise<void> {
    for (let index = 0; index < count; index++) this.#sockets.push(await Socket.connect(to));
  }

  /** Makes more from another host. */
  async addStrangers(to: SocketAddress, count: number): Promise<void> {
    if (to.transport !== "tcp") throw new Error("Only over TCP");
    for (let index = 0; index < count; index++) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const socket = connect({ host: to.host, port: to.port, localAddress: STRANGER }, resolve);
      socket.on("error", reject);
      socket.resume();
      this.#others.push(socket);
      await within("a connection", promise);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.close();
    await Promise.all(this.#others.map((socket) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      socket.on("close", () => resolve());
      if (socket.closed) resolve();
      socket.destroy();
      return promise;
    }));
  }
}

/** Moves all pages, the first on the preempt channel that is open already. */
async function move(source: HostileSource, destination: Destination): Promise<void> {
  source.encodeUrgent([0]);
  await source.flushPreempt();
  await until("the urgent page to be placed", () => destination.statistics().received > 0);
  source.encodePages(ALL.slice(1));
  source.encodeEnd();
  await source.flush();
  await within("the destination to complete", destination.finished);
  const { received, pages } = destination.statistics();
  assertEquals([received, pages], [PAGES, PAGES]);
}

for (const count of [40, 1000]) {
  Deno.test(
    `Destination takes a migration beside ${count} silent connections, as QEMU 7.2 opens its channels`,
    leavingNoDescriptors(async () => {
      await using silence = new Silence();
      await using destination = new Destination({ guest: new StillGuest() });
      const to = await destination.listen(LOOPBACK);
      await silence.add(to, count);
      using source = new HostileSource(to, { ram: PAGES });
      await source.connect();
      await source.connectPreempt(); // silent too, and before the main channel has spoken
      await silence.add(to, 50);
      source.encodeAdvise();
      await source.flush();
      await within("PONG 1", source.hear(({ pongs }) => pongs.length > 0));
      await silence.add(to, count); // while the control plane accepts
      source.encodeBlocks();
      source.encodeSwitchover();
      await source.flush();
      await within("the guest", destination.waitFor("postcopy-active"));
      await silence.add(to, count); // while the fault server does
      await move(source, destination);
      const least = Math.max(0, 3 * count + 50 - 256);
      await until("the others to be sent away", () => destination.silentConnections.count >= least);
      assertEquals(destination.silentConnections.last, least > 0 ? "127.0.0.1" : "");
    }),
  );
}

Deno.test(
  "Destination keeps the preempt channel when another host floods it, however long before and after",
  leavingNoDescriptors(async () => {
    await using silence = new Silence();
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    await silence.addStrangers(to, 300);
    using source = new HostileSource(to, { ram: PAGES });
    await source.connect();
    await silence.addStrangers(to, 300); // between the channels of one source
    await source.connectPreempt();
    await silence.addStrangers(to, 300);
    await source.switchOver();
    await within("the guest", destination.waitFor("postcopy-active"));
    await silence.addStrangers(to, 300);
    await until(
      "those too many to be sent away",
      () => destination.silentConnections.count >= 1200 - 256,
    );
    await move(source, destination);
    assertEquals(destination.silentConnections.last, STRANGER);
  }),
);

Deno.test(
  "Destination that is paused and flooded recovers, its preempt channel silent among the others",
  leavingNoDescriptors(async () => {
    await using silence = new Silence();
    const { run, source } = await Recovering.start();
    await using _ = run;
    run.touch(5);
    await within("the request", source.hear(({ requests }) => requests.length === 1));
    source.main.close();
    await within("the pause", run.destination.waitFor("postcopy-paused"));
    await silence.add(run.to, 1000);
    const again = run.source();
    await again.connect();
    await again.connectPreempt();
    again.encodeRecovery();
    await again.flush();
    await within("the bitmaps", again.hear((_, { bitmaps }) => bitmaps.size === 2));
    await silence.add(run.to, 1000);
    await run.resume(again);
    await silence.add(run.to, 1000);
    again.encodeUrgent([5]);
    await again.flushPreempt();
    await run.received(1);
    await run.complete(again, again.missing().filter((page) => page !== 5));
    assertGreaterOrEqual(run.destination.silentConnections.count, 3000 - 3 * 256);
  }),
);

Deno.test(
  "Destination sends a connection away that is silent for the stall timeout, before its source comes",
  leavingNoDescriptors(async () => {
    await using destination = new Destination({ guest: new StillGuest(), stallTimeout: 200 });
    const to = await destination.listen(LOOPBACK);
    using silent = await Socket.connect(to);
    assertEquals(await within("the end", silent.receive(new Uint8Array(1))), 0);
    assertEquals(destination.silentConnections, { count: 1, last: "127.0.0.1" });
    using source = new HostileSource(to, { ram: PAGES });
    await source.connect();
    await source.switchOver();
    await source.connectPreempt();
    await move(source, destination);
  }),
);

Deno.test(
  "Destination waits for a preempt channel that is silent for longer than any stall timeout",
  leavingNoDescriptors(async () => {
    await using destination = new Destination({ guest: new StillGuest(), stallTimeout: 200 });
    const to = await destination.listen(LOOPBACK);
    using source = new HostileSource(to, { ram: PAGES });
    await source.connect();
    await source.connectPreempt();
    source.encodeAdvise();
    await source.flush();
    await within("PONG 1", source.hear(({ pongs }) => pongs.length > 0));
    await using silence = new Silence();
    await silence.addStrangers(to, 1);
    // It came last, and is sent away because the time is up: so is that of the preempt channel.
    await until("the stranger to go", () => destination.silentConnections.count === 1);
    assertEquals(destination.silentConnections.last, STRANGER);
    source.encodeBlocks();
    source.encodeSwitchover();
    await source.flush();
    await within("the guest", destination.waitFor("postcopy-active"));
    await move(source, destination);
  }),
);

Deno.test(
  "ImageReceiver takes a migration beside 1000 silent connections",
  leavingNoDescriptors(() =>
    withDirectory(async (directory) => {
      await using silence = new Silence();
      await using receiver = new ImageReceiver({ path: `${directory}/image` });
      const to = await receiver.listen(LOOPBACK);
      await silence.add(to, 1000);
      using source = new HostileSource(to, { ram: PAGES });
      await source.connect();
      await source.connectPreempt();
      await silence.add(to, 50);
      source.encodeAdvise();
      await source.flush();
      await within("PONG 1", source.hear(({ pongs }) => pongs.length > 0));
      await silence.add(to, 1000);
      source.encodeBlocks();
      source.encodeSwitchover();
      await source.flush();
      source.encodePages(ALL);
      source.encodeEnd();
      await source.flush();
      await within("the image", receiver.finished);
      assertEquals(receiver.statistics().received, PAGES);
      assertGreaterOrEqual(receiver.silentConnections.count, 2000 - 256);
      await within("the receiver to close", receiver.close());
    })
  ),
);

for (const late of ["accepted", "speaking"] as const) {
  Deno.test(
    `Destination finds both channels when the main channel is ${late} after the preempt channel's page`,
    leavingNoDescriptors(async () => {
      await using destination = new Destination({ guest: new StillGuest() });
      const to = await destination.listen(LOOPBACK);
      using source = new HostileSource(to, { ram: PAGES });
      if (late === "speaking") await source.connect();
      await source.connectPreempt();
      source.encodeUrgent([0]);
      await source.flushPreempt();
      // The destination has read it once somebody who came later, and is known at once, was sent away.
      using last = await Socket.connect(to);
      await last.sendAll(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
      const hungUp = last.receive(new Uint8Array(1)).catch(() => 0);
      assertEquals(await within("the last to be sent away", hungUp), 0);
      if (late === "accepted") await source.connect();
      await source.switchOver();
      await within("the guest", destination.waitFor("postcopy-active"));
      source.encodeUrgent([1]);
      await source.flushPreempt();
      await until("the urgent pages", () => destination.statistics().received === 2);
      source.encodePages(ALL.slice(2));
      source.encodeEnd();
      await source.flush();
      await within("the destination to complete", destination.finished);
    }),
  );
}

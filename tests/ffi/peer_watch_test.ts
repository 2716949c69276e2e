import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { Listener } from "../../ffi/listener.ts";
import { checkStallTimeout } from "../../ffi/peer_watch.ts";
import { Socket } from "../../ffi/socket.ts";
import { acceptFrom, closeSocket, getOption, SocketOption } from "../../ffi/socket_calls.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { inNamespaces, needsNamespaces } from "../support/namespaces.ts";
import { testUnless } from "../support/skip.ts";
import type { SilentPeerReport } from "./silent_peer.ts";

const { KEEP_ALIVE, KEEP_IDLE, KEEP_INTERVAL, USER_TIMEOUT } = SocketOption;
const options = (fd: number) =>
  [USER_TIMEOUT, KEEP_ALIVE, KEEP_IDLE, KEEP_INTERVAL].map((option) => getOption(fd, option));

Deno.test(
  "Socket and Listener have the kernel watch every peer, whoever accepts it",
  leavingNoDescriptors(async () => {
    const stallTimeout = 60_000;
    using listener = await Listener.listen(LOOPBACK, { stallTimeout });
    using client = await Socket.connect(listener.address, { stallTimeout });
    using served = await listener.accept();
    using _second = await Socket.connect(listener.address);
    await listener.ready();
    const fd = acceptFrom(listener.fd);
    for (const each of [client.fd, served.fd, fd]) {
      assertEquals(options(each), [60_000, 1, 20, 10]);
    }
    closeSocket(fd);
    assertEquals(options(_second.fd), [30_000, 1, 10, 5]);
  }),
);

Deno.test(
  "Socket leaves a unix socket alone, whose peer cannot vanish",
  leavingNoDescriptors(async () => {
    const directory = await Deno.makeTempDir();
    try {
      using listener = await Listener.listen({ transport: "unix", path: `${directory}/socket` });
      using client = await Socket.connect(listener.address, { stallTimeout: 1000 });
      using served = await listener.accept();
      for (const { fd } of [client, served]) {
        assertEquals([getOption(fd, KEEP_ALIVE), getOption(fd, USER_TIMEOUT)], [0, undefined]);
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }),
);

Deno.test("checkStallTimeout refuses what is no time, and says what one is", () => {
  assertEquals([checkStallTimeout(undefined), checkStallTimeout(1)], [30_000, 1]);
  for (const wrong of [0, -1, NaN, Infinity]) {
    assertThrows(
      () => checkStallTimeout(wrong),
      RangeError,
      `No stall timeout: ${wrong}: give milliseconds above 0, at most 86400000 (a day)`,
    );
  }
});

testUnless(
  needsNamespaces(),
  "watchPeer breaks a connection whose other end is silent, at rest or not, and none that is only idle",
  async () => {
    assertEquals(await inNamespaces<SilentPeerReport>("tests/ffi/silent_peer.ts"), {
      takesNothing: "ETIMEDOUT",
      idleMeanwhile: "1 bytes",
      idleConnected: "ETIMEDOUT",
      idleAccepted: "ETIMEDOUT",
      acceptedByDescriptor: "ETIMEDOUT",
      unacknowledged: "ETIMEDOUT",
      patient: "goes on",
    });
  },
);

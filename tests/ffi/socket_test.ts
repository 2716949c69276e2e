import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import {
  acceptFrom,
  closeSocket,
  receiveInto,
  sendFrom,
  setQuickAck,
} from "../../ffi/socket_calls.ts";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";

async function overEach(test: (at: SocketAddress) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await test(LOOPBACK);
    await test({ transport: "tcp", host: "::1", port: 0 });
    await test({ transport: "unix", path: `${directory}/socket` });
    assertEquals([...Deno.readDirSync(directory)], []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test(
  "Socket and Listener carry bytes over IPv4, IPv6 and unix sockets",
  leavingNoDescriptors(() =>
    overEach(async (at) => {
      using listener = await Listener.listen(at);
      const accepted = listener.accept();
      using client = await Socket.connect(listener.address);
      using served = await within("a connection", accepted);
      setQuickAck(served.fd);
      const sent = Uint8Array.from({ length: 3_000_000 }, (_, index) => index * 7);
      const received = new Uint8Array(sent.length);
      const sending = client.sendAll(sent).then(() => client.shutdown());
      let count = 0;
      for (let each = 1; each > 0; count += each) {
        each = await within("bytes", served.receive(received.subarray(count)));
        if (count === sent.length) break;
      }
      await sending;
      assertEquals(count, sent.length);
      assertEquals(received, sent);
    })
  ),
);

Deno.test(
  "Socket ends a wait with the signal's reason, and with a TimeoutError",
  leavingNoDescriptors(async () => {
    using listener = await Listener.listen(LOOPBACK);
    using client = await Socket.connect(listener.address);
    using served = await listener.accept();
    const abort = new AbortController();
    const buffer = new Uint8Array(1);
    const waits = [
      listener.accept({ signal: abort.signal }),
      served.receive(buffer, { signal: abort.signal }),
    ];
    const ended = waits.map((wait) => assertRejects(() => wait, Error, "Enough"));
    abort.abort(new Error("Enough"));
    await within("all waits to end", Promise.all(ended));
    const late = await assertRejects(() => client.receive(buffer, { timeout: 1 }), DOMException);
    assertEquals(late.name, "TimeoutError");
  }),
);

Deno.test(
  "Socket.sendAll rejects when the peer has gone",
  leavingNoDescriptors(async () => {
    using listener = await Listener.listen(LOOPBACK);
    using client = await Socket.connect(listener.address);
    (await listener.accept()).close();
    const error = await assertRejects(
      async () => {
        while (true) await client.sendAll(new Uint8Array(100_000));
      },
      SyscallError,
    );
    assertEquals(error.syscall, "send");
  }),
);

Deno.test(
  "Socket.shutdown wakes whoever waits for the descriptor",
  leavingNoDescriptors(async () => {
    using listener = await Listener.listen(LOOPBACK);
    using client = await Socket.connect(listener.address);
    using _served = await listener.accept();
    const received = client.receive(new Uint8Array(1));
    client.shutdown();
    assertEquals(await within("the end", received), 0);
  }),
);

Deno.test(
  "acceptFrom and receiveInto never wait",
  leavingNoDescriptors(async () => {
    using listener = await Listener.listen(LOOPBACK);
    assertEquals(acceptFrom(listener.fd), -Errno.EAGAIN);
    using client = await Socket.connect(listener.address);
    const fd = acceptFrom(listener.fd);
    const buffer = new Uint8Array(8);
    assertEquals(receiveInto(fd, buffer, 8), -Errno.EAGAIN);
    assertEquals(sendFrom(client.fd, new Uint8Array([7]), 1), 1);
    const poll = new PollSet(1);
    poll.watch(0, fd, PollEvents.IN);
    assertEquals(poll.wait(5000), 1);
    assertEquals(receiveInto(fd, buffer, 8), 1);
    closeSocket(fd);
  }),
);

Deno.test(
  "Socket and Listener end the waits for them when they are closed, and only these",
  leavingNoDescriptors(async () => {
    using listener = await Listener.listen(LOOPBACK);
    using client = await Socket.connect(listener.address);
    using served = await listener.accept();
    const accepting = listener.accept();
    const receiving = client.receive(new Uint8Array(1));
    const other = served.receive(new Uint8Array(1));
    for (const [wait, owner] of [[accepting, listener], [receiving, client]] as const) {
      const ended = assertRejects(() => wait, Error, "Closed while it was waited for");
      owner.close();
      await within("the wait to end", ended);
    }
    assertEquals(await within("the end", other), 0);
  }),
);

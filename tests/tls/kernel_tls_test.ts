/** Who encrypts what is sent, on any kernel: the tests hold with kernel TLS and without. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertNotEquals, assertStringIncludes } from "@std/assert";
import type { Connection } from "../../channel/connection.ts";
import { openConnection } from "../../channel/open_connection.ts";
import { Errno } from "../../ffi/errno.ts";
import { Gather } from "../../ffi/gather.ts";
import { addressOf } from "../../ffi/memory.ts";
import { PollSet } from "../../ffi/poll.ts";
import { setName, SocketOption } from "../../ffi/socket_calls.ts";
import { TlsContext } from "../../ffi/tls/context.ts";
import { kernelAnswer, kernelText, KernelTls } from "../../ffi/tls/kernel_tls.ts";
import { SessionWord, sharedParts, type TlsSession } from "../../ffi/tls/session.ts";
import { Pair } from "../channel/pair.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Ends, readOnce } from "./ends.ts";

const KEYS = [{ identity: "qemu", key: new Uint8Array(32).fill(7) }];

function test(name: string, body: () => Promise<void>): void {
  Deno.test(name, leavingNoDescriptors(body));
}

/** Who encrypts, as the session's threads know it. */
function kernelOf(session: TlsSession): KernelTls {
  return Atomics.load(sharedParts(session.init).words, SessionWord.KERNEL) as KernelTls;
}

/** What this kernel answers on a connection of its own. */
async function answerHere(): Promise<KernelTls> {
  using pair = await Pair.connect();
  return kernelAnswer(setName(pair.here.fd, SocketOption.UPPER_LAYER, "tls"));
}

Deno.test("kernelAnswer tells a kernel without TLS, a socket without it, and one that waits for keys", () => {
  assertEquals(kernelAnswer(0), KernelTls.UNFIT);
  assertEquals(kernelAnswer(Errno.EEXIST), KernelTls.UNFIT);
  assertEquals(kernelAnswer(Errno.ENOENT), KernelTls.MISSING);
  assertEquals(kernelAnswer(Errno.EPERM), KernelTls.MISSING);
  assertEquals(kernelAnswer(Errno.EOPNOTSUPP), KernelTls.NOT_TCP);
});

Deno.test("kernelText names who encrypts, and what is missing", () => {
  const texts = Object.values(KernelTls).map(kernelText);
  assertEquals(new Set(texts).size, texts.length);
  assertEquals(texts.filter((text) => text.startsWith("by the kernel")).length, 1);
  assertStringIncludes(kernelText(KernelTls.MISSING), "modprobe tls");
});

test("TlsHandshake has the kernel encrypt where it answers that it can, and OpenSSL elsewhere", async () => {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  using ends = await Ends.connect(clients, servers);
  const { client, server } = ends.open();
  const answer = await answerHere();
  if (answer === KernelTls.MISSING) {
    assertEquals(kernelOf(ends.client), KernelTls.MISSING);
    assertEquals(client.kernelSends, false);
  } else {
    assertEquals(kernelOf(ends.client), KernelTls.SENDS);
    assertEquals(client.kernelSends, true);
  }
  assertEquals(kernelOf(ends.server), KernelTls.UNASKED);
  assertEquals(server.kernelSends, false);
});

test("TlsHandshake leaves a unix socket to OpenSSL", async () => {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  using ends = await Ends.connectUnix(clients, servers);
  const { client, server } = ends.open();
  assertEquals(kernelOf(ends.client), KernelTls.NOT_TCP);
  assertEquals(client.writeFrom(new Uint8Array([1, 2, 3]), 3), 3);
  const bytes = new Uint8Array(16);
  assertEquals(readOnce(server, bytes), 3);
  assertEquals([...bytes.subarray(0, 3)], [1, 2, 3]);
});

/** Sends pieces of a page each until the socket has had enough; returns the pieces that went in full. */
function fill(connection: Connection, gather: Gather, pages: Uint8Array<ArrayBuffer>): boolean {
  gather.clear();
  for (let page = 0; page < pages.length; page += 4096) {
    gather.add(addressOf(pages) + page, 4096);
  }
  return connection.send(gather) === 0;
}

test("TlsConnection.send goes on in the middle of a piece, and ends with the closing word", async () => {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  using ends = await Ends.connect(clients, servers);
  const { server } = ends.open();
  const pages = new Uint8Array(new ArrayBuffer(100 * 4096)).map((_, at) =>
    at * 2_654_435_761 >>> 13
  );
  const connection = openConnection({ fd: ends.client.init.fd, tls: ends.client.init });
  const gather = new Gather(100);
  let rounds = 1;
  while (fill(connection, gather, pages)) rounds++;
  const expected = rounds * pages.length;
  const bytes = new Uint8Array(65_536);
  let sent = false;
  for (let got = 0; got < expected;) {
    const count = readOnce(server, bytes);
    assertEquals(count > 0, true, `${count} after ${got} of ${expected}`);
    for (let i = 0; i < count; i++, got++) {
      if (bytes[i] !== pages[got % pages.length]) throw new Error(`Another byte at ${got}`);
    }
    if (sent) continue;
    const code = connection.send(gather);
    assertEquals(code === 0 || code === -Errno.EAGAIN, true, `${code}`);
    sent = code === 0;
  }
  assertEquals(sent, true);
  connection.endSending();
  assertEquals(readOnce(server, bytes), 0);
  assertEquals(server.truncated, false);
});

test("TlsConnection.send says in words why it failed, whoever encrypts", async () => {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  using ends = await Ends.connect(clients, servers);
  ends.open();
  const connection = openConnection({ fd: ends.client.init.fd, tls: ends.client.init });
  ends.pair.there.close();
  const gather = new Gather(100);
  const pages = new Uint8Array(new ArrayBuffer(100 * 4096));
  const poll = new PollSet(1);
  let code = 0;
  while (code === 0 || code === -Errno.EAGAIN) {
    poll.watch(0, connection.fd, 4);
    poll.wait(20_000);
    if (code === 0) {
      gather.clear();
      gather.add(addressOf(pages), pages.length);
    }
    code = connection.send(gather);
  }
  assertNotEquals(connection.failure, undefined);
  assertMatch(connection.failure!.message, /ended the connection right after the handshake/);
});

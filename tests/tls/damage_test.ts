import { assertEquals, assertInstanceOf, assertNotEquals, assertStringIncludes } from "@std/assert";
import { Errno } from "../../ffi/errno.ts";
import { addressOf } from "../../ffi/memory.ts";
import { receiveInto, sendFrom } from "../../ffi/socket_calls.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { TlsContext } from "../../ffi/tls/context.ts";
import { layOnSocket } from "../../ffi/tls/kernel_tls.ts";
import { RECORD_BYTES, TlsSession } from "../../ffi/tls/session.ts";
import { TlsStream } from "../../ffi/tls/stream.ts";
import { TlsError, type TlsErrorCode } from "../../ffi/tls/tls_error.ts";
import { Pair } from "../channel/pair.ts";
import { closeAgainAndAgain } from "../support/closing.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Ends, readOnce, writeAll } from "./ends.ts";

const KEYS = [{ identity: "qemu", key: new Uint8Array(32).fill(7) }];
const PAGE = new Uint8Array(4096).map((_, at) => at % 251);

async function open(): Promise<Ends> {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  return await Ends.connect(clients, servers);
}

function assertTls(error: Error | undefined, code: TlsErrorCode, ...words: string[]): void {
  assertInstanceOf(error, TlsError);
  assertEquals(error.code, code, error.message);
  for (const word of words) assertStringIncludes(error.message, word);
}

function test(name: string, body: () => Promise<void>): void {
  Deno.test(name, leavingNoDescriptors(body));
}

/** Takes what is on the wire to an end, so that it can be changed. */
function intercept(fd: number): Uint8Array {
  const poll = new PollSet(1);
  poll.watch(0, fd, PollEvents.IN);
  assertEquals(poll.wait(20_000), 1);
  const bytes = new Uint8Array(65_536);
  return bytes.subarray(0, receiveInto(fd, bytes, bytes.length));
}

test("TlsStream.read tells a connection that was cut from one whose end was said", async () => {
  using ends = await open();
  const { client, server } = ends.open();
  const bytes = new Uint8Array(8192);
  assertEquals(writeAll(client, PAGE), PAGE.length);
  assertEquals(readOnce(server, bytes), PAGE.length);
  ends.pair.here.shutdown();
  assertEquals(readOnce(server, bytes), -Errno.EPROTO);
  assertEquals(server.truncated, true);
  assertTls(server.error, "TRUNCATED", "the client");
  assertEquals(readOnce(server, bytes), -Errno.EPROTO);
  assertTls(server.error, "TRUNCATED");
});

test("TlsStream.read says that a peer which leaves before its first word may not accept this end", async () => {
  using ends = await open();
  const { client } = ends.open();
  ends.pair.there.shutdown();
  assertEquals(readOnce(client, new Uint8Array(16)), -Errno.EPROTO);
  assertEquals(client.truncated, true);
  assertTls(client.error, "REFUSED", "right after the handshake");
});

test("TlsStream.read delivers nothing of a record of which any bit was changed on the way", async () => {
  for (const at of [0, 1, 3, 5, 6, 2000, -1]) {
    using ends = await open();
    const { client, server } = ends.open();
    const bytes = new Uint8Array(8192).fill(255);
    assertEquals(writeAll(client, PAGE), PAGE.length);
    assertEquals(readOnce(server, bytes), PAGE.length);
    bytes.fill(255);
    // The second record is taken off the wire, changed, and comes by another.
    assertEquals(writeAll(client, PAGE), PAGE.length);
    const record = intercept(ends.pair.there.fd);
    using wire = await Pair.connect();
    record.set([record.at(at)! ^ 4], at < 0 ? record.length + at : at);
    layOnSocket(BigInt(ends.server.init.address), wire.there.fd, false);
    const moved = new TlsStream({ ...ends.server.init, fd: wire.there.fd });
    assertEquals(sendFrom(wire.here.fd, record, record.length), record.length);
    wire.here.shutdown();
    assertEquals(readOnce(moved, bytes), -Errno.EPROTO, `bit of byte ${at}`);
    assertNotEquals(moved.error, undefined);
    assertEquals(bytes.every((byte) => byte === 255), true, `bytes came through: ${at}`);
  }
});

test("TlsStream.write fails once another thread has read what ended the session, at both ends", async () => {
  using ends = await open();
  const { client, server } = ends.open();
  const bytes = new Uint8Array(8192);
  for (const [from, to] of [[client, server], [server, client]] as const) {
    assertEquals(writeAll(from, PAGE), PAGE.length);
    assertEquals(readOnce(to, bytes), PAGE.length);
  }
  // What is no record ends it at the server, whose alert ends it at the client.
  const garbage = new Uint8Array(100).fill(23);
  assertEquals(sendFrom(ends.pair.here.fd, garbage, garbage.length), garbage.length);
  assertEquals(readOnce(server, bytes), -Errno.EPROTO);
  assertEquals(readOnce(client, bytes), -Errno.EPROTO);
  for (const { init } of [ends.server, ends.client]) {
    const other = new TlsStream(init);
    for (let time = 0; time < 2; time++) {
      assertEquals(other.writeFrom(PAGE, PAGE.length), -Errno.EPIPE);
      assertEquals(other.write(BigInt(addressOf(PAGE)), PAGE.length), -Errno.EPIPE);
    }
    assertStringIncludes(other.error!.message, "EPIPE");
  }
});

test("TlsStream.read names a peer that does not speak TLS", async () => {
  using servers = TlsContext.psk("server", KEYS);
  using clients = TlsContext.psk("client", KEYS);
  using ends = await Ends.connect(clients, servers);
  const plain = new TextEncoder().encode("QEVM\0\0\0\x03 and more than a record's header");
  sendFrom(ends.pair.here.fd, plain, plain.length);
  assertTls(ends.shakeHands().server, "NOT_TLS", "the client", "does not speak TLS");
});

test("TlsSession is freed once", async () => {
  using clients = TlsContext.psk("client", KEYS);
  using pair = await Pair.connect();
  closeAgainAndAgain(new TlsSession(clients, pair.here.fd, "the server"));
  const context = TlsContext.psk("client", KEYS);
  closeAgainAndAgain(context);
});

test("TlsStream.writeFrom sends a record that waits for room first, whichever thread comes next", async () => {
  using ends = await open();
  ends.pair.here.setSendBuffer(4096);
  ends.pair.there.setReceiveBuffer(4096);
  const { client, server } = ends.open();
  const other = new TlsStream(ends.client.init);
  let written = 0;
  const page = (kind: number) => new Uint8Array(8192).fill(kind);
  // Until there is no room: what was written last waits inside the session.
  for (let count; (count = client.writeFrom(page(1), 8192)) > 0;) written += count;
  assertEquals(other.writeFrom(page(2), 8192), -Errno.EAGAIN);
  assertEquals(other.wants, PollEvents.OUT);
  const bytes = new Uint8Array(RECORD_BYTES);
  const got: number[] = [0, 0, 0];
  let second = 0;
  const end = performance.now() + 60_000;
  for (let total = 0; total < written + 16_384;) {
    assertEquals(performance.now() < end, true, `Only so many bytes came: ${total}`);
    if (second <= 0) second = other.writeFrom(page(2), 8192);
    const count = server.readInto(bytes, bytes.length);
    if (count === -Errno.EAGAIN) continue;
    assertEquals(count > 0, true, String(server.error));
    const [kind] = bytes;
    assertEquals(bytes.subarray(0, count).every((byte) => byte === kind), true);
    got[kind!]! += count;
    total += count;
  }
  assertEquals(got, [0, written + 8192, 8192]);
  // The first is told of its own only when it asks.
  assertEquals(client.writeFrom(page(1), 8192), 8192);
  assertEquals(server.readInto(bytes, bytes.length), -Errno.EAGAIN);
});

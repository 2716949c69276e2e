import {
  assertEquals,
  assertGreaterOrEqual,
  assertInstanceOf,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import type { ConnectionInit } from "../../channel/connection.ts";
import { FirstBytes } from "../../channel/first_bytes.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { ReceivingEnd } from "../../channel/receiving_end.ts";
import { FROM_SOURCE, TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { Gather } from "../../ffi/gather.ts";
import { addressOf, MappedMemory } from "../../ffi/memory.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { TlsContext } from "../../ffi/tls/context.ts";
import { RECORD_BYTES, type TlsSession } from "../../ffi/tls/session.ts";
import { TlsStream } from "../../ffi/tls/stream.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Ends } from "./ends.ts";

const KEYS = [{ identity: "qemu", key: new Uint8Array(32).fill(7) }];
const PAGE = 4096;
const PAGES = 1500;

async function open(): Promise<Ends> {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  const ends = await Ends.connect(clients, servers);
  ends.open();
  return ends;
}

function init(session: TlsSession): ConnectionInit {
  return { fd: session.init.fd, tls: session.init };
}

function test(name: string, body: () => Promise<void>): void {
  Deno.test(name, leavingNoDescriptors(body));
}

/** Takes what comes, and waits for it. */
class Taking {
  readonly got: Uint8Array;
  length = 0;
  readonly #poll = new PollSet(1);

  constructor(readonly end: ReceivingEnd, room: number) {
    this.got = new Uint8Array(room);
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    // Three bytes are left each time, as of an element that has not come in full.
    const taken = Math.max(start, end - 3);
    this.got.set(bytes.subarray(start, taken), this.length);
    this.length += taken - start;
    return taken;
  }

  /** As a task does: only when the socket says that there is something. */
  step(milliseconds: number): boolean {
    this.#poll.watch(0, this.end.fd, PollEvents.IN);
    if (this.#poll.wait(milliseconds) === 0) return false;
    if (this.end.receive() > 0) this.end.decode(this);
    return true;
  }

  awaitEnd(): void {
    while (!this.end.ended) assertEquals(this.step(20_000), true, "Nothing came within 20 s");
  }
}

test("pages that a SendingEnd gathers arrive through TLS as they were, a poll for each receipt", async () => {
  using ends = await open();
  using memory = MappedMemory.anonymous(PAGES * PAGE);
  const bytes = memory.bytes();
  for (let at = 0; at < bytes.length; at++) bytes[at] = Math.imul(at, 2_654_435_761) >>> 24;
  const heads = new Uint8Array(PAGES * 9).map((_, at) => at);
  const expected = new Uint8Array(PAGES * (PAGE + 9));
  const sending = new SendingEnd(init(ends.client), TO_DESTINATION.MAIN);
  using buffer = new ReceiveBuffer(131_072);
  const taking = new Taking(
    new ReceivingEnd(init(ends.server), FROM_SOURCE.MAIN, buffer),
    expected.length,
  );
  const gather = new Gather(600);
  let waited = 0;
  for (let page = 0; page < PAGES;) {
    gather.clear();
    for (; page < PAGES && !gather.full; page++) {
      gather.add(addressOf(heads) + page * 9, 9);
      gather.add(memory.address + page * PAGE, PAGE);
      const to = page * (PAGE + 9);
      expected.set(heads.subarray(page * 9, page * 9 + 9), to);
      expected.set(bytes.subarray(page * PAGE, (page + 1) * PAGE), to + 9);
    }
    while (!sending.trySend(gather)) {
      waited++;
      while (taking.step(0));
    }
  }
  assertEquals(waited > 0, true, "There was always room");
  // A message goes behind them.
  sending.end();
  taking.awaitEnd();
  assertEquals(taking.end.closed, true);
  assertEquals(taking.length, expected.length - 3);
  assertEquals(taking.got.subarray(0, taking.length), expected.subarray(0, taking.length));
});

test("a piece that cannot be read is an error of its own, and what follows goes on through TLS", async () => {
  using ends = await open();
  const sending = new SendingEnd(init(ends.client), TO_DESTINATION.MAIN);
  const [first, second] = [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5, 6, 7, 8, 9)];
  const gather = new Gather(4);
  gather.add(addressOf(first), 3);
  gather.add(PAGE, PAGE); // which no process has mapped
  const error = assertThrows(() => sending.trySend(gather));
  assertInstanceOf(error, SyscallError);
  assertEquals(error.code, "EFAULT");
  sending.sendMessage(second);
  sending.end();
  const taking = new Taking(ending(ends.server), 100);
  taking.awaitEnd();
  // A kernel that encrypts takes a call's pieces all together: nothing of one that failed.
  const { kernelSends } = new TlsStream(ends.client.init);
  const expected = kernelSends ? [4, 5, 6] : [1, 2, 3, 4, 5, 6];
  assertEquals([...taking.got.subarray(0, taking.length)], expected);
});

test("a ReceivingEnd tells an end that was said from one that was not", async () => {
  using ends = await open();
  const sending = new SendingEnd(init(ends.client), TO_DESTINATION.MAIN);
  sending.sendMessage(new Uint8Array(10));
  sending.hangUp();
  const taking = new Taking(ending(ends.server), 100);
  taking.awaitEnd();
  assertEquals([taking.end.closed, taking.end.truncated, taking.end.left], [false, true, true]);
  const lost = taking.end.lost();
  assertInstanceOf(lost, MigrationError);
  assertEquals(lost.code, "CONNECTION_LOST");
  assertStringIncludes(lost.message, "Source went away: main channel: ");
  assertStringIncludes(lost.message, "closing word");
});

test("FirstBytes hands over what came in the record that told who it is", async () => {
  using ends = await open();
  const sending = new SendingEnd(init(ends.client), TO_DESTINATION.MAIN);
  const first = new FirstBytes(init(ends.server));
  assertEquals(first.listen(), "silent");
  const stream = new Uint8Array(20_000).map((_, at) => at % 253);
  stream.set(new TextEncoder().encode("QEVM\0\0\0\x03"));
  await sending.sendAll(stream);
  sending.end();
  const poll = new PollSet(1);
  poll.watch(0, ends.pair.there.fd, PollEvents.IN);
  assertEquals(poll.wait(20_000), 1);
  assertEquals(first.listen(), "main");
  const { head } = first.connection;
  assertEquals(head, stream.subarray(0, 8)); // the rest of its record is in no socket any more
  const input = { bytes: new Uint8Array(65_536), capacity: 65_536 };
  const end = new ReceivingEnd(first.connection, FROM_SOURCE.MAIN, input);
  const taking = new Taking(end, stream.length);
  assertGreaterOrEqual(end.receive(), RECORD_BYTES); // before any poll
  end.decode(taking);
  taking.awaitEnd();
  assertEquals(taking.got.subarray(0, taking.length), stream.subarray(0, stream.length - 3));
});

function ending(session: TlsSession): ReceivingEnd {
  const input = { bytes: new Uint8Array(65_536), capacity: 65_536 };
  return new ReceivingEnd(init(session), FROM_SOURCE.MAIN, input);
}

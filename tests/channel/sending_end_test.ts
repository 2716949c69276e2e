import "../support/native.ts";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FROM_SOURCE, TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { Gather } from "../../ffi/gather.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Pair } from "./pair.ts";

const MIB = 1 << 20;

/** Memory that differs from page to page, more than a socket takes. */
function muchMemory(): MappedMemory {
  const memory = MappedMemory.anonymous(16 * MIB);
  const words = new Uint32Array(memory.bytes().buffer, memory.bytes().byteOffset, 4 * MIB);
  for (let at = 0; at < words.length; at++) words[at] = at * 2654435761;
  return memory;
}

/** Reads so many bytes at the other end. */
async function read(pair: Pair, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await within("bytes", pair.there.receive(bytes.subarray(at)));
    if (count === 0) throw new Error(`Ended after ${at} bytes`);
    at += count;
  }
  return bytes;
}

/** Fills the socket until it takes nothing more; returns the bytes that it took. */
function fill(end: SendingEnd): number {
  const bytes = new Uint8Array(MIB);
  let taken = 0;
  while (true) {
    const count = end.offer(bytes, bytes.length);
    if (count === 0) return taken;
    taken += count;
  }
}

Deno.test(
  "SendingEnd.trySend goes on where there was no more room",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connect();
    using memory = muchMemory();
    const end = new SendingEnd({ fd: pair.here.fd }, TO_DESTINATION.MAIN);
    const gather = new Gather(16);
    for (let piece = 0; piece < 16; piece++) gather.add(memory.address + piece * MIB, MIB);
    assertEquals(end.trySend(gather), false);
    const received = read(pair, 16 * MIB);
    await until("all to be taken", () => end.trySend(gather));
    assertEquals(await received, memory.bytes().slice());
  }),
);

Deno.test(
  "SendingEnd.offer counts what is taken, and takes nothing without room",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connectUnix();
    const end = new SendingEnd({ fd: pair.here.fd }, FROM_SOURCE.RETURN_PATH);
    const taken = fill(end);
    assertEquals(end.total, taken);
    assertEquals(end.unacknowledged > 0, true);
    const error = assertThrows(() => end.sendMessage(new Uint8Array(12)), MigrationError);
    assertEquals(
      [error.code, error.message],
      ["CONNECTION_LOST", "Source does not read the return path"],
    );
  }),
);

Deno.test(
  "SendingEnd.sendAll waits for room, until its signal or its time ends that",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connectUnix();
    const end = new SendingEnd({ fd: pair.here.fd }, TO_DESTINATION.MAIN);
    const message = Uint8Array.of(1, 2, 3);
    const taken = fill(end);
    const late = await assertRejects(() => end.sendAll(message, { timeout: 1 }), DOMException);
    assertEquals(late.name, "TimeoutError");
    const abort = new AbortController();
    const aborted = assertRejects(
      () => end.sendAll(message, { signal: abort.signal }),
      Error,
      "No",
    );
    abort.abort(new Error("No"));
    await within("the wait to end", aborted);
    const sent = end.sendAll(message);
    const received = await read(pair, taken + message.length);
    await within("the message to be taken", sent);
    assertEquals(received.slice(taken), message);
  }),
);

Deno.test(
  "SendingEnd names the channel and the reason when the other end is gone",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connect();
    const end = new SendingEnd({ fd: pair.here.fd }, TO_DESTINATION.PREEMPT);
    assertEquals(end.peerLeft, false);
    pair.there.close();
    await until("the end to be known here", () => end.peerLeft);
    const bytes = new Uint8Array(10);
    const error = assertThrows(() => {
      while (true) end.offer(bytes, 10); // the first may still be taken
    }, MigrationError);
    assertEquals(error.code, "CONNECTION_LOST");
    assertEquals(
      /^Destination went away: preempt channel: E(PIPE|CONNRESET)$/.test(error.message),
      true,
    );
    using next = await Pair.connect();
    end.replace({ fd: next.here.fd });
    assertEquals([end.peerLeft, end.offer(bytes, 10)], [false, 10]);
  }),
);

Deno.test(
  "SendingEnd.end leaves the other direction open",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connect();
    const end = new SendingEnd({ fd: pair.here.fd }, TO_DESTINATION.MAIN);
    end.end();
    assertEquals(await within("the end", pair.there.receive(new Uint8Array(1))), 0);
    await pair.there.sendAll(Uint8Array.of(7));
    const answer = new Uint8Array(1);
    assertEquals(await within("an answer", pair.here.receive(answer)), 1);
    assertEquals(answer[0], 7);
  }),
);

Deno.test(
  "SendingEnd.roundTrip is what TCP has seen of the way, and 0 on a unix socket",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connect();
    const end = new SendingEnd({ fd: pair.here.fd }, FROM_SOURCE.RETURN_PATH);
    end.sendMessage(new Uint8Array(12));
    await until("the other end to acknowledge", () => end.unacknowledged === 0);
    // Less than a minute, however busy the machine: microseconds, and not another field of the kernel's.
    assertEquals(end.roundTrip > 0 && end.roundTrip < 60e9, true, `${end.roundTrip} ns`);
    using unix = await Pair.connectUnix();
    assertEquals(new SendingEnd({ fd: unix.here.fd }, FROM_SOURCE.RETURN_PATH).roundTrip, 0);
  }),
);

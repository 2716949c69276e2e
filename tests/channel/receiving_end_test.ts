import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { type Input, ReceivingEnd } from "../../channel/receiving_end.ts";
import { FROM_SOURCE, TO_DESTINATION } from "../../channel/role.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Random } from "../support/random.ts";
import { Pair } from "./pair.ts";

const CAPACITY = 4096;

function array(): Input {
  return { bytes: new Uint8Array(CAPACITY), capacity: CAPACITY };
}

/** Takes elements of a length byte and as many bytes, and notes where they lay. */
class Elements {
  readonly taken: number[][] = [];
  readonly places: Uint8Array[] = [];

  decode(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end && at + 1 + bytes[at]! <= end) {
      const element = bytes.subarray(at + 1, at + 1 + bytes[at]!);
      if (element[0] === 255) throw new Error("Not an element");
      this.taken.push([...element]);
      this.places.push(element);
      at += 1 + element.length;
    }
    return at;
  }
}

/** Receives all that has been sent. */
function receiveAll(pair: Pair, end: ReceivingEnd, decoder: Elements, bytes: number): void {
  while (end.total < bytes) {
    pair.awaitInput();
    if (end.receive() > 0) end.decode(decoder);
  }
}

for (const kind of ["an array", "memory by its address"] as const) {
  Deno.test(
    `ReceivingEnd gives whole elements from any split of the bytes, into ${kind}`,
    leavingNoDescriptors(async () => {
      using memory = MappedMemory.anonymous(CAPACITY);
      const { address } = memory;
      const mapped = { bytes: memory.bytes(), capacity: CAPACITY, address };
      const random = new Random(10);
      using pair = await Pair.connect();
      const end = new ReceivingEnd(
        { fd: pair.here.fd },
        FROM_SOURCE.MAIN,
        kind === "an array" ? array() : mapped,
      );
      const elements = Array.from({ length: 200 }, () => {
        return Array.from({ length: random.below(40) }, () => random.below(200));
      });
      const wire = Uint8Array.from(elements.flatMap((each) => [each.length, ...each]));
      const decoder = new Elements();
      for (let at = 0; at < wire.length;) {
        const next = Math.min(wire.length, at + 1 + random.below(60));
        await pair.there.sendAll(wire.subarray(at, next));
        at = next;
        receiveAll(pair, end, decoder, at);
      }
      assertEquals(decoder.taken, elements);
      assertEquals([end.empty, end.ended, end.total], [true, false, wire.length]);
    }),
  );
}

Deno.test(
  "ReceivingEnd leaves what was decoded in place until the next receipt",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connect();
    const end = new ReceivingEnd({ fd: pair.here.fd }, FROM_SOURCE.MAIN, array());
    const decoder = new Elements();
    await pair.there.sendAll(Uint8Array.of(2, 10, 11, 3, 20));
    receiveAll(pair, end, decoder, 5);
    assertEquals([...decoder.places[0]!], [10, 11]); // a page that is written at the flush
    await pair.there.sendAll(Uint8Array.of(21, 22));
    receiveAll(pair, end, decoder, 7);
    assertEquals(decoder.taken, [[10, 11], [20, 21, 22]]);
  }),
);

Deno.test(
  "ReceivingEnd gives the bytes first that came while it was found out who is connected",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connect();
    await pair.there.sendAll(Uint8Array.of(8, 9));
    const head = Uint8Array.of(3, 7);
    const end = new ReceivingEnd({ fd: pair.here.fd, head }, FROM_SOURCE.MAIN, array());
    const decoder = new Elements();
    assertEquals(end.receive(), 4); // before any poll
    end.decode(decoder);
    assertEquals(decoder.taken, [[7, 8, 9]]);
  }),
);

Deno.test(
  "ReceivingEnd drops what a decoder cannot understand, and nothing that comes behind",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connect();
    const end = new ReceivingEnd({ fd: pair.here.fd }, FROM_SOURCE.MAIN, array());
    const decoder = new Elements();
    await pair.there.sendAll(Uint8Array.of(1, 255, 4));
    assertThrows(() => receiveAll(pair, end, decoder, 3), Error, "Not an element");
    assertEquals(end.empty, true);
    await pair.there.sendAll(Uint8Array.of(1, 5));
    receiveAll(pair, end, decoder, 5);
    assertEquals(decoder.taken, [[5]]);
  }),
);

Deno.test(
  "ReceivingEnd tells a close from a break, and from nothing having come",
  leavingNoDescriptors(async () => {
    const closing = await Pair.connect();
    const end = new ReceivingEnd({ fd: closing.here.fd }, TO_DESTINATION.RETURN_PATH, array());
    assertEquals([end.receive(), end.ended], [0, false]);
    closing.there.close();
    closing.awaitInput();
    assertEquals([end.receive(), end.ended, end.closed], [0, true, true]);
    const { code, message } = end.lost();
    assertEquals(code, "CONNECTION_LOST");
    assertEquals(message, "Destination went away: return path: it closed the connection");
    closing[Symbol.dispose]();

    using breaking = await Pair.connect();
    const broken = new ReceivingEnd({ fd: breaking.here.fd }, FROM_SOURCE.PREEMPT, array());
    await breaking.here.sendAll(Uint8Array.of(1)); // unread at the other end: its close is a reset
    breaking.there.close();
    breaking.awaitInput();
    assertEquals([broken.receive(), broken.ended, broken.closed], [0, true, false]);
    assertEquals(broken.lost().message, "Source went away: preempt channel: ECONNRESET");
  }),
);

Deno.test(
  "ReceivingEnd goes on with another connection, without what was left of the old one",
  leavingNoDescriptors(async () => {
    using old = await Pair.connect();
    const end = new ReceivingEnd({ fd: old.here.fd }, FROM_SOURCE.MAIN, array());
    const decoder = new Elements();
    await old.there.sendAll(Uint8Array.of(9, 1, 2));
    receiveAll(old, end, decoder, 3);
    old.there.close();
    old.awaitInput();
    end.receive();
    assertEquals([end.ended, end.empty], [true, false]);
    using next = await Pair.connect();
    end.replace({ fd: next.here.fd });
    assertEquals([end.ended, end.empty, end.fd], [false, true, next.here.fd]);
    await next.there.sendAll(Uint8Array.of(1, 77));
    receiveAll(next, end, decoder, 5);
    assertEquals(decoder.taken, [[77]]);
  }),
);

import { assertEquals, assertThrows } from "@std/assert";
import { CompressionCounters } from "../../server/compression/compression_counters.ts";
import { SENDING_THREADS, SourceState } from "../../server/sending/source_state.ts";
import { SharedLayout } from "../../migration/threads/shared_layout.ts";

Deno.test("SharedLayout gives every word and number bytes of its own, inside of its size", () => {
  const layout = new SharedLayout();
  const words = layout.words("A", "B", "C");
  const more = layout.words("D");
  const numbers = layout.numbers("E", "F");
  const room = layout.room(100);
  const last = layout.numbers("G");
  const spans = [
    ...[...Object.values(words), ...Object.values(more)].map((index) => [index * 4, 4] as const),
    ...[...Object.values(numbers), ...Object.values(last)].map((index) => [index * 8, 8] as const),
    [room, 100] as const,
  ];
  const taken = new Uint8Array(layout.bytes);
  for (const [start, length] of spans) for (let at = start; at < start + length; at++) taken[at]!++;
  assertEquals([...new Set(taken)].sort(), [0, 1]);
  assertEquals(taken.reduce((sum, count) => sum + count, 0), 4 * 4 + 3 * 8 + 100);
});

Deno.test("SharedLayout begins a group 64 bytes or more behind the one before", () => {
  const layout = new SharedLayout();
  const nine = Array.from({ length: 9 }, (_, index) => `N${index}`);
  const starts = [
    layout.words("A", "B").A! * 4,
    layout.words("C").C! * 4,
    layout.numbers(...nine).N0! * 8,
    layout.room(64),
    layout.room(1),
  ];
  assertEquals(starts, [0, 64, 128, 256, 320]);
  assertEquals(layout.bytes, 384);
});

Deno.test("SharedLayout refuses a name that comes twice in a group", () => {
  assertThrows(() => new SharedLayout().words("A", "B", "A"), RangeError, "A,B,A");
});

Deno.test("SourceState keeps each of its flags and counters apart from all the others", () => {
  const state = new SourceState();
  const other = new SourceState(state.buffer);
  const all = [state.background, state.urgent, state.returnPath];
  all.forEach((counters, index) => {
    counters.addPages(100 + index, 200 + index);
    counters.addBytes(300 + index);
    counters.addRequests(400 + index);
  });
  state.compression.addCompressed(500);
  state.compression.addBusy();
  SENDING_THREADS.forEach((thread, index) => state.setCpuTime(thread, 600 + index));
  state.service.record(700);
  state.setSwitched();
  state.setLocality(800);
  state.preemptFd = 900;
  assertEquals(
    [other.background, other.urgent, other.returnPath].map((
      { pages, zeroPages, bytes, requests },
    ) => [pages, zeroPages, bytes, requests]),
    [0, 1, 2].map((index) => [100 + index, 200 + index, 300 + index, 400 + index]),
  );
  const { pages, bytes, busy, incompressible, failed } = other.compression;
  assertEquals([pages, bytes, busy, incompressible, failed], [1, 500, 1, 0, 0]);
  assertEquals(SENDING_THREADS.map((thread) => other.cpuTime(thread)), [600, 601, 602]);
  assertEquals([other.service.count, other.service.longest], [1, 700]);
  const { stopped, switched, guestLoaded, backgroundEnded, peerClosed } = other;
  assertEquals([stopped, switched, guestLoaded, backgroundEnded, peerClosed], [
    false,
    true,
    false,
    false,
    false,
  ]);
  assertEquals([other.preemptFd, other.takeLocality(), state.takeLocality()], [900, 800, -1]);
});

Deno.test("CompressionCounters counts from the offset that it was given", () => {
  const buffer = new SharedArrayBuffer(2 * CompressionCounters.BYTES);
  const first = new CompressionCounters(buffer, 0);
  const second = new CompressionCounters(buffer, CompressionCounters.BYTES);
  first.addFailed();
  second.addIncompressible();
  assertEquals([first.failed, first.incompressible], [1, 0]);
  assertEquals([second.failed, second.incompressible], [0, 1]);
});

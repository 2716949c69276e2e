import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { FirstBytes, type Speaker } from "../../channel/first_bytes.ts";
import { RamEncoder } from "../../migration/protocol/ram_encoder.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Pair } from "./pair.ts";

function mainChannel(): Uint8Array {
  const encoder = new StreamEncoder();
  encoder.header();
  encoder.configuration({ machine: "q35" });
  return encoder.take();
}

function preemptChannel(): Uint8Array {
  const encoder = new RamEncoder();
  encoder.block("pc.ram");
  encoder.page(0x1234000, new Uint8Array(4096), 0);
  return encoder.take();
}

function zeroPage(): Uint8Array {
  const encoder = new RamEncoder();
  encoder.block("pc.ram");
  encoder.zeroPage(0, 0);
  return encoder.take();
}

function recovery(kind: "receive-bitmap" | "resume" | "ping"): Uint8Array {
  const encoder = new StreamEncoder();
  if (kind === "receive-bitmap") encoder.command({ kind, block: "pc.ram" });
  else if (kind === "ping") encoder.command({ kind, value: 1 });
  else encoder.command({ kind });
  return encoder.take();
}

const END_MARK = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0x10);

interface Case {
  readonly says: string;
  readonly bytes: Uint8Array;
  readonly speaker: Speaker;
  /** Bytes after which that is known. */
  readonly after: number;
}

const cases: readonly Case[] = [
  { says: "a stream's magic", bytes: mainChannel(), speaker: "main", after: 4 },
  { says: "a page", bytes: preemptChannel(), speaker: "preempt", after: 8 },
  { says: "a zero page", bytes: zeroPage(), speaker: "preempt", after: 8 },
  { says: "QEMU 7.2's end of the channel", bytes: END_MARK, speaker: "preempt", after: 8 },
  {
    says: "a request for a receive bitmap",
    bytes: recovery("receive-bitmap"),
    speaker: "recovery",
    after: 6,
  },
  { says: "RESUME", bytes: recovery("resume"), speaker: "recovery", after: 5 },
  { says: "a PING and no magic", bytes: recovery("ping"), speaker: "recovery", after: 5 },
  {
    says: "another command",
    bytes: Uint8Array.of(8, 0, 4, 0, 0, 0, 0, 0),
    speaker: "stranger",
    after: 5,
  },
  {
    says: "a request for a bitmap of a block whose name does not fit",
    bytes: Uint8Array.of(8, 0, 10, 0, 7, 7, 0, 0),
    speaker: "stranger",
    after: 6,
  },
  {
    says: "HTTP",
    bytes: new TextEncoder().encode("GET / HTTP/1.1"),
    speaker: "stranger",
    after: 4,
  },
  { says: "zeros", bytes: new Uint8Array(8), speaker: "stranger", after: 8 },
];

for (const { says, bytes, speaker, after } of cases) {
  Deno.test(
    `FirstBytes takes whoever says ${says} for: ${speaker}, byte by byte and at once`,
    leavingNoDescriptors(async () => {
      using slow = await Pair.connect();
      const first = new FirstBytes({ fd: slow.here.fd });
      for (let at = 0; at < after; at++) {
        assertEquals(first.listen(), "silent");
        await slow.there.sendAll(bytes.subarray(at, at + 1));
        slow.awaitInput();
      }
      assertEquals([first.listen(), first.speaker], [speaker, speaker]);
      assertEquals(first.connection, { fd: slow.here.fd, head: bytes.slice(0, after) });

      using quick = await Pair.connect();
      await quick.there.sendAll(bytes);
      quick.awaitInput();
      const second = new FirstBytes({ fd: quick.here.fd });
      assertEquals(second.listen(), speaker);
      const { head } = second.connection;
      assertEquals(head, bytes.slice(0, head!.length)); // what it took is handed on
      const rest = new Uint8Array(bytes.length);
      const left = bytes.length - head!.length;
      if (left > 0) assertEquals(await quick.here.receive(rest), left);
      assertEquals(rest.slice(0, left), bytes.slice(head!.length));
    }),
  );
}

Deno.test(
  "FirstBytes takes whoever leaves before for a stranger",
  leavingNoDescriptors(async () => {
    for (const said of [[], [0x51], [0, 0, 0, 0, 1], [8], [8, 0, 10, 0, 7]]) {
      using pair = await Pair.connect();
      await pair.there.sendAll(Uint8Array.from(said));
      pair.there.close();
      const first = new FirstBytes({ fd: pair.here.fd });
      while (first.listen() === "silent") pair.awaitInput();
      assertEquals(first.speaker, "stranger");
    }
  }),
);

Deno.test(
  "FirstBytes goes on with what another thread has heard",
  leavingNoDescriptors(async () => {
    using pair = await Pair.connect();
    const bytes = preemptChannel();
    await pair.there.sendAll(bytes.subarray(0, 5));
    pair.awaitInput();
    const here = new FirstBytes({ fd: pair.here.fd });
    assertEquals(here.listen(), "silent");
    await pair.there.sendAll(bytes.subarray(5, 8));
    pair.awaitInput();
    const there = new FirstBytes(structuredClone(here.connection));
    assertEquals(there.listen(), "preempt");
    assertEquals(there.connection.head, bytes.slice(0, 8));
  }),
);

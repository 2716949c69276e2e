/** Server-sent events, however their bytes are cut. */
import { assertEquals } from "@std/assert";
import { type ServerEvent, serverEvents } from "../../daemon/command/event_stream.ts";

function streamOf(pieces: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return ReadableStream.from(pieces);
}

async function read(pieces: readonly Uint8Array[]): Promise<ServerEvent[]> {
  return await Array.fromAsync(serverEvents(streamOf(pieces)));
}

const TEXT = ': begins\n\nid: 7\nevent: status\ndata: {"a":\ndata: 1}\n\n' +
  "data:ä€\r\n\r\nid:8\revent:note\rdata: x: y\r\r:keep\n\nevent: lost\ndata: never ends\n";
const EVENTS: ServerEvent[] = [
  { id: "7", event: "status", data: '{"a":\n1}' },
  { event: "message", data: "ä€" },
  { id: "8", event: "note", data: "x: y" },
];

Deno.test("serverEvents reads fields, all ends of lines and comments, and no event that is not whole", async () => {
  assertEquals(await read([new TextEncoder().encode(TEXT)]), EVENTS);
});

Deno.test("serverEvents reads the same wherever its bytes are cut in two, and byte by byte", async () => {
  const bytes = new TextEncoder().encode(TEXT);
  for (let at = 0; at <= bytes.length; at++) {
    assertEquals(await read([bytes.subarray(0, at), bytes.subarray(at)]), EVENTS, `cut at ${at}`);
  }
  assertEquals(await read([...bytes].map((byte) => new Uint8Array([byte]))), EVENTS);
});

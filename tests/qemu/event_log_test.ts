import { assertEquals, assertRejects } from "@std/assert";
import { EventLog } from "../../qemu/event_log.ts";
import { readLines } from "../../qemu/lines.ts";

Deno.test("EventLog finds an item that came before the wait", async () => {
  const log = new EventLog<number>();
  log.push(1);
  log.push(2);
  assertEquals(await log.wait("an even number", (item) => item % 2 === 0), 2);
});

Deno.test("EventLog leaves out items before the begin of the wait", async () => {
  const log = new EventLog<number>();
  log.push(2);
  const wait = log.wait("an even number", (item) => item % 2 === 0, { since: 1 });
  log.push(3);
  log.push(4);
  assertEquals(await wait, 4);
});

Deno.test("EventLog fails waits when it ends", async () => {
  const log = new EventLog<number>();
  const wait = log.wait("a number", () => true);
  log.end(new Error("closed"));
  await assertRejects(() => wait, Error, "Ended before a number: closed");
  await assertRejects(() => log.wait("a number", () => true), Error, "closed");
});

Deno.test("EventLog fails a wait at its deadline", async () => {
  const log = new EventLog<number>();
  await assertRejects(
    () => log.wait("a number", () => true, { deadlineMs: 1 }),
    Error,
    "Waited 1 ms in vain for a number",
  );
});

Deno.test("readLines joins what arrives in pieces", async () => {
  const bytes = new TextEncoder().encode("één\r\ntwo\n\nrest");
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller): void {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const lines: string[] = [];
  let text = "";
  await readLines(stream, (line) => lines.push(line), (piece) => text += piece);
  assertEquals(lines, ["één", "two", ""]);
  assertEquals(text, "één\r\ntwo\n\nrest");
});

/** The log of events, and streams of it. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { eventStream } from "../../daemon/api/event_stream.ts";
import { EventLog } from "../../daemon/service/event_log.ts";
import { within } from "../support/deadline.ts";

function add(log: EventLog, ...texts: string[]): void {
  for (const text of texts) log.add({ event: "note", text });
}

function textsOf(log: EventLog, after: number): string[] {
  return log.read(after).events.map(({ event }) => event.event === "note" ? event.text : "");
}

Deno.test("EventLog gives what came after an event, and counts what it does not keep any more", () => {
  const log = new EventLog(3);
  const start = log.last;
  add(log, "a", "b");
  assertEquals([log.read(start).missed, ...textsOf(log, start)], [0, "a", "b"]);
  assertEquals(textsOf(log, start + 1), ["b"]);
  add(log, "c", "d", "e");
  assertEquals([log.read(start).missed, ...textsOf(log, start)], [2, "c", "d", "e"]);
  assertEquals(log.read(log.last), { missed: 0, events: [] });
});

Deno.test("EventLog gives all that it keeps to who last read one of a daemon before it", () => {
  const before = new EventLog();
  add(before, "x");
  const log = new EventLog(2);
  add(log, "a", "b", "c");
  assertGreater(log.last, before.last);
  assertEquals([log.read(before.last - 1e9).missed, ...textsOf(log, 0)], [1, "b", "c"]);
});

Deno.test("EventLog wakes who waits for news, once there is some", async () => {
  const log = new EventLog();
  const { last } = log;
  let woken = false;
  const news = log.news(last, new AbortController().signal).then(() => woken = true);
  await Promise.resolve();
  assertEquals(woken, false);
  add(log, "a");
  await within("the news", news);
  await within("old news", log.news(last, new AbortController().signal));
});

Deno.test("eventStream tells a reader that stood still how much it missed, and goes on with what is kept", async () => {
  const log = new EventLog(4);
  add(log, "a");
  const stream = eventStream(log, log.last - 1, new AbortController().signal);
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  const read = async () => (await within("an event", reader.read())).value ?? "";
  assertEquals(await read(), ": events\n\n");
  const first = await read();
  assert(first.includes("event: note") && first.includes('"text":"a"'), first);
  // Nobody reads: what happens meanwhile takes no more memory than the log.
  add(log, ..."bcdefghijk");
  let rest = "";
  while (!rest.includes('"text":"k"')) rest += await read();
  const missed = /event: missed\ndata: {"missed":(\d+)}/.exec(rest)?.[1];
  const read2 = [...rest.matchAll(/"text":"(\w)"/g)].map(([, text]) => text);
  // What the stream had taken before it stood still comes too.
  assertEquals(Number(missed) + read2.length, 10);
  assertEquals(read2.slice(-4), ["h", "i", "j", "k"]);
  await reader.cancel();
});

Deno.test("eventStream ends with the daemon", async () => {
  const ending = new AbortController();
  const reader = eventStream(new EventLog(), 0, ending.signal).getReader();
  await reader.read();
  const last = reader.read();
  ending.abort();
  assertEquals((await within("the end", last)).done, true);
});

Deno.test("eventStream says that it is alive when nothing happens", async () => {
  const reader = eventStream(new EventLog(), Infinity, new AbortController().signal, 1)
    .pipeThrough(new TextDecoderStream()).getReader();
  await reader.read();
  assertEquals((await within("a word", reader.read())).value, ": alive\n\n");
  await reader.cancel();
});

Deno.test("EventLog.news leaves nothing at the signal of a wait that goes on", async () => {
  const log = new EventLog();
  let listening = 0;
  class Watched extends EventTarget {
    readonly aborted = false;
    override addEventListener(): void {
      listening++;
    }
    override removeEventListener(): void {
      listening--;
    }
  }
  const signal = new Watched() as unknown as AbortSignal;
  for (let round = 0; round < 3; round++) {
    const news = log.news(log.last, signal);
    log.add({ event: "reloaded" });
    await news;
  }
  assertEquals(listening, 0);
});

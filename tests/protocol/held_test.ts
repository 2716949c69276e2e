import { assert, assertEquals, assertGreater } from "@std/assert";
import { StreamDecoder, StreamEncoder, type StreamHandler } from "../../migration/protocol/mod.ts";
import { Random } from "../support/random.ts";
import { EventLog, tee } from "./event_log.ts";
import { driveRandomStream } from "./random_stream.ts";

/** Behind these a handler may be held. */
const HOLDING = new Set([
  ...["page", "zeroPage", "xbzrlePage", "compressedPage"],
  ...["command", "packagedData", "deviceState", "endOfStream", "sectionFooter"],
]);

Deno.test("StreamDecoder stops behind what a handler was given that is held, and goes on there", () => {
  let holds = 0;
  for (let seed = 1; seed <= 100; seed++) {
    const random = new Random(seed);
    const expected = new EventLog();
    const encoder = new StreamEncoder();
    driveRandomStream(random, tee<StreamHandler>(encoder, expected), () => encoder.length);
    const bytes = encoder.take();
    const found = new EventLog();
    let held = false;
    const handler = new Proxy(found as StreamHandler, {
      get(target, name) {
        if (name === "held") return held;
        const event = Reflect.get(target, name) as (...args: unknown[]) => void;
        return (...args: unknown[]) => {
          assert(!held, `Event in spite of all: ${String(name)}`);
          event.apply(target, args);
          held = HOLDING.has(String(name)) && random.oneIn(3);
          if (held) holds++;
        };
      },
    });
    const decoder = new StreamDecoder(handler);
    let [at, end] = [0, 0];
    while (at < bytes.length) {
      // Nothing more is received before all that came was decoded but for the beginning of an element.
      const goesOn = held;
      held = false;
      if (!goesOn) end = Math.min(bytes.length, end + random.between(1, 20_000));
      at = decoder.decode(bytes, at, end);
    }
    assertEquals(decoder.offset, bytes.length);
    held = false;
    decoder.finish();
    assertEquals(found.lines, expected.lines, `seed ${seed}`);
  }
  assertGreater(holds, 500);
});

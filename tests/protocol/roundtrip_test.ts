import { assertEquals } from "@std/assert";
import {
  RamDecoder,
  RamEncoder,
  type RamHandler,
  ReturnPathDecoder,
  ReturnPathEncoder,
  type ReturnPathHandler,
  StreamDecoder,
  StreamEncoder,
  type StreamHandler,
} from "../../migration/protocol/mod.ts";
import { Random } from "../support/random.ts";
import { EventLog, tee } from "./event_log.ts";
import { driveRandomPreempt, driveRandomReturnPath, driveRandomStream } from "./random_stream.ts";

const SEEDS = Array.from({ length: 80 }, (_, i) => i + 1);

interface Decoder {
  feed(chunk: Uint8Array): void;
  finish(): void;
  readonly offset: number;
}

/** Encodes random events and returns them with their bytes. */
function randomInput(channel: string, seed: number): { bytes: Uint8Array; events: EventLog } {
  const random = new Random(seed);
  const events = new EventLog();
  if (channel === "main channel") {
    const encoder = new StreamEncoder();
    driveRandomStream(random, tee<StreamHandler>(encoder, events), () => encoder.length);
    return { bytes: encoder.take(), events };
  }
  if (channel === "preempt channel") {
    const encoder = new RamEncoder();
    driveRandomPreempt(random, tee<RamHandler>(encoder, events));
    return { bytes: encoder.take(), events };
  }
  const encoder = new ReturnPathEncoder();
  driveRandomReturnPath(random, tee<ReturnPathHandler>(encoder, events));
  return { bytes: encoder.take(), events };
}

/** `handler` has the methods that the channel's decoder calls. */
function decoderOf(channel: string, handler: object): Decoder {
  if (channel === "main channel") return new StreamDecoder(handler as StreamHandler);
  return channel === "preempt channel"
    ? new RamDecoder(handler as RamHandler)
    : new ReturnPathDecoder(handler as ReturnPathHandler);
}

function encoderOf(channel: string): StreamEncoder | RamEncoder | ReturnPathEncoder {
  if (channel === "main channel") return new StreamEncoder();
  return channel === "preempt channel" ? new RamEncoder() : new ReturnPathEncoder();
}

for (const channel of ["main channel", "preempt channel", "return path"]) {
  Deno.test(`${channel}: decoding gives the events that were encoded`, () => {
    for (const seed of SEEDS) {
      const { bytes, events } = randomInput(channel, seed);
      const log = new EventLog();
      const decoder = decoderOf(channel, log);
      decoder.feed(bytes);
      decoder.finish();
      assertEquals(log.lines, events.lines, `seed ${seed}`);
      assertEquals(decoder.offset, bytes.length, `seed ${seed}`);
    }
  });

  Deno.test(`${channel}: encoding what is decoded gives the same bytes`, () => {
    for (const seed of SEEDS) {
      const { bytes } = randomInput(channel, seed);
      const encoder = encoderOf(channel);
      const decoder = decoderOf(channel, encoder);
      decoder.feed(bytes);
      decoder.finish();
      assertEquals(encoder.take(), bytes, `seed ${seed}`);
    }
  });

  Deno.test(`${channel}: any split of the bytes gives the same events`, () => {
    for (const seed of SEEDS) {
      const { bytes, events } = randomInput(channel, seed);
      const random = new Random(seed + 1000);
      const log = new EventLog();
      const decoder = decoderOf(channel, log);
      for (const piece of random.split(bytes, random.pick([1, 2, 7, 100, 5000]))) {
        // A copy that is spoiled afterwards: the decoder must not keep a view of the caller's chunk.
        const chunk = piece.slice();
        decoder.feed(chunk);
        chunk.fill(0xaa);
      }
      decoder.finish();
      assertEquals(log.lines, events.lines, `seed ${seed}`);
    }
  });
}

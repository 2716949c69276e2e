import { assertEquals, assertGreater, assertThrows } from "@std/assert";
import {
  IgnoreStream,
  ProtocolError,
  RamDecoder,
  RamEncoder,
  ReturnPathDecoder,
  ReturnPathEncoder,
  StreamDecoder,
  StreamEncoder,
} from "../../migration/protocol/mod.ts";
import { sharedRecordings } from "../../tools/recordings.ts";
import { readRecording } from "../support/fixtures.ts";
import { CAPTURES, MAPPED_CAPTURES, RECOVERIES, WIRES } from "../support/recorded.ts";
import { needsRecording, testUnless } from "../support/skip.ts";

/** Chunks of a size that no element's has a common divisor with, so that they cut everywhere. */
const CHUNK_BYTES = 65_521;

/** Bytes that came of a page when it was cut, of the shared recordings; one was cut between two. */
const KNOWN_CUTS: ReadonlyMap<string, number> = new Map(
  sharedRecordings ? [["wire-qemu111-recovery", 2174], ["wire-qemu72-recovery", 0]] : [],
);

interface Decoder {
  feed(chunk: Uint8Array): void;
  finish(): void;
  readonly offset: number;
}

/** Decodes a recording into an encoder and compares what that gives, chunk by chunk. */
function assertReproduced(
  recording: Uint8Array,
  decoder: Decoder,
  encoder: { take(): Uint8Array },
): void {
  let compared = 0;
  for (let at = 0; at < recording.length; at += CHUNK_BYTES) {
    decoder.feed(recording.subarray(at, at + CHUNK_BYTES));
    compared = assertNext(recording, compared, encoder.take());
  }
  decoder.finish();
  compared = assertNext(recording, compared, encoder.take());
  assertEquals([decoder.offset, compared], [recording.length, recording.length]);
}

/** Is `encoded` what the recording holds from `at`? A loop, for assertEquals takes a microsecond a byte. */
function assertNext(recording: Uint8Array, at: number, encoded: Uint8Array): number {
  for (let i = 0; i < encoded.length; i++) {
    if (recording[at + i] !== encoded[i]) {
      throw new Error(`Encoded byte differs from the recording at: ${at + i}`);
    }
  }
  return at + encoded.length;
}

const STREAMS = [
  ...[...CAPTURES, ...MAPPED_CAPTURES].map(({ path }) => path),
  ...WIRES.map(({ directory }) => `${directory}/conn0.s2d.zst`),
];
const PREEMPT_CHANNELS = [
  ...WIRES.map(({ directory }) => `${directory}/conn1.s2d.zst`),
  ...RECOVERIES.flatMap((each) => [`${each}/conn1.s2d.zst`, `${each}/conn3.s2d.zst`]),
];
const RETURN_PATHS = [
  ...WIRES.map(({ directory }) => `${directory}/conn0.d2s.zst`),
  ...RECOVERIES.flatMap((each) => [`${each}/conn0.d2s.zst`, `${each}/conn2.d2s.zst`]),
];

for (const path of STREAMS) {
  testUnless(needsRecording(path), `StreamDecoder and StreamEncoder reproduce ${path}`, () => {
    const encoder = new StreamEncoder();
    assertReproduced(readRecording(path), new StreamDecoder(encoder), encoder);
  });
}

for (const path of PREEMPT_CHANNELS) {
  testUnless(needsRecording(path), `RamDecoder and RamEncoder reproduce ${path}`, () => {
    const encoder = new RamEncoder();
    assertReproduced(readRecording(path), new RamDecoder(encoder), encoder);
  });
}

for (const path of RETURN_PATHS) {
  testUnless(needsRecording(path), `ReturnPath codecs reproduce ${path}`, () => {
    const encoder = new ReturnPathEncoder();
    assertReproduced(readRecording(path), new ReturnPathDecoder(encoder), encoder);
  });
}

/** The number of the RAM section, which a stream that is resumed does not tell again. */
function ramSectionOf(recording: Uint8Array): number {
  let section = -1;
  const handler = new class extends IgnoreStream {
    override sectionStart(id: number): void {
      section = id;
    }
  }();
  new StreamDecoder(handler).feed(recording);
  return section;
}

for (const directory of RECOVERIES) {
  const cut = `${directory}/conn0.s2d.zst`;
  const resumed = `${directory}/conn2.s2d.zst`;

  testUnless(
    needsRecording(resumed),
    `StreamDecoder and StreamEncoder reproduce ${resumed}`,
    () => {
      const encoder = new StreamEncoder();
      const ramSectionId = ramSectionOf(readRecording(cut));
      const decoder = new StreamDecoder(encoder, { resumed: true, ramSectionId });
      assertReproduced(readRecording(resumed), decoder, encoder);
    },
  );

  if (KNOWN_CUTS.get(directory) === 0) continue;
  testUnless(needsRecording(cut), `StreamDecoder says that ${cut} was cut inside a page`, () => {
    const recording = readRecording(cut);
    const encoder = new StreamEncoder();
    const decoder = new StreamDecoder(encoder);
    decoder.feed(recording);
    const { offset } = decoder;
    assertEquals(assertNext(recording, 0, encoder.take()), offset);
    const left = recording.length - offset;
    assertGreater(left, 0);
    assertEquals(left, KNOWN_CUTS.get(directory) ?? left);
    const error = assertThrows(() => decoder.finish(), ProtocolError, `${left} bytes`);
    assertEquals([error.code, error.offset], ["truncated", offset]);
  });
}

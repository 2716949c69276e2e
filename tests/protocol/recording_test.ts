import { assertEquals, assertThrows } from "@std/assert";
import {
  ProtocolError,
  RamDecoder,
  RamEncoder,
  ReturnPathDecoder,
  ReturnPathEncoder,
  StreamDecoder,
  StreamEncoder,
} from "../../migration/protocol/mod.ts";
import { readRecording } from "../support/fixtures.ts";
import { needsRecording, testUnless } from "../support/skip.ts";

/** Chunks of a size that no element's has a common divisor with, so that they cut everywhere. */
const CHUNK_BYTES = 65_521;

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
  "capture-qemu72.bin.zst",
  "capture-qemu100.bin.zst",
  "capture-qemu111.bin.zst",
  "capture-qemu111-machine72.bin.zst",
  "mapped-ram-qemu111.bin.zst",
  "wire-qemu72-to-72/conn0.s2d.zst",
  "wire-qemu72-to-111/conn0.s2d.zst",
  "wire-qemu111-to-111/conn0.s2d.zst",
];
const PREEMPT_CHANNELS = [
  "wire-qemu72-to-72/conn1.s2d.zst",
  "wire-qemu72-to-111/conn1.s2d.zst",
  "wire-qemu111-to-111/conn1.s2d.zst",
  "wire-qemu111-recovery/conn1.s2d.zst",
  "wire-qemu111-recovery/conn3.s2d.zst",
];
const RETURN_PATHS = [
  "wire-qemu72-to-72/conn0.d2s.zst",
  "wire-qemu72-to-111/conn0.d2s.zst",
  "wire-qemu111-to-111/conn0.d2s.zst",
  "wire-qemu111-recovery/conn0.d2s.zst",
  "wire-qemu111-recovery/conn2.d2s.zst",
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

const RESUMED = "wire-qemu111-recovery/conn2.s2d.zst";
testUnless(needsRecording(RESUMED), `StreamDecoder and StreamEncoder reproduce ${RESUMED}`, () => {
  const encoder = new StreamEncoder();
  const decoder = new StreamDecoder(encoder, { resumed: true, ramSectionId: 1 });
  assertReproduced(readRecording(RESUMED), decoder, encoder);
});

const CUT = "wire-qemu111-recovery/conn0.s2d.zst";
testUnless(needsRecording(CUT), `StreamDecoder says that ${CUT} was cut inside a page`, () => {
  const recording = readRecording(CUT);
  const encoder = new StreamEncoder();
  const decoder = new StreamDecoder(encoder);
  decoder.feed(recording);
  assertEquals(assertNext(recording, 0, encoder.take()), decoder.offset);
  const error = assertThrows(() => decoder.finish(), ProtocolError, "2174 bytes");
  assertEquals([error.code, error.offset], ["truncated", recording.length - 2174]);
});

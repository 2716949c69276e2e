/**
 * Speed of decoding: `deno bench tests/protocol/stream_decoder_bench.ts`. An iteration decodes 64 MiB
 * of pages (16384 of them) in 1 MiB buffers; the requests are 16384, too.
 */
import {
  IgnoreStream,
  RamDecoder,
  RamEncoder,
  ReturnPathDecoder,
  ReturnPathEncoder,
  type ReturnPathHandler,
  StreamDecoder,
  StreamEncoder,
} from "../../migration/protocol/mod.ts";

const PAGES = 16_384;
const BUFFER_BYTES = 1 << 20;

interface Decoder {
  decode(bytes: Uint8Array, start: number, end: number): number;
}

/** Decodes as a reader with a buffer does: what is left of one buffer comes first in the next. */
function decodeInBuffers(decoder: Decoder, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    at = decoder.decode(bytes, at, Math.min(bytes.length, at + BUFFER_BYTES));
  }
}

const page = new Uint8Array(4096).fill(1);

function sections(record: (encoder: StreamEncoder, page: number) => void): Uint8Array {
  const encoder = new StreamEncoder();
  encoder.sectionPart(1);
  encoder.block("pc.ram");
  for (let i = 0; i < PAGES; i++) record(encoder, i);
  encoder.endOfSection();
  encoder.sectionFooter(1);
  return encoder.take();
}

const pages = sections((encoder, i) => encoder.page(i * 4096, page, 0));
const zeroPages = sections((encoder, i) => encoder.zeroPage(i * 4096, 0));
const preempt = new RamEncoder();
for (let i = 0; i < PAGES; i++) {
  preempt.block("pc.ram");
  preempt.page(i * 4096, page, 0);
}
const namedPages = preempt.take();
const path = new ReturnPathEncoder();
for (let i = 0; i < PAGES; i++) path.requestPages("pc.ram", i * 4096, 4096);
const requests = path.take();

const nothing = new IgnoreStream();
const noRequest: ReturnPathHandler = {
  shut: () => {},
  pong: () => {},
  requestPages: () => {},
  receivedBitmap: () => {},
  receivedBitmapData: () => {},
  receivedBitmapEnd: () => {},
  resumeAck: () => {},
  switchoverAck: () => {},
  extensions: () => {},
};

Deno.bench("StreamDecoder, 16384 pages of the same block", () => {
  decodeInBuffers(new StreamDecoder(nothing, { resumed: true }), pages);
});
Deno.bench("StreamDecoder, 16384 zero pages", () => {
  decodeInBuffers(new StreamDecoder(nothing, { resumed: true }), zeroPages);
});
Deno.bench("RamDecoder, 16384 pages that name their block", () => {
  decodeInBuffers(new RamDecoder(nothing), namedPages);
});
Deno.bench("ReturnPathDecoder, 16384 requests", () => {
  decodeInBuffers(new ReturnPathDecoder(noRequest), requests);
});
Deno.bench("StreamDecoder fed, 16384 pages in 64 KiB chunks", () => {
  const decoder = new StreamDecoder(nothing, { resumed: true });
  for (let at = 0; at < pages.length; at += 65_536) decoder.feed(pages.subarray(at, at + 65_536));
});

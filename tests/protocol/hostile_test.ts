import { assert, assertEquals } from "@std/assert";
import {
  deviceSections,
  IgnoreStream,
  MAX_ELEMENT_BYTES,
  parseVmDescription,
  ProtocolError,
  RamDecoder,
  RamEncoder,
  ReturnPathDecoder,
  ReturnPathEncoder,
  splitDeviceState,
  splitPackage,
  StreamDecoder,
  StreamEncoder,
} from "../../migration/protocol/mod.ts";
import { damage } from "../support/damage.ts";
import { Random } from "../support/random.ts";
import { driveRandomPreempt, driveRandomReturnPath, driveRandomStream } from "./random_stream.ts";

const SEEDS = Array.from({ length: 300 }, (_, i) => i + 1);

interface Decoder {
  decode(bytes: Uint8Array, start: number, end: number): number;
  feed(chunk: Uint8Array): void;
  finish(left?: number): void;
}

interface Channel {
  readonly name: string;
  readonly maxElementBytes: number;
  input(random: Random): Uint8Array;
  decoder(): Decoder;
}

const CHANNELS: readonly Channel[] = [
  {
    name: "StreamDecoder",
    maxElementBytes: MAX_ELEMENT_BYTES,
    input(random) {
      const encoder = new StreamEncoder();
      driveRandomStream(random, encoder, () => encoder.length);
      return encoder.take();
    },
    decoder: () => new StreamDecoder(new IgnoreStream()),
  },
  {
    name: "RamDecoder",
    maxElementBytes: MAX_ELEMENT_BYTES,
    input(random) {
      const encoder = new RamEncoder();
      driveRandomPreempt(random, encoder);
      return encoder.take();
    },
    decoder: () => new RamDecoder(new IgnoreStream()),
  },
  {
    name: "ReturnPathDecoder",
    maxElementBytes: 516,
    input(random) {
      const encoder = new ReturnPathEncoder();
      driveRandomReturnPath(random, encoder);
      return encoder.take();
    },
    // The encoder is a handler at hand; what it gathers is thrown away with it.
    decoder: () => new ReturnPathDecoder(new ReturnPathEncoder()),
  },
];

/** Runs `decode` and returns the error it ended with, which has to be a good one. */
function protocolError(
  decode: () => void,
  length: number,
  what: string,
): ProtocolError | undefined {
  try {
    decode();
  } catch (error) {
    assert(error instanceof ProtocolError, `${what}: ${error}`);
    assert(error.offset >= 0 && error.offset <= length, `${what}: ${error.message}`);
    assert(error.expected.length > 0 && error.found.length > 0, `${what}: ${error.message}`);
    return error;
  }
  return undefined;
}

for (const channel of CHANNELS) {
  Deno.test(`${channel.name} meets damaged bytes with a ProtocolError or decodes them`, () => {
    let refused = 0;
    for (const seed of SEEDS) {
      const random = new Random(seed);
      const bytes = damage(random, channel.input(random));
      const decoder = channel.decoder();
      const pieces = random.split(bytes, random.pick([50, 5000, 1 << 20]));
      const error = protocolError(
        () => {
          for (const piece of pieces) decoder.feed(piece);
          decoder.finish();
        },
        bytes.length,
        `seed ${seed}`,
      );
      if (error !== undefined) refused++;
    }
    // A guard against a test that damages nothing; most damage falls into pages, where nothing shows it.
    assert(refused > SEEDS.length / 20, `${refused} refused`);
  });

  Deno.test(`${channel.name} meets random bytes with a ProtocolError or decodes them`, () => {
    for (const seed of SEEDS) {
      const random = new Random(seed);
      const good = channel.input(random);
      const head = good.subarray(0, random.below(Math.min(good.length, 400)));
      const bytes = new Uint8Array(head.length + 2000);
      bytes.set(head);
      bytes.set(random.bytes(2000), head.length);
      const decoder = channel.decoder();
      protocolError(
        () => {
          decoder.feed(bytes);
          decoder.finish();
        },
        bytes.length,
        `seed ${seed}`,
      );
    }
  });

  Deno.test(`${channel.name} says where and in what a truncated input ended`, () => {
    for (const seed of SEEDS.slice(0, 30)) {
      const random = new Random(seed);
      const good = channel.input(random);
      for (let tries = 0; tries < 50; tries++) {
        const length = random.below(good.length);
        const decoder = channel.decoder();
        decoder.feed(good.subarray(0, length));
        const error = protocolError(() => decoder.finish(), length, `seed ${seed}`);
        if (error !== undefined) assertEquals(error.code, "truncated");
      }
    }
  });

  Deno.test(`${channel.name} always gets on with a buffer of its longest element`, () => {
    for (const seed of SEEDS) {
      const random = new Random(seed);
      const bytes = damage(random, channel.input(random));
      const decoder = channel.decoder();
      protocolError(
        () => {
          let at = 0;
          while (at < bytes.length) {
            const end = Math.min(bytes.length, at + channel.maxElementBytes);
            const next = decoder.decode(bytes, at, end);
            assert(next > at || end === bytes.length, `seed ${seed}: stuck at ${at}`);
            if (next === at) break;
            at = next;
          }
          decoder.finish(bytes.length - at);
        },
        bytes.length,
        `seed ${seed}`,
      );
    }
  });
}

Deno.test("splitPackage, splitDeviceState and deviceSections meet random bytes with a ProtocolError", () => {
  for (const seed of SEEDS) {
    const random = new Random(seed);
    const bytes = random.bytes(random.below(500));
    bytes.set(
      random.pick([[0x04], [0x08, 0], [0x00], [0x04, 0, 0, 0, 0, 1]]).slice(0, bytes.length),
    );
    protocolError(() => splitPackage(bytes), bytes.length, `seed ${seed}`);
    protocolError(() => splitDeviceState(bytes), bytes.length, `seed ${seed}`);
    protocolError(() => deviceSections(bytes), bytes.length, `seed ${seed}`);
  }
});

Deno.test("parseVmDescription meets other JSON with a ProtocolError", () => {
  let nested = '{"vmsd_name":"a"}';
  for (let depth = 0; depth < 5000; depth++) {
    nested = `{"vmsd_name":"a","subsections":[${nested}]}`;
  }
  const texts = [
    "",
    "{",
    "null",
    "1",
    "[]",
    "{}",
    '{"page_size":4096}',
    '{"page_size":"4096","devices":[]}',
    '{"page_size":4096,"devices":[7]}',
    '{"page_size":4096,"devices":[{"name":7}]}',
    '{"page_size":4096,"devices":[{"name":"a","fields":[{"size":-1}]}]}',
    '{"page_size":4096,"devices":[{"name":"a","fields":[{"size":1e300}]}]}',
    `{"page_size":4096,"devices":[{"name":"a","subsections":[${nested}]}]}`,
  ];
  for (const text of texts) {
    const error = protocolError(() => parseVmDescription(text), 0, text.slice(0, 60));
    assertEquals(error?.code, "bad-description", text.slice(0, 60));
  }
});

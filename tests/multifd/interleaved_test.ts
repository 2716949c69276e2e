/** Random sources with multifd, sent with any split and interleaving of their channels, against whole rounds. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { Buffer } from "node:buffer";
import { deflateSync } from "node:zlib";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openStreamCompressor, type StreamCompressor } from "../../ffi/compression/stream_codec.ts";
import { addressOf, viewMemory } from "../../ffi/memory.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { MULTIFD_METHOD, MultifdEncoder, StreamEncoder } from "../../migration/protocol/mod.ts";
import { withDirectory } from "../image/captures.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { within } from "../support/deadline.ts";
import { PATTERN } from "../hostile/scripted_source.ts";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";
import { sendStreams } from "./multifd_source.ts";

const PAGE = 4096;
const PAGES = 64;
const RAM_ID = 2;

/** How a source marks its rounds. */
type Scheme = "records" | "sections";

/** What a random source sends, and the memory that must come of it. */
interface RandomSource {
  readonly main: Uint8Array[];
  readonly channels: Uint8Array[][];
  readonly memory: Uint8Array<ArrayBuffer>;
}

function encodeDevices(main: StreamEncoder): void {
  const devices = encodeWorkloadState({ ...PATTERN, pages: PAGES });
  const description = new TextEncoder().encode(JSON.stringify({
    page_size: PAGE,
    devices: [{ name: "postcopy-workload", instance_id: 0, version: 1 }],
  }));
  main.deviceState(devices, 0, devices.length);
  main.endOfStream();
  main.vmDescription(description.length);
  main.vmDescriptionData(description, 0, description.length);
}

/** What a source's channels say beside pages. */
interface Habits {
  /** How its channels are compressed. */
  readonly compression: CompressionMethod | "none";
  /** Whether a mark may stand in a packet with pages, and one without has what the packet before had: 7.2's. */
  readonly old: boolean;
}

const METHODS = { none: MULTIFD_METHOD.NONE, zlib: MULTIFD_METHOD.ZLIB, zstd: MULTIFD_METHOD.ZSTD };

/** A channel of a source: its packets, as one compressed stream where they are compressed. */
class RandomChannel implements Disposable {
  readonly encoder = new MultifdEncoder();
  readonly #habits: Habits;
  readonly #compressor: StreamCompressor | undefined;
  readonly #room = new Uint8Array(2 * PAGES * PAGE + 4096);
  #before = 0;

  constructor(habits: Habits) {
    this.#habits = habits;
    const { compression } = habits;
    if (compression !== "none") this.#compressor = openStreamCompressor(compression, 1);
  }

  /** A mark without pages. */
  mark(number: number): void {
    const stale = { block: "pc.ram", payloadBytes: this.#before };
    this.encoder.packet({ number, sync: true, ...this.#habits.old ? stale : {} });
  }

  /** Pages, with a mark behind them if that is wanted. */
  pages(
    number: number,
    normal: readonly number[],
    zero: readonly number[],
    memory: Uint8Array,
    sync: boolean,
  ): void {
    const content = new Uint8Array(normal.length * PAGE);
    normal.forEach((offset, index) =>
      content.set(memory.subarray(offset, offset + PAGE), index * PAGE)
    );
    let payload = content;
    if (this.#compressor !== undefined && normal.length > 0) {
      const room = this.#room;
      const [from, to] = [addressOf(content), addressOf(room)];
      payload = room.subarray(0, this.#compressor.compress(from, content.length, to, room.length));
    }
    const method = METHODS[this.#habits.compression];
    const payloadBytes = payload.length;
    this.encoder.packet({ number, block: "pc.ram", normal, zero, payloadBytes, method, sync });
    this.encoder.payload(payload);
    this.#before = payloadBytes;
  }

  [Symbol.dispose](): void {
    this.#compressor?.close();
  }
}

/** A source whose pages move between channels, and to the main one as zeros, from round to round. */
function randomSource(
  random: Random,
  count: number,
  scheme: Scheme,
  habits: Habits,
): RandomSource {
  using stack = new DisposableStack();
  const main = new StreamEncoder();
  const channels = Array.from({ length: count }, () => stack.use(new RandomChannel(habits)));
  const memory = new Uint8Array(PAGES * PAGE);
  let number = 0;
  const marked = new Set<RandomChannel>();
  const mark = () => {
    for (const channel of channels) if (!marked.delete(channel)) channel.mark(number++);
    if (scheme === "records") main.multifdFlush();
  };
  const endSection = () => {
    if (scheme === "sections") mark();
    main.endOfSection();
    main.sectionFooter(RAM_ID);
  };
  channels.forEach(({ encoder }, id) => encoder.channel(id));
  main.header();
  main.configuration({ machine: "pc-q35-8.0" });
  main.sectionStart(RAM_ID, "ram", 0, 4);
  main.blockList(PAGES * PAGE);
  main.blockEntry({ name: "pc.ram", usedLength: PAGES * PAGE });
  if (scheme === "records") mark();
  endSection();
  const rounds = random.between(2, 6);
  for (let round = 0; round < rounds; round++) {
    const last = round === rounds - 1;
    if (last) main.sectionEnd(RAM_ID);
    else main.sectionPart(RAM_ID);
    const lists = channels.map(() => ({ normal: [] as number[], zero: [] as number[] }));
    main.block("pc.ram");
    for (let page = 0; page < PAGES; page++) {
      if (round > 0 && random.oneIn(2)) continue;
      const offset = page * PAGE;
      const list = random.pick(lists);
      switch (random.below(3)) {
        case 0:
          main.zeroPage(offset, 0);
          memory.fill(0, offset, offset + PAGE);
          break;
        case 1:
          list.zero.push(offset);
          memory.fill(0, offset, offset + PAGE);
          break;
        default:
          list.normal.push(offset);
          memory.set(random.bytes(PAGE), offset);
      }
    }
    lists.forEach(({ normal, zero }, index) => {
      const channel = channels[index]!;
      // In several packets, of which the last may have the mark.
      for (const part of [0, 1]) {
        const of = (list: readonly number[]) => list.filter((_, at) => at % 2 === part);
        const sync = part === 1 && habits.old && random.oneIn(2);
        if (sync) marked.add(channel);
        channel.pages(number++, of(normal), of(zero), memory, sync);
      }
    });
    if (scheme === "records") mark();
    endSection();
  }
  encodeDevices(main);
  const whole = main.take();
  const most = () => random.pick([50, 1400, 100_000]);
  return {
    main: random.split(whole, most()),
    channels: channels.map(({ encoder }) => random.split(encoder.take(), most())),
    memory,
  };
}

/** All that the channels of a source may do: the random sources take turns. */
const HABITS: readonly Habits[] = (["none", "zlib", "zstd"] as const).flatMap((compression) => [
  { compression, old: false },
  { compression, old: true },
]);
const SEEDS = 12;

/** Sends random sources to a receiver of each kind, in any order and with any split. */
async function sendRandom(
  scheme: Scheme,
  receive: (channels: number, memory: Uint8Array<ArrayBuffer>, send: Send) => Promise<void>,
): Promise<void> {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new Random(seed);
    const count = random.between(1, 5);
    const habits = HABITS[seed % HABITS.length]!;
    const { main, channels, memory } = randomSource(random, count, scheme, habits);
    const order = [...Array(count + 1).keys()].sort(() => random.below(3) - 1);
    await receive(count, memory, async (to, finished) => {
      const sending = sendStreams(to, { main, channels, order }, finished);
      await within(`the memory of seed ${seed}`, Promise.all([finished, sending]));
    });
  }
}

/** Sends the source to where a receiver listens; resolves when that is done. */
type Send = (to: SocketAddress, finished: Promise<void>) => Promise<void>;

for (const scheme of ["records", "sections"] as const) {
  Deno.test(
    `ImageReceiver gives the memory of whole rounds, marked by ${scheme}, whatever comes first`,
    leavingNoDescriptors(() =>
      sendRandom(scheme, (multifdChannels, memory, send) =>
        withDirectory(async (directory) => {
          const path = `${directory}/image`;
          await using receiver = new ImageReceiver({ path, multifdChannels });
          await send(await receiver.listen(LOOPBACK), receiver.finished);
          using image = await openImage(path);
          assertImageMemory(image, new Map([["pc.ram", memory]]));
        }))
    ),
  );

  Deno.test(
    `Destination gives the memory of whole rounds, marked by ${scheme}, whatever comes first`,
    leavingNoDescriptors(() =>
      sendRandom(scheme, async (multifdChannels, memory, send) => {
        const guest = new StillGuest();
        await using destination = new Destination({ guest, multifdChannels });
        await send(await destination.listen(LOOPBACK), destination.finished);
        const { address, length } = guest.blocks[0]!;
        assertEquals(Buffer.compare(viewMemory(address, length), memory), 0);
      })
    ),
  );
}

/** Bytes of one channel that has its number, and what `encode` adds. */
function channelBytes(
  encode: (encoder: MultifdEncoder) => void,
  id = 0,
  uuid = new Uint8Array(16),
): Uint8Array {
  const encoder = new MultifdEncoder();
  encoder.channel(id, uuid);
  encode(encoder);
  return encoder.take();
}

/** The main channel of a source, up to a mark behind its list of blocks. */
function mainStart(): Uint8Array {
  const main = new StreamEncoder();
  main.header();
  main.configuration({ machine: "pc-q35-9.0" });
  main.sectionStart(RAM_ID, "ram", 0, 4);
  main.blockList(PAGES * PAGE);
  main.blockEntry({ name: "pc.ram", usedLength: PAGES * PAGE });
  main.multifdFlush();
  main.endOfSection();
  main.sectionFooter(RAM_ID);
  return main.take();
}

const sync = (encoder: MultifdEncoder) => encoder.packet({ number: 0, sync: true });
const page = (block: string, offset: number) => (encoder: MultifdEncoder) => {
  encoder.packet({ number: 1, block, normal: [offset], payloadBytes: PAGE });
  encoder.payload(new Uint8Array(PAGE));
};
const packed =
  (method: typeof MULTIFD_METHOD.ZLIB | typeof MULTIFD_METHOD.ZSTD, bytes: Uint8Array) =>
  (encoder: MultifdEncoder) => {
    const payloadBytes = bytes.length;
    encoder.packet({ number: 1, method, block: "pc.ram", normal: [0, PAGE], payloadBytes });
    encoder.payload(bytes);
  };

/** What is wrong with the channels, what they send, and what is said of it. */
const HOSTILE: readonly (readonly [string, readonly Uint8Array[], RegExp])[] = [
  ["a number twice", [channelBytes(sync), channelBytes(sync)], /opens multifd channel 0 twice/],
  ["a number too high", [channelBytes(sync, 7)], /another number than 0 to 0, .*: 7/],
  [
    "different machines",
    [channelBytes(sync), channelBytes(sync, 1, new Uint8Array(16).fill(1))],
    /from different machines/,
  ],
  [
    "a page outside its block",
    [channelBytes(page("pc.ram", PAGES * PAGE))],
    /Page outside RAM block/,
  ],
  ["a page of an unknown block", [channelBytes(page("nobody", 0))], /unknown RAM block: nobody/],
  [
    "a zero page outside its block",
    [channelBytes((encoder) => encoder.packet({ number: 1, block: "pc.ram", zero: [2 ** 40] }))],
    /Page outside RAM block/,
  ],
  [
    "damaged zlib",
    [channelBytes(packed(MULTIFD_METHOD.ZLIB, new Uint8Array(300).fill(0xa5)))],
    /channel 0 cannot be decompressed \(zlib\): it does not make 2 pages of RAM block pc.ram/,
  ],
  [
    "damaged zstd",
    [channelBytes(packed(MULTIFD_METHOD.ZSTD, new Uint8Array(300).fill(0xa5)))],
    /cannot be decompressed \(zstd\)/,
  ],
  [
    "less than its pages",
    [channelBytes(packed(MULTIFD_METHOD.ZLIB, deflateSync(new Uint8Array(PAGE)).subarray(0, 10)))],
    /cannot be decompressed/,
  ],
  [
    "a bomb",
    [channelBytes(packed(MULTIFD_METHOD.ZLIB, deflateSync(new Uint8Array(64 << 20))))],
    /cannot be decompressed/,
  ],
  [
    "two methods",
    [
      channelBytes((encoder) => {
        const [first, second] = [deflateSync(new Uint8Array(2 * PAGE)), new Uint8Array(9)];
        packed(MULTIFD_METHOD.ZLIB, first.subarray(0, first.length - 6))(encoder);
        packed(MULTIFD_METHOD.ZSTD, second)(encoder);
      }),
    ],
    /changes the compression of multifd channel 0: zlib, zstd|cannot be decompressed/,
  ],
  [
    "an end inside a packet",
    [channelBytes(page("pc.ram", 0)).subarray(0, 2000)],
    /multifd channel: it closed/,
  ],
  [
    "pages without a mark",
    [channelBytes(page("pc.ram", 0))],
    /multifd channel: it closed the connection/,
  ],
  [
    "no mark where the others wait",
    [channelBytes(() => {})],
    /multifd channel: it closed the connection/,
  ],
];

for (const [what, channels, message] of HOSTILE) {
  Deno.test(
    `ImageReceiver refuses channels of multifd with ${what}`,
    leavingNoDescriptors(async () => {
      await withDirectory(async (directory) => {
        const multifdChannels = channels.length;
        await using receiver = new ImageReceiver({ path: `${directory}/image`, multifdChannels });
        const to = await receiver.listen(LOOPBACK);
        const failed = receiver.finished.then(() => undefined, (error) => error as Error);
        const streams = { main: [mainStart()], channels: channels.map((bytes) => [bytes]) };
        const closed = failed.then(() => receiver.close());
        // The main channel stays open: that it ends is no reason to give up.
        const sending = sendStreams(to, streams, closed, new Set([0]));
        const error = await within("the refusal", failed);
        await sending;
        assertMatch(error!.message, message);
        assertMatch(error!.message, /the guest is unharmed at the source$/);
        assertEquals([...Deno.readDirSync(directory)], []);
      });
    }),
  );
}

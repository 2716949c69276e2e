/** What must wait for pages on their way: it holds up nobody but itself, and nothing overtakes. */
import "../support/native.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Unpacked } from "../../ffi/compression/codec.ts";
import {
  DecompressingPages,
  FIRST_OF_BURST,
} from "../../client/decompression/decompressing_pages.ts";
import {
  type Decompression,
  decompressionShape,
  pageAt,
  SlotWord,
} from "../../client/decompression/decompression.ts";
import { DecompressionThreads } from "../../client/decompression/decompression_threads.ts";
import { IncomingStream } from "../../client/incoming/incoming_stream.ts";
import type { StreamEvents } from "../../client/incoming/stream_events.ts";
import { MAIN_CHANNEL_BYTES, StreamReader } from "../../client/incoming/stream_reader.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { PollSet } from "../../ffi/poll.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { encodeGuestSection } from "../../migration/protocol/guest_section.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import type { TaskPoll } from "../../migration/threads/task.ts";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { Pair } from "../channel/pair.ts";
import { packer } from "./packer.ts";
import { KeptMemory } from "./unpacking.ts";

const PAGE = 4096;
const MACHINE: StreamMachine = {
  configuration: { machine: "mine" },
  ramSection: { id: 1, instance: 0, version: 4 },
  targetPageSize: PAGE,
  blocks: [{ name: "ram", usedLength: 40 * PAGE }],
};

/** A reader's pages, and the thread that is to decompress them: this one, when the test says so. */
class SlowThread implements AsyncDisposable {
  readonly memory = new KeptMemory();
  readonly wake = new Eventfd();
  readonly buffer: ReceiveBuffer;
  readonly pages: DecompressingPages;
  readonly rings: WorkRings;
  readonly worker: WorkRing;
  readonly #threads = new DecompressionThreads(1);
  readonly #shared: Decompression;

  constructor() {
    const shared = this.#shared = this.#threads.shared;
    this.buffer = new ReceiveBuffer(MAIN_CHANNEL_BYTES, shared.memory);
    this.rings = new WorkRings(decompressionShape(1), shared.rings);
    this.rings.wakeFd = this.wake.fd;
    this.worker = new WorkRing(decompressionShape(1), shared.rings, 0);
    this.worker.enter();
    this.pages = new DecompressingPages(this.memory, this.buffer, shared, () => {});
  }

  /** Whether a page of the block is full of this. */
  has(page: number, byte: number): boolean {
    const at = page * PAGE;
    return this.memory.block("ram").subarray(at, at + PAGE).every((other) => other === byte);
  }

  /** Finishes a page: it is full of this. */
  finish(byte: number): void {
    const slot = this.worker.next();
    const at = this.buffer.keptAt + pageAt(slot);
    this.buffer.bytes.fill(byte, at, at + PAGE);
    this.rings.words[this.rings.at(slot) + SlotWord.OUTCOME] = Unpacked.PAGE;
    this.worker.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.pages.close();
    await this.#threads.close();
    this.wake.close();
  }
}

/** Gives a burst of which the pages `1..` go to the thread. */
function burst(slow: SlowThread, given: number): void {
  using pack = packer("zlib");
  slow.pages.select("ram");
  const [first, packed] = [pack(new Uint8Array(PAGE).fill(9)), pack(new Uint8Array(PAGE).fill(8))];
  for (let page = 0; page < FIRST_OF_BURST; page++) {
    slow.pages.compressedPage((39 - page) * PAGE, first, 0, first.length);
  }
  for (let page = 1; page <= given; page++) {
    slow.pages.compressedPage(page * PAGE, packed, 0, packed.length);
  }
  assertEquals([slow.rings.outstanding, slow.pages.held], [given, false]);
}

Deno.test("DecompressingPages holds another version of a page on its way, and gives it last", async () => {
  for (const kind of ["plain", "zero", "compressed", "difference"] as const) {
    await using slow = new SlowThread();
    const { pages, buffer } = slow;
    pages.open(MACHINE);
    burst(slow, 2);
    using pack = packer("zlib");
    const packed = pack(new Uint8Array(PAGE).fill(6));
    const { bytes, address } = buffer;
    bytes.fill(6, 0, PAGE);
    if (kind === "plain") pages.page(PAGE, bytes, 0, address);
    else if (kind === "zero") pages.zeroPage(PAGE);
    else if (kind === "compressed") pages.compressedPage(PAGE, packed, 0, packed.length);
    else pages.xbzrlePage(PAGE, bytes, 0, 1);
    assertEquals([pages.held, pages.resume(), pages.held], [true, false, true]);
    slow.finish(8);
    assertEquals([pages.resume(), slow.has(1, 8)], [false, true]);
    slow.finish(8);
    assertEquals([pages.resume(), pages.held, pages.settled()], [true, false, true]);
    if (kind === "difference") assertEquals(slow.memory.block("ram")[PAGE], 9);
    else assert(slow.has(1, kind === "zero" ? 0 : 6));
    assert(slow.has(2, 8));
  }
});

Deno.test("DecompressingPages takes another page while one is on its way, but neither a discard nor LISTEN", async () => {
  await using slow = new SlowThread();
  const { pages, buffer: { bytes, address }, memory } = slow;
  pages.open(MACHINE);
  burst(slow, 1);
  bytes.fill(5, 0, PAGE);
  pages.page(2 * PAGE, bytes, 0, address);
  assertEquals(pages.held, false);
  pages.discard({ kind: "discard", block: "ram", ranges: [] });
  assertEquals([pages.held, memory.log], [true, []]);
  assertThrows(() => pages.listen(), Error, "Something is held");
  slow.finish(8);
  assertEquals([pages.resume(), memory.log], [true, ["discard with 0 waiting"]]);
  burst(slow, 1);
  pages.listen();
  assertEquals([pages.held, memory.log.length], [true, 1]);
  slow.worker.bury(); // what it leaves is decompressed here
  assertEquals([pages.resume(), memory.log[1]], [true, "listen with 0 waiting"]);
  assert(slow.has(1, 8) && slow.has(2, 5));
});

Deno.test("DecompressingPages does not wait for threads that were ended", async () => {
  await using slow = new SlowThread();
  slow.pages.open(MACHINE);
  burst(slow, 1);
  slow.pages.zeroPage(PAGE);
  slow.rings.stop();
  assertThrows(() => slow.pages.resume(), MigrationError, "Decompression was ended");
});

/** The poll of a task that is alone on its thread. */
class LonePoll implements TaskPoll {
  readonly #set = new PollSet(2);
  found = 0;
  /** Whether it wants a turn in any case. */
  wanted = false;

  watch(slot: number, fd: number, events: number): void {
    this.#set.watch(slot, fd, events);
  }
  ready(slot: number): number {
    return this.#set.ready(slot);
  }
  sleep(): void {}
  again(): void {
    this.wanted = true;
  }
  spinUntil(): void {}

  /** Whether there is a turn, when it is waited for so long. */
  turn(milliseconds: number): boolean {
    this.found = this.#set.wait(this.wanted ? 0 : milliseconds);
    const wanted = this.wanted || this.found > 0;
    this.wanted = false;
    return wanted;
  }
}

const NOTHING = () => {};

/** What is heard of a stream but for its pages. */
class Heard implements StreamEvents {
  readonly log: string[] = [];
  readonly configuration = NOTHING;
  readonly returnPathOpened = NOTHING;
  readonly opened = NOTHING;
  readonly listening = NOTHING;
  readonly switchover = NOTHING;
  readonly bitmapWanted = NOTHING;
  readonly resumed = NOTHING;

  arrived(): void {
    this.log.push("arrived");
  }
  ended(): void {
    this.log.push("ended");
  }
  ping(value: number): void {
    this.log.push(`ping ${value}`);
  }
}

/** A reader on this thread, and the source that it reads from. */
class Reading implements Disposable {
  readonly slow: SlowThread;
  readonly events = new Heard();
  readonly stream: IncomingStream;
  readonly poll = new LonePoll();
  readonly pair: Pair;
  readonly encoder = new StreamEncoder();
  readonly #reader: StreamReader;

  constructor(slow: SlowThread, pair: Pair) {
    this.slow = slow;
    this.pair = pair;
    this.stream = new IncomingStream(slow.pages, this.events);
    const init = { main: { fd: pair.here.fd }, wakeFd: slow.wake.fd, count: NOTHING };
    this.#reader = new StreamReader(init, this.poll, this.stream, slow.pages, slow.buffer);
    this.#encodeBurst();
  }

  /** Sends what was encoded. */
  async send(bytes = this.encoder.take()): Promise<void> {
    await this.pair.there.sendAll(bytes, { timeout: 20_000 });
  }

  /** Takes a turn. */
  turn(): void {
    this.#reader.clearWake();
    this.#reader.receive();
  }

  /** Takes turns until something is so. */
  until(what: () => boolean): void {
    while (!what()) {
      assert(this.poll.turn(20_000), "Nothing begins a turn");
      this.turn();
    }
  }

  [Symbol.dispose](): void {
    this.pair[Symbol.dispose]();
  }

  /** Encodes a stream up to a page that goes to the thread. */
  #encodeBurst(): void {
    using pack = packer("zlib");
    const packed = pack(new Uint8Array(PAGE).fill(8));
    const { encoder } = this;
    encoder.header();
    encoder.configuration({ machine: "pc-q35-7.2" });
    encoder.sectionStart(1, "ram", 0, 4);
    encoder.blockList(40 * PAGE);
    encoder.blockEntry({ name: "ram", usedLength: 40 * PAGE });
    encoder.endOfSection();
    encoder.sectionFooter(1);
    encoder.sectionPart(1);
    encoder.block("ram");
    for (let page = 0; page <= FIRST_OF_BURST; page++) {
      encoder.compressedPage(page * PAGE, packed, 0, packed.length);
    }
  }
}

Deno.test("StreamReader waits for a page on its way without a turn, and takes what came behind it when it is there", async () => {
  await using slow = new SlowThread();
  using reading = new Reading(slow, await Pair.connect());
  const { encoder, events, poll, pair } = reading;
  const again = new Uint8Array(PAGE).fill(6);
  encoder.page(FIRST_OF_BURST * PAGE, again, 0);
  encoder.page(20 * PAGE, again, 0);
  encoder.endOfSection();
  encoder.sectionFooter(1);
  encoder.command({ kind: "ping", value: 1 });
  await reading.send();
  reading.until(() => slow.pages.held);
  // More has come, or does: there is no turn for it.
  encoder.command({ kind: "ping", value: 2 });
  await reading.send();
  while (poll.turn(0)) reading.turn();
  pair.awaitInput();
  assertEquals([poll.turn(0), slow.pages.held, events.log], [false, true, []]);
  slow.finish(8);
  reading.until(() => events.log.length === 2);
  assertEquals(events.log, ["ping 1", "ping 2"]);
  assert(slow.has(FIRST_OF_BURST, 6) && slow.has(20, 6) && slow.has(0, 8));
});

Deno.test("StreamReader does not end a stream before its last page is there, though the source has closed", async () => {
  await using slow = new SlowThread();
  using reading = new Reading(slow, await Pair.connect());
  const { encoder, events, poll, pair, stream } = reading;
  encoder.endOfSection();
  encoder.sectionFooter(1);
  await reading.send();
  const devices = encodeGuestSection(2, new Uint8Array(500).fill(1));
  const end = 0;
  await reading.send(new Uint8Array([...new Uint8Array(devices), end]));
  pair.there.close();
  reading.until(() => slow.pages.held);
  while (poll.turn(0)) reading.turn();
  assertEquals([events.log, stream.ended], [[], false]);
  slow.finish(8);
  reading.until(() => stream.ended);
  assertEquals(events.log, ["arrived", "ended"]);
  assert(slow.has(FIRST_OF_BURST, 8));
});

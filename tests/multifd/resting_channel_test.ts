/** A channel of multifd that pauses in the midst of a packet, or goes on when it is over. */
import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { MultifdChannel } from "../../client/multifd/multifd_channel.ts";
import { MAIN, Rounds } from "../../client/multifd/rounds.ts";
import { openStreamCompressor } from "../../ffi/compression/stream_codec.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { Listener } from "../../ffi/listener.ts";
import { addressOf, viewMemory } from "../../ffi/memory.ts";
import { Socket } from "../../ffi/socket.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { MULTIFD_METHOD, MultifdEncoder } from "../../migration/protocol/mod.ts";
import { MULTIFD_INIT_BYTES } from "../../migration/protocol/multifd.ts";
import { multifdHeadBytes } from "../../migration/protocol/multifd_head.ts";
import { until } from "../support/deadline.ts";
import { HandPoll } from "../support/hand_poll.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { mappedPages } from "../support/resident_pages.ts";

const PAGE = 4096;
const PAGES = 24;

/** A packet of pages, and of what its content must be. */
function packetOf(method: "none" | "zlib" | "zstd"): { bytes: Uint8Array; content: Uint8Array } {
  const content = new Uint8Array(new Random(4).bytes(PAGES * PAGE));
  const encoder = new MultifdEncoder();
  encoder.channel(0);
  let payload = content;
  if (method !== "none") {
    using compressor = openStreamCompressor(method, 1);
    const room = new Uint8Array(2 * content.length);
    const [from, to] = [addressOf(content), addressOf(room)];
    payload = room.slice(0, compressor.compress(from, content.length, to, room.length));
  }
  const normal = Array.from({ length: PAGES }, (_, page) => page * PAGE);
  const kinds = { none: MULTIFD_METHOD.NONE, zlib: MULTIFD_METHOD.ZLIB, zstd: MULTIFD_METHOD.ZSTD };
  const payloadBytes = payload.length;
  encoder.packet({ number: 1, method: kinds[method], block: "ram", normal, payloadBytes });
  encoder.payload(payload);
  return { bytes: encoder.take(), content };
}

/** A channel whose steps the test makes, and what its pages were. */
class Channel implements AsyncDisposable {
  readonly found = new Uint8Array(PAGES * PAGE);
  /** Where the first page lay that came. */
  address = 0;
  readonly #stack: AsyncDisposableStack;
  readonly #source: Socket;
  readonly #rounds: Rounds;
  readonly #poll = new HandPoll();
  readonly #channel: MultifdChannel;
  // As a memory does that places pages where they lie: at the flush.
  readonly #gathered: (readonly [number, number])[] = [];

  private constructor(stack: AsyncDisposableStack, source: Socket, connection: Socket) {
    this.#source = source;
    const wake = stack.use(new Eventfd());
    this.#rounds = new Rounds(1);
    this.#rounds.join(MAIN, wake.fd);
    const memory = {
      select: () => {},
      page: (offset: number, _bytes: Uint8Array, _at: number, address: number) => {
        this.address ||= address;
        this.#gathered.push([offset, address]);
      },
      zeroPage: () => {},
      flush: () => {
        for (const [offset, address] of this.#gathered.splice(0)) {
          this.found.set(viewMemory(address, PAGE), offset);
        }
      },
    };
    const init = {
      connection: { fd: connection.fd },
      rounds: this.#rounds.buffer,
      channels: 1,
      participant: 1,
      wakeFd: wake.fd,
      targetPageSize: PAGE,
    };
    this.#channel = stack.use(new MultifdChannel(init, () => memory, () => {}, this.#poll));
    this.#stack = stack;
  }

  static async connect(): Promise<Channel> {
    await using stack = new AsyncDisposableStack();
    const listener = stack.use(await Listener.listen(LOOPBACK));
    const source = stack.use(await Socket.connect(listener.address));
    const accepted = stack.use(await listener.accept());
    return new Channel(stack.move(), source, accepted);
  }

  /** Sends bytes and makes steps until all have come. */
  async receive(bytes: Uint8Array): Promise<void> {
    const end = this.#rounds.bytes + bytes.length;
    await this.#source.sendAll(bytes);
    await until("the bytes", () => {
      this.step();
      return this.#rounds.bytes === end;
    });
  }

  /** LISTEN has come on the main channel. */
  listen(): void {
    this.#rounds.listen();
  }

  /** Makes a step for what has come. */
  step(): void {
    this.#poll.look();
    this.#channel.step();
  }

  /** Its time has come, and nothing else: it may rest. */
  pass(): void {
    this.#poll.found = 0;
    this.#channel.step();
  }

  /** Pages of memory that are there for input. */
  get memory(): number {
    const address = Math.floor(this.address / PAGE) * PAGE;
    return mappedPages({ name: "", address, length: PAGES * PAGE, fd: -1, pageSize: PAGE });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

for (const method of ["none", "zlib", "zstd"] as const) {
  Deno.test(`MultifdChannel keeps what it has of a packet (${method}) however long the rest takes`, async () => {
    const { bytes, content } = packetOf(method);
    await using channel = await Channel.connect();
    const half = Math.floor(bytes.length / 2);
    for (const part of [bytes.subarray(0, half), bytes.subarray(half)]) {
      await channel.receive(part);
      channel.step(); // what came meanwhile: nothing
      channel.pass();
    }
    assertEquals(channel.found, content);
  });
}

Deno.test("MultifdChannel gives its memory back when nothing has come for a while, and not before", async () => {
  await using channel = await Channel.connect();
  await channel.receive(packetOf("none").bytes);
  channel.step(); // what came meanwhile: nothing
  assertEquals(channel.memory, PAGES);
  channel.pass();
  assertEquals(channel.memory, 0);
});

for (const method of ["none", "zlib"] as const) {
  Deno.test(`MultifdChannel takes no page (${method}) after the switch to postcopy, also of a packet that began before`, async () => {
    const { bytes } = packetOf(method);
    await using channel = await Channel.connect();
    // The header, and no page of it.
    const head = MULTIFD_INIT_BYTES + multifdHeadBytes(PAGE) + 100;
    await channel.receive(bytes.subarray(0, head));
    channel.listen();
    await assertRejects(
      () => channel.receive(bytes.subarray(head)),
      MigrationError,
      "Source sends pages of RAM block ram on multifd channel 0 after the switch to postcopy",
    );
    assertEquals(channel.found, new Uint8Array(PAGES * PAGE));
  });
}

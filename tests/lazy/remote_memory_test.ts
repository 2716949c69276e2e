import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { guestOf } from "../../image/guest_stamp.ts";
import { readOrderOf, writeOrderFile } from "../../image/order/order_file.ts";
import { OrderKeeper } from "../../server/command/order_keeper.ts";
import { MemoryLocator } from "../../client/lazy/memory_pages.ts";
import { ArrivingMemory } from "../../client/lazy/remote/arriving_memory.ts";
import { RemoteMemory } from "../../client/lazy/remote/remote_memory.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import { encodePageCallAnswer } from "../../migration/protocol/page_call.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { PageServer } from "../../server/listening/page_server.ts";
import type { PageServerEvent } from "../../server/listening/page_server_event.ts";
import type { SessionOrder } from "../../server/listening/served_image.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { HELD, LACKING, RAM_PAGES, writeLacking } from "../end_to_end/lacking_images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { ONLY_ASKED } from "./remote_image.ts";

const PAGE = 4096;

/** A directory that goes with its content. */
class TemporaryDirectory implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "postcopy-remote-" });

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** An image of several blocks at a server, its content, and the copy of it here. */
async function withRemote(
  order: (() => Promise<SessionOrder>) | undefined,
  test: (remote: RemoteMemory, content: Uint8Array, server: PageServer) => Promise<void>,
): Promise<void> {
  using file = await TestImage.make({ low: 333, middle: 1, high: 1500 }, { zeroEvery: 5 });
  using image = await openImage(file.path);
  const content = Deno.readFileSync(file.path);
  await serving(image, order, (remote, server) => test(remote, content, server));
}

/** An image at a server, and the copy of it here. */
async function serving(
  image: Image,
  order: (() => Promise<SessionOrder>) | undefined,
  test: (remote: RemoteMemory, server: PageServer, events: PageServerEvent[]) => Promise<void>,
): Promise<void> {
  const events: PageServerEvent[] = [];
  const served = { name: "vm", image, ...order === undefined ? {} : { order } };
  await using server = await PageServer.open({
    images: [served],
    maxPostcopyBandwidth: 8 << 20,
    onEvent: (event) => events.push(event),
  });
  const address = await server.listen(LOOPBACK);
  await using remote = await RemoteMemory.open({
    from: { server: address, name: "vm" },
    pool: ThreadPool.shared,
    tell: () => {},
    note: () => {},
  });
  await test(remote, server, events);
}

/** Waits for pages as a session does, and sees that they are what they must be. */
async function fetch(
  remote: RemoteMemory,
  content: Uint8Array,
  pages: readonly number[],
): Promise<void> {
  const place = remote.enter();
  const locator = new MemoryLocator(remote.memory);
  const memory = new ArrivingMemory(locator, remote.memory, place);
  const words = new Int32Array(PAGE / 4);
  for (const page of pages) {
    while (!memory.has(page * PAGE, PAGE)) {
      memory.request(page * PAGE, PAGE);
      await within(`page ${page}`, waitReady(place.eventFd, PollEvents.IN, "a page", {}));
      clearEvent(place.eventFd);
    }
    const address = locator.locate(page * PAGE);
    words.fill(0);
    if (address !== 0) locator.copy(address, words, 0);
    assertEquals(new Uint8Array(words.buffer), content.subarray(page * PAGE, (page + 1) * PAGE));
  }
  remote.leave(place);
}

for (
  const [how, order] of [["as they are asked for", ONLY_ASKED], [
    "beside others",
    undefined,
  ]] as const
) {
  Deno.test(
    `RemoteMemory has every byte of several blocks, pages ${how}`,
    leavingNoDescriptors(() =>
      withRemote(order, async (remote, content) => {
        const random = new Random(11);
        const pages = Array.from({ length: 1834 }, (_, page) => page)
          .map((page) => [random.u32(), page] as const).sort(([one], [other]) => one - other).map((
            [, page],
          ) => page);
        await fetch(remote, content, pages);
      })
    ),
  );
}

Deno.test(
  "RemoteMemory asks once for what several sessions want, and wakes all of them",
  leavingNoDescriptors(() =>
    withRemote(ONLY_ASKED, async (remote, content, server) => {
      const pages = Array.from({ length: 200 }, (_, index) => index * 9);
      await Promise.all([1, 2, 3, 4].map(() => fetch(remote, content, pages)));
      assertEquals(server.statistics()[0]!.requests, 200);
    })
  ),
);

Deno.test(
  "RemoteMemory gives a place that was left to the next, and needs no more descriptors",
  leavingNoDescriptors(() =>
    withRemote(ONLY_ASKED, async (remote, content) => {
      const first = remote.enter();
      remote.leave(first);
      for (let times = 0; times < 20; times++) await fetch(remote, content, [times]);
      const { slot, eventFd } = remote.enter();
      assert(slot === first.slot && eventFd === first.eventFd);
    })
  ),
);

for (const kind of LACKING) {
  Deno.test(
    `RemoteMemory of a ${kind} that lacks pages has them as zeros, and is never sent one`,
    leavingNoDescriptors(async () => {
      using directory = new TemporaryDirectory();
      const blocks = await writeLacking(kind, `${directory.path}/image`);
      const content = new Uint8Array(
        await new Blob(blocks.map((block) => block.slice())).arrayBuffer(),
      );
      using image = await openImage(`${directory.path}/image`);
      await serving(image, undefined, async (remote, _server, events) => {
        const pages = Array.from({ length: RAM_PAGES + 10 }, (_, page) => page);
        await fetch(remote, content, pages);
        const ended = () => events.find((each) => each.event === "ended");
        await until("the session's end", () => ended() !== undefined);
        assertEquals([ended()!.complete, ended()!.pages], [true, HELD]);
      });
    }),
  );
}

/** A server that says something to whoever calls, and no more; returns with what the client fails. */
async function failing(
  says: (call: "main" | "preempt") => Uint8Array<ArrayBuffer>,
  closes = false,
): Promise<Error> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Deno.TcpConn[] = [];
  const answering = (async () => {
    for (const call of ["main", "preempt"] as const) {
      const connection = await listener.accept();
      connections.push(connection);
      await connection.read(new Uint8Array(1024));
      await connection.write(says(call));
      if (closes) connection.closeWrite();
    }
  })().catch(() => {});
  const server = { transport: "tcp", host: "127.0.0.1", port: listener.addr.port } as const;
  const opening = RemoteMemory.open({
    from: { server, name: "vm" },
    stallTimeout: 500,
    pool: ThreadPool.shared,
    tell: () => {},
    note: () => {},
  });
  const error = await assertRejects(() => within("its end", opening), Error);
  listener.close();
  await answering;
  for (const connection of connections) connection.close();
  return error;
}

/** A welcome, and bytes behind it. */
function welcome(...behind: number[]): Uint8Array<ArrayBuffer> {
  const [ticket, identity] = [new Uint8Array(16), new Uint8Array(32)];
  return new Uint8Array([
    ...encodePageCallAnswer({ kind: "welcome", ticket, identity }),
    ...behind,
  ]);
}

/** The beginning of a stream: header, and the configuration of a machine. */
function stream(write: (encoder: StreamEncoder) => void): number[] {
  const encoder = new StreamEncoder(4096);
  encoder.header();
  encoder.configuration({ machine: "memory" });
  write(encoder);
  return [...encoder.take()];
}

Deno.test(
  "RemoteMemory gives up at once on a server that welcomes it and says nothing more",
  leavingNoDescriptors(async () => {
    const { message } = await failing(() => welcome());
    assert(message.startsWith("Server has begun nothing for 0.5 s"), message);
  }),
);

Deno.test(
  "RemoteMemory says what is wrong with a server that is none, or says what cannot be",
  leavingNoDescriptors(async () => {
    const http = new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n");
    const blocks = stream((encoder) => {
      encoder.sectionStart(1, "ram", 0, 4);
      encoder.blockList(2 ** 42);
      encoder.blockEntry({ name: "ram", usedLength: 2 ** 42 });
      encoder.endOfSection();
      encoder.sectionFooter(1);
    });
    const cases: [(call: "main" | "preempt") => Uint8Array<ArrayBuffer>, string][] = [
      [() => http, "Not a page server, or another version of it"],
      [
        (call) => call === "main" ? welcome(...http) : welcome(),
        "Server sent what cannot be understood",
      ],
      [
        (call) => call === "main" ? welcome(...blocks) : welcome(),
        "far more than this host's memory",
      ],
    ];
    for (const [says, text] of cases) {
      const error = await failing(says);
      assert(error instanceof MigrationError, `${error}`);
      assert(error.message.includes(text), error.message);
    }
    const { message } = await failing(() => new Uint8Array(0), true);
    assert(message.startsWith("Connection ended before it was said"), message);
  }),
);

Deno.test(
  "PageServer goes by the order beside an image, and holds against no page of it that it came in time",
  leavingNoDescriptors(async () => {
    using directory = new TemporaryDirectory();
    using file = await TestImage.make({ low: 333, high: 1500 });
    const path = `${directory.path}/order`;
    using image = await openImage(file.path);
    const owner = { stamp: await guestOf(image), layout: image.layout };
    const list = { pages: Int32Array.of(1000, 7, 8), idle: new Uint8Array(3) };
    assertEquals(await writeOrderFile(path, { ...owner, list }, 0o600), undefined);
    const order = () => OrderKeeper.open(image, { order: path, options: {} });
    await serving(image, order, async (remote, _server, events) => {
      await until("the end", () => events.some(({ event }) => event === "ended"));
      const came = new Int32Array(remote.enter().cache.list);
      assertEquals([...came.subarray(0, 3)], [1000, 7, 8]);
    });
    assertEquals(await readOrderOf(path, owner), list);
    await serving(image, order, async (remote, _server, events) => {
      // Asked for although it is in the order, and what is not in it.
      await fetch(remote, Deno.readFileSync(file.path), [8, 20]);
      await until("the end", () => events.some(({ event }) => event === "ended"));
    });
    const kept = await readOrderOf(path, owner);
    assert(typeof kept === "object" && kept.pages.length >= 3, `${kept}`);
    assertEquals([...kept.idle].some((idle) => idle > 0), false);
  }),
);

import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { RemoteMemory, type RemoteMemoryOptions } from "../../client/lazy/remote/remote_memory.ts";
import { MemoryLocator } from "../../client/lazy/memory_pages.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { encodePageCall } from "../../migration/protocol/page_call.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { ONLY_ASKED, serve, type Served } from "../lazy/remote_image.ts";
import { memoryContent, MemoryFile } from "../lazy/vmm.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";

const MIB = 1024 * 1024;

/** Somebody who says what he likes. */
async function connect({ address }: Served): Promise<Deno.TcpConn> {
  const { port } = address as Extract<SocketAddress, { transport: "tcp" }>;
  return await Deno.connect({ hostname: "127.0.0.1", port });
}

/** All that the server says until it closes the connection. */
async function heard(connection: Deno.TcpConn): Promise<Uint8Array> {
  const pieces: number[] = [];
  const buffer = new Uint8Array(4096);
  try {
    for (let count; (count = await connection.read(buffer)) !== null;) {
      pieces.push(...buffer.subarray(0, count));
    }
  } catch {
    // Reset: it closed it without having read all.
  }
  return new Uint8Array(pieces);
}

/** An image from a server. */
async function fetch(
  served: Served,
  options: Partial<RemoteMemoryOptions> & { readonly name?: string } = {},
): Promise<RemoteMemory> {
  return await RemoteMemory.open({
    from: { server: served.address, name: options.name ?? "vm" },
    pool: ThreadPool.shared,
    tell: () => {},
    note: () => {},
    ...options,
  });
}

/** Sees that a client gets all of the image. */
async function assertServes(served: Served): Promise<void> {
  const complete = Promise.withResolvers<void>();
  const tell: RemoteMemoryOptions["tell"] = ({ event }) =>
    event === "complete" && complete.resolve();
  await using remote = await fetch(served, { tell });
  await within("all of it", complete.promise);
  const { memory } = remote;
  const locator = new MemoryLocator(memory);
  const words = new Int32Array(memory.length / 4);
  for (let offset = 0; offset < memory.length; offset += 4096) {
    const address = locator.locate(offset);
    if (address !== 0) locator.copy(address, words, offset / 4);
  }
  assertEquals(new Uint8Array(words.buffer), memoryContent(memory.length));
}

/** Why connections were refused. */
function refusals({ events }: Served): string[] {
  return events.flatMap((each) => each.event === "refused" ? [each.reason] : []);
}

Deno.test(
  "PageServer tells who asks for a name that it does not have how many it has, and no more",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    await using served = await serve(file);
    for (const name of ["other", file.path, "../memory", "v", "vm\0", "n".repeat(255)]) {
      const error = await assertRejects(() => fetch(served, { name }), MigrationError);
      assertEquals(error.code, "PEER_FAILED");
      const told = "Server refuses: No image of that name: ";
      assert(error.message.startsWith(told), error.message);
      assert(error.message.endsWith(": 1 image is served here, by other names"), error.message);
    }
    assertEquals(refusals(served).length, 6);
    await assertServes(served);
  }),
);

Deno.test(
  "PageServer sends away who says what is no call, and serves others",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    await using served = await serve(file);
    const words = [
      "GET / HTTP/1.1\r\n\r\n",
      "QEVM\0\0\0\x03",
      "PCPS\x02\x01\x02vm",
      "PCPS\x01\x07",
      "PCPS\x01\x01\x00",
      "PCPS\x01\x01\x02\xff\xfe",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for (const word of words) {
      using connection = await connect(served);
      await connection.write(Uint8Array.from(word, (character) => character.charCodeAt(0)));
      assertEquals(await heard(connection), new Uint8Array(0), word);
    }
    await until("all are told of", () => refusals(served).length === words.length);
    await assertServes(served);
  }),
);

Deno.test(
  "PageServer serves others while a host floods it with calls that never end",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    await using served = await serve(file, { callTimeout: 3_600_000 });
    const connections: Deno.TcpConn[] = [];
    try {
      for (let count = 0; count < 300; count++) {
        const connection = await connect(served);
        connections.push(connection);
        await connection.write(
          encodePageCall({ kind: "begin", name: "vm" }).subarray(0, 1 + count % 8),
        );
      }
      await assertServes(served);
      // The first have gone, to make room for those behind them.
      assertEquals(await within("its end", heard(connections[0]!)), new Uint8Array(0));
    } finally {
      for (const connection of connections) connection.close();
    }
  }),
);

Deno.test(
  "PageServer waits no longer than told for a call, and for a second connection",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    await using served = await serve(file, { callTimeout: 50 });
    using silent = await connect(served);
    using alone = await connect(served);
    await alone.write(encodePageCall({ kind: "begin", name: "vm" }));
    assertEquals((await within("its end", heard(alone))).length, 49);
    assertEquals(await within("its end", heard(silent)), new Uint8Array(0));
    await until("both are told of", () => refusals(served).length === 2);
    const why = "It did not say what it wants, or made no second connection, in time";
    assertEquals(refusals(served), [why, why]);
  }),
);

Deno.test(
  "PageServer gives no session's second connection to who guesses",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    await using served = await serve(file, { order: ONLY_ASKED });
    await using _remote = await fetch(served);
    using guesser = await connect(served);
    await guesser.write(encodePageCall({ kind: "preempt", ticket: new Uint8Array(16) }));
    const answer = await within("the answer", heard(guesser));
    assertEquals(answer[0], 1);
    assert(refusals(served)[0]!.startsWith("No main channel waits"));
    assertEquals(served.server.clients, 1);
  }),
);

Deno.test(
  "PageServer ends a client that asks for what is not there, and no other",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    await using served = await serve(file, { order: ONLY_ASKED });
    await using _well = await fetch(served);
    using main = await connect(served);
    await main.write(encodePageCall({ kind: "begin", name: "vm" }));
    const welcome = new Uint8Array(49);
    for (let filled = 0; filled < 49;) filled += (await main.read(welcome.subarray(filled)))!;
    using preempt = await connect(served);
    await preempt.write(encodePageCall({ kind: "preempt", ticket: welcome.slice(1, 17) }));
    // A message of the return path that there is not.
    await main.write(new Uint8Array([0x12, 0x34, 0xff, 0xff]));
    await within("its end", heard(main));
    const ended = () => served.events.filter((each) => each.event === "ended");
    await until("it is told of", () => ended().length === 1);
    assertEquals(served.server.clients, 1);
  }),
);

Deno.test(
  "PageServer serves no more clients than it may at a time, and tells so",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    await using served = await serve(file, { order: ONLY_ASKED, maxClients: 2 });
    {
      await using _one = await fetch(served);
      await using _other = await fetch(served);
      const error = await assertRejects(() => fetch(served), MigrationError);
      assert(error.message.includes("Serves 2 clients, as many as it may"), error.message);
    }
    await until("room", () => served.server.clients === 0);
    await using _another = await fetch(served);
  }),
);

Deno.test(
  "PageServer sends a session's planned pages first, in their order",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    const order = [200, 7, 31, 30, 255].map((page) => ({
      block: "memory",
      offset: page * 4096,
      length: 4096,
    }));
    await using served = await serve(file, {
      order: () => Promise.resolve({ options: { order }, keep: () => Promise.resolve([]) }),
    });
    const complete = Promise.withResolvers<void>();
    await using remote = await fetch(served, {
      tell: ({ event }) => event === "complete" && complete.resolve(),
    });
    await within("all of it", complete.promise);
    const list = new Int32Array(remote.enter().cache.list);
    assertEquals([...list.subarray(0, 5)], [200, 7, 31, 30, 255]);
    assertEquals(new Set(list).size, 256);
  }),
);

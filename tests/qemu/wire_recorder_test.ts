import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { WireRecorder } from "../../qemu/wire_recorder.ts";

/** A destination that answers each byte with the next number, and keeps what came. */
class Destination implements AsyncDisposable {
  readonly came: number[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #serving = this.#serve();

  get port(): number {
    return this.#listener.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving;
  }

  async #serve(): Promise<void> {
    for await (const connection of this.#listener) {
      const buffer = new Uint8Array(65536);
      try {
        for (let count; (count = await connection.read(buffer)) !== null;) {
          this.came.push(...buffer.subarray(0, count));
          await connection.write(buffer.subarray(0, count).map((byte) => byte + 1));
        }
      } catch {
        // It was cut.
      }
      connection.close();
    }
  }
}

function connect({ uri }: WireRecorder): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname: "127.0.0.1", port: Number(uri.split(":").at(-1)) });
}

Deno.test("WireRecorder forwards and keeps both directions of a connection", async () => {
  await using destination = new Destination();
  await using wire = new WireRecorder(destination.port);
  using source = await connect(wire);
  const main = await wire.main;
  const arrived = main.more(3);
  await source.write(Uint8Array.of(1, 2, 3));
  await arrived;
  await source.closeWrite();
  const answer = await new Response(source.readable).bytes();
  await wire.ended();
  assertEquals([...answer], [2, 3, 4]);
  assertEquals(destination.came, [1, 2, 3]);
  assertEquals([...Buffer.concat(main.down)], [1, 2, 3]);
  assertEquals([...Buffer.concat(main.up)], [2, 3, 4]);
});

Deno.test("RecordedConnection.cut ends both sides in the middle of a piece", async () => {
  await using destination = new Destination();
  await using wire = new WireRecorder(destination.port);
  using source = await connect(wire);
  const main = await wire.main;
  const cut = main.cut();
  await source.write(new Uint8Array(1000).fill(7));
  await cut;
  assertEquals(Buffer.concat(main.down).length, 500);
  assert(destination.came.length <= 500);
  assertEquals(await source.read(new Uint8Array(1)).catch(() => null), null);
});

Deno.test("RecordedConnection.more fails when the source ends before", async () => {
  await using destination = new Destination();
  await using wire = new WireRecorder(destination.port);
  using source = await connect(wire);
  const main = await wire.main;
  const failing = assertRejects(() => main.more(10), Error, "after 1 bytes");
  await source.write(Uint8Array.of(1));
  await source.closeWrite();
  await failing;
});

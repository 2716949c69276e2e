/**
 * Child process of the floors: measures page requests and local faults, takes the bulk stream.
 *
 * Arguments: host and the two ports of source.ts. Each line in is a {@linkcode DestinationCommand},
 * each line out its answer. Ends with its standard input.
 *
 * @module
 */

import { MappedMemory } from "../../ffi/memory.ts";
import { Socket } from "../../ffi/socket.ts";
import { RegisterMode, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { answerLines } from "../support/bench_process.ts";
import { PAGE_BYTES } from "./fault_place_wake.ts";
import { FloorThread } from "./jobs.ts";

/** What the destination of the floors can be asked. */
export type DestinationCommand =
  | { readonly ask: "requests"; readonly count: number; readonly warmUp: number }
  | { readonly ask: "faults"; readonly count: number; readonly warmUp: number }
  | { readonly ask: "fill"; readonly length: number; readonly batch: number }
  | { readonly ask: "pause"; readonly milliseconds: number }
  | { readonly ask: "start-bulk" }
  | { readonly ask: "stop-bulk" };

/** Its answer. */
export interface Measured {
  /** What was measured, nanoseconds; empty where nothing was. */
  readonly samples: readonly number[];
  /** Bytes a second that the bulk stream had meanwhile; 0 without one. */
  readonly bulkRate: number;
}

/** The bulk stream's receiving end. */
class BulkReceiver {
  readonly #socket: Socket;
  readonly #thread: FloorThread;
  readonly #received = new Float64Array(new SharedArrayBuffer(8));

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#thread = new FloorThread({
      name: "receive-bulk",
      fd: socket.fd,
      received: this.#received.buffer as SharedArrayBuffer,
    });
  }

  static async connect(host: string, port: number): Promise<BulkReceiver> {
    return new BulkReceiver(await Socket.connect({ transport: "tcp", host, port }));
  }

  /** Bytes so far. */
  get received(): number {
    return this.#received[0]!;
  }

  async close(): Promise<void> {
    await this.#thread.close();
    this.#socket.close();
  }
}

async function requests(port: number, count: number, warmUp: number): Promise<Float64Array> {
  using socket = await Socket.connect({ transport: "tcp", host, port });
  await using thread = new FloorThread({ name: "request", fd: socket.fd, count, warmUp });
  return await thread.samples();
}

async function faults(count: number, warmUp: number): Promise<Float64Array> {
  const pages = count + warmUp;
  using memory = MappedMemory.anonymous(pages * PAGE_BYTES);
  using uffd = new Userfaultfd();
  uffd.register(memory.address, memory.length, RegisterMode.MISSING);
  await using _handler = new FloorThread({ name: "place", uffd: uffd.fd });
  await using toucher = new FloorThread({
    name: "touch",
    address: memory.address,
    pages,
    warmUp,
  });
  return await toucher.samples();
}

async function fill(length: number, batch: number): Promise<Float64Array> {
  using memory = MappedMemory.anonymous(length);
  using uffd = new Userfaultfd();
  uffd.register(memory.address, memory.length, RegisterMode.MISSING);
  const job = { name: "fill", uffd: uffd.fd, address: memory.address, length, batch } as const;
  await using thread = new FloorThread(job);
  return await thread.samples();
}

async function pause(milliseconds: number): Promise<Float64Array> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  return new Float64Array();
}

const [host = "127.0.0.1", requestsPort, bulkPort] = Deno.args;
let bulk: BulkReceiver | undefined;

async function handle(command: DestinationCommand): Promise<Float64Array> {
  switch (command.ask) {
    case "requests":
      return await requests(Number(requestsPort), command.count, command.warmUp);
    case "faults":
      return await faults(command.count, command.warmUp);
    case "fill":
      return await fill(command.length, command.batch);
    case "pause":
      return await pause(command.milliseconds);
    case "start-bulk":
      bulk = await BulkReceiver.connect(host, Number(bulkPort));
      return await pause(200); // until TCP's window has opened
    case "stop-bulk":
      await bulk?.close();
      bulk = undefined;
      return new Float64Array();
  }
}

await answerLines(async (message): Promise<Measured> => {
  const before = bulk?.received ?? 0;
  const start = performance.now();
  const samples = await handle(message as DestinationCommand);
  const seconds = (performance.now() - start) / 1000;
  const bytes = Math.max(0, (bulk?.received ?? 0) - before);
  return { samples: [...samples], bulkRate: bytes / seconds };
});
Deno.exit(0);

/**
 * Child process: one end of a connection, in clear or through libssl alone, on its main thread.
 *
 * Argument: {@linkcode LibraryEndSetup} as JSON. First line out of the destination, which listens:
 * `{"port":N}`; then of both, once they have shaken hands: {@linkcode LibraryEndReady}. Each line in is a
 * {@linkcode LibraryCommand}, each line out its {@linkcode LibraryAnswer}. Ends with its standard input.
 *
 * @module
 */

import { loadCredentials } from "../../channel/tls/credentials.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Listener } from "../../ffi/listener.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { Socket } from "../../ffi/socket.ts";
import { REPLY_BYTES, REQUEST_BYTES } from "../floors/request_reply.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import { ClearWire, LibraryWire, type Wire } from "./wire.ts";

/** Which end to be. */
export interface LibraryEndSetup {
  /** The destination's address: where it listens, and where the source connects. */
  readonly host: string;
  /** The destination's port, for the source. */
  readonly port?: number;
  /** As for `--tls-creds`; absent: in clear. */
  readonly credentials?: string;
}

/** Said once the ends are connected. */
export interface LibraryEndReady {
  /** Version and cipher; absent in clear. */
  readonly cipher?: string;
}

/** What an end is to do; the other is told to do its part at the same time. */
export type LibraryCommand =
  | { readonly do: "request"; readonly count: number; readonly warmUp: number }
  | { readonly do: "answer"; readonly count: number }
  | { readonly do: "send"; readonly length: number }
  | { readonly do: "receive"; readonly length: number };

/** What came of it. */
export interface LibraryAnswer {
  /** Round trips, nanoseconds each; or the time of all that was received. */
  readonly samples: readonly number[];
  /** CPU seconds of the process meanwhile. */
  readonly cpu: number;
}

/** Bytes of a write, and room of a read. */
export const WRITE_BYTES = 64 * 1024;
/** Memory that is sent from, over and over: more than a core's caches hold. */
const MEMORY_BYTES = 64 * 1024 * 1024;

function request(wire: Wire, at: number, count: number, warmUp: number): number[] {
  const samples: number[] = [];
  for (let index = -warmUp; index < count; index++) {
    const start = monotonicNanoseconds();
    wire.sendAll(at, REQUEST_BYTES);
    wire.receiveAnswer(at, REPLY_BYTES);
    if (index >= 0) samples.push(monotonicNanoseconds() - start);
  }
  return samples;
}

function answer(wire: Wire, at: number, count: number): void {
  for (let index = 0; index < count; index++) {
    wire.receiveAnswer(at, REQUEST_BYTES);
    wire.sendAll(at, REPLY_BYTES);
  }
}

function send(wire: Wire, { address, length: room }: MappedMemory, length: number): void {
  for (let sent = 0; sent < length; sent += WRITE_BYTES) {
    wire.sendAll(address + sent % room, WRITE_BYTES);
  }
}

/** The time from the first bytes on, in which the other end has begun. */
function receive(wire: Wire, at: number, length: number): number {
  wire.receiveAll(at, WRITE_BYTES);
  const start = monotonicNanoseconds();
  for (let have = WRITE_BYTES; have < length; have += WRITE_BYTES) {
    wire.receiveAll(at, WRITE_BYTES);
  }
  return (monotonicNanoseconds() - start) * length / (length - WRITE_BYTES);
}

function perform(wire: Wire, memory: MappedMemory, command: LibraryCommand): number[] {
  const at = memory.address;
  switch (command.do) {
    case "request":
      return request(wire, at, command.count, command.warmUp);
    case "answer":
      answer(wire, at, command.count);
      return [];
    case "send":
      send(wire, memory, command.length);
      return [];
    case "receive":
      return [receive(wire, at, command.length)];
  }
}

async function connect({ host, port }: LibraryEndSetup): Promise<Socket> {
  if (port !== undefined) return await Socket.connect({ transport: "tcp", host, port });
  using listener = await Listener.listen({ transport: "tcp", host, port: 0 });
  const { address } = listener;
  say({ port: address.transport === "tcp" && address.port });
  return await listener.accept();
}

if (import.meta.main) {
  const setup = JSON.parse(Deno.args[0]!) as LibraryEndSetup;
  const { host, port, credentials } = setup;
  using memory = MappedMemory.anonymous(MEMORY_BYTES);
  memory.populate();
  const role = port === undefined ? "server" : "client";
  using context = credentials === undefined
    ? undefined
    : loadCredentials(credentials, role, {}, () => {});
  using socket = await connect(setup);
  using wire = context === undefined
    ? new ClearWire(socket.fd)
    : new LibraryWire(socket.fd, context, host);
  const { cipher } = wire;
  const ready: LibraryEndReady = cipher === undefined ? {} : { cipher };
  say(ready);
  await answerLines(async (message): Promise<LibraryAnswer> => {
    const before = await cpuSeconds(Deno.pid);
    const samples = perform(wire, memory, message as LibraryCommand);
    return { samples, cpu: await cpuSeconds(Deno.pid) - before };
  });
}

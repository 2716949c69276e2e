/** A destination that answers as a QEMU does, keeps all that comes, and says what memory comes of it. */

import { assertEquals } from "@std/assert";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { type Command, IgnoreStream, MultifdDecoder } from "../../migration/protocol/mod.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import { type LoggedPage, MultifdLog } from "../protocol/multifd_channel_log.ts";
import type { Random } from "../support/random.ts";

const PAGE = 4096;

/** How the source is to mark its rounds. */
export type Scheme = "records" | "sections";

/** The main channel, with its pages by rounds. */
class MainLog extends IgnoreStream {
  readonly rounds: LoggedPage[][] = [[]];
  readonly lengths = new Map<string, number>();
  /** Sections of the memory, and what stands in each: `flush`, `zero` or `page`. */
  readonly sections: string[][] = [];
  readonly #scheme: Scheme;
  readonly #ping: (value: number) => void;
  readonly #over: () => void;
  #block = "";

  constructor(scheme: Scheme, ping: (value: number) => void, over: () => void) {
    super();
    this.#scheme = scheme;
    this.#ping = ping;
    this.#over = over;
  }

  override command(command: Command): void {
    if (command.kind === "ping") this.#ping(command.value);
  }

  override blockEntry({ name, usedLength }: { name: string; usedLength: number }): void {
    this.lengths.set(name, usedLength);
  }

  override sectionStart(): void {
    this.sections.push([]);
  }

  override sectionPart(): void {
    this.sections.push([]);
  }

  override sectionEnd(): void {
    this.sections.push([]);
  }

  override block(name: string): void {
    this.#block = name;
  }

  override page(): void {
    this.sections.at(-1)!.push("page");
  }

  override zeroPage(offset: number): void {
    this.sections.at(-1)!.push("zero");
    this.rounds.at(-1)!.push({ block: this.#block, offset });
  }

  override multifdFlush(): void {
    this.sections.at(-1)!.push("flush");
    this.rounds.push([]);
  }

  override endOfSection(): void {
    if (this.#scheme === "sections") this.rounds.push([]);
  }

  /** The guest's state is short, and is the last. */
  override deviceState(): void {
    this.#over();
  }
}

/** Listens for one source with multifd. */
export class ModelledDestination implements AsyncDisposable {
  readonly main: MainLog;
  readonly channels: MultifdLog[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #connections: Deno.TcpConn[] = [];
  readonly #reading: Promise<void>[] = [];
  readonly #serving: Promise<void>;
  readonly #random: Random;
  #mainConnection: Deno.TcpConn | undefined;

  /**
   * @param scheme how the source is to mark its rounds
   * @param random how much of which channel is read when
   */
  constructor(scheme: Scheme, random: Random) {
    this.#random = random;
    const say = this.#say.bind(this);
    let over = false;
    this.main = new MainLog(
      scheme,
      (value) => say((encoder) => encoder.pong(value)),
      () => {
        if (!over) say((encoder) => encoder.shut(0));
        over = true;
      },
    );
    this.#serving = this.#serve();
  }

  /** Where it listens. */
  get address(): SocketAddress {
    const { hostname, port } = this.#listener.addr as Deno.NetAddr;
    return { transport: "tcp", host: hostname, port };
  }

  /** Approves the switchover. */
  approve(): void {
    this.#say((encoder) => encoder.switchoverAck());
  }

  /** Resolves when the source has closed all connections. */
  async closed(): Promise<void> {
    await Promise.all(this.#reading);
  }

  /**
   * Replays what came, the channels of each round in an order of its own.
   *
   * @returns the memory, by block
   */
  memory(): Map<string, Uint8Array> {
    const rounds = this.main.rounds.length;
    for (const { rounds: own } of this.channels) assertEquals(own.length, rounds, "marks differ");
    const memory = new Map(
      [...this.main.lengths].map(([name, length]) => [name, new Uint8Array(length)]),
    );
    for (let round = 0; round < rounds; round++) {
      const seen = new Set<string>();
      const all = [this.main, ...this.channels].map((each) => each.rounds[round]!);
      all.sort(() => this.#random.below(3) - 1);
      for (const { block, offset, bytes } of all.flat()) {
        const page = `${block} ${offset}`;
        assertEquals(seen.has(page), false, `${page} comes twice in round ${round}`);
        seen.add(page);
        const to = memory.get(block)!;
        if (bytes === undefined) to.fill(0, offset, offset + PAGE);
        else to.set(bytes, offset);
      }
    }
    return memory;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) {
      try {
        connection.close();
      } catch {
        // the source has ended it
      }
    }
    await this.#serving;
    await Promise.allSettled(this.#reading);
    for (const channel of this.channels) channel[Symbol.dispose]();
  }

  #say(speak: (encoder: ReturnPathEncoder) => void): void {
    const encoder = new ReturnPathEncoder();
    speak(encoder);
    void this.#mainConnection!.write(encoder.take()).catch(() => {}); // the source may be gone
  }

  async #serve(): Promise<void> {
    try {
      for await (const connection of this.#listener) {
        this.#connections.push(connection);
        this.#reading.push(this.#read(connection, this.#connections.length === 1));
      }
    } catch {
      // closed
    }
  }

  async #read(connection: Deno.TcpConn, isMain: boolean): Promise<void> {
    const log = isMain ? undefined : new MultifdLog();
    if (log !== undefined) this.channels.push(log);
    else this.#mainConnection = connection;
    const decoder = log === undefined ? new StreamDecoder(this.main) : new MultifdDecoder(log);
    try {
      while (true) {
        const piece = new Uint8Array(this.#random.pick([100, 5000, 200_000]));
        const count = await connection.read(piece);
        if (count === null) break;
        decoder.feed(piece.subarray(0, count));
      }
      if (!isMain) decoder.finish();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted)) {
        throw error;
      }
    }
  }
}

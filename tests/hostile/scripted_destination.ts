/** A destination that plays along up to a point of the migration, and then does as it likes. */

import { Listener } from "../../ffi/listener.ts";
import type { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { EXTENSION_COOKIE } from "../../migration/protocol/extensions.ts";
import { splitPackage } from "../../migration/protocol/package.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { IgnoreStream } from "../../migration/protocol/stream.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import { PING } from "../../server/sending/control_stream.ts";
import { LOOPBACK } from "../support/migrate.ts";

/** Points of a migration as a destination sees them, in their order. */
export const POINTS = ["connected", "blocks", "package", "pages", "end"] as const;
/** One of {@linkcode POINTS}. */
export type Point = typeof POINTS[number];

/** What a scripted destination answers by itself. */
export interface Manners {
  /** Whether PINGs are answered; default true. */
  readonly pongs?: boolean;
  /** What it says it understands beyond QEMU's protocol; default nothing, as QEMU. */
  readonly extensions?: readonly string[];
  /** What it says before it answers that it has loaded the guest. */
  readonly loading?: (say: ReturnPathEncoder) => void;
  /** Bytes of the main channel's receive buffer; default the kernel's. */
  readonly receiveBuffer?: number;
}

/** The destination's end of a main channel, read element by element. */
export class HostileDestination implements Disposable {
  /** What it sends: take the bytes and {@linkcode HostileDestination.send} them. */
  readonly say = new ReturnPathEncoder();
  readonly #listener: Listener;
  readonly #stack: DisposableStack;
  readonly #manners: Manners;
  readonly #reached = new Set<Point | "proven">();
  readonly #decoder: StreamDecoder;
  readonly #buffer = new Uint8Array(1 << 17);
  #filled = 0;
  #main: Socket | undefined;

  private constructor(listener: Listener, manners: Manners) {
    this.#stack = new DisposableStack();
    this.#listener = this.#stack.use(listener);
    this.#manners = manners;
    this.#decoder = new StreamDecoder(this.#handler());
  }

  /** Listens at a port of the loopback. */
  static async listen(manners: Manners = {}): Promise<HostileDestination> {
    return new HostileDestination(await Listener.listen(LOOPBACK), manners);
  }

  /** Where it listens. */
  get address(): SocketAddress {
    return this.#listener.address;
  }

  /** The main channel, once accepted. */
  get main(): Socket {
    return this.#main!;
  }

  /** Whether a point was reached. */
  reached(point: Point): boolean {
    return this.#reached.has(point);
  }

  /** Accepts a further connection: the preempt channel. */
  async acceptPreempt(): Promise<Socket> {
    return this.#stack.use(await this.#listener.accept());
  }

  /**
   * Accepts the main channel and reads it up to a point; to the end of the connection without one. At
   * `"proven"` it has answered all that comes before the guest is handed over.
   */
  async play(until?: Point | "proven"): Promise<void> {
    if (this.#main === undefined) {
      this.#main = this.#stack.use(await this.#listener.accept());
      if (this.#manners.receiveBuffer !== undefined) {
        this.#main.setReceiveBuffer(this.#manners.receiveBuffer);
      }
      this.#reached.add("connected");
    }
    while (until === undefined || !this.#reached.has(until)) {
      const count = await this.#main.receive(this.#buffer.subarray(this.#filled)).catch(() => 0);
      if (count === 0) {
        if (until === undefined) return;
        throw new Error(`Source went away before: ${until}`);
      }
      const end = this.#filled + count;
      const decoded = this.#decoder.decode(this.#buffer, 0, end);
      this.#buffer.copyWithin(0, decoded, end);
      this.#filled = end - decoded;
      if (this.say.length > 0) await this.send(this.say.take());
    }
  }

  /** Sends bytes on the return path. */
  async send(bytes: Uint8Array): Promise<void> {
    await this.#main!.sendAll(bytes).catch(() => {}); // a source that has gone is what is tested
  }

  /** Closes every connection. */
  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #handler(): IgnoreStream {
    const reached = this.#reached;
    const pong = (command: Command) => {
      if (command.kind !== "ping" || !(this.#manners.pongs ?? true)) return;
      if (command.value === PING.CHANNELS) reached.add("proven");
      const { extensions } = this.#manners;
      if (command.value === EXTENSION_COOKIE && extensions !== undefined) {
        this.say.extensions(extensions);
      }
      this.say.pong(command.value);
    };
    const { say } = this;
    const { loading } = this.#manners;
    const contents: number[] = [];
    return new class extends IgnoreStream {
      override sectionFooter(): void {
        reached.add("blocks");
      }
      override command(command: Command): void {
        pong(command);
        if (command.kind === "ping" && command.value === 4) {
          loading?.(say);
          for (const each of splitPackage(new Uint8Array(contents)).after) pong(each);
          reached.add("package");
        }
      }
      override packagedData(bytes: Uint8Array, at: number, length: number): void {
        contents.push(...bytes.subarray(at, at + length));
      }
      override page(): void {
        reached.add("pages");
      }
      override endOfStream(): void {
        reached.add("end");
      }
    }();
  }
}

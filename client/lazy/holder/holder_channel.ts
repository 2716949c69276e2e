/** What a holder and a server say to each other: lines of JSON, each with descriptors on its first byte. */

import { DescriptorReceiver, sendDescriptors } from "../../../ffi/descriptor_passing.ts";
import { Errno, SyscallError } from "../../../ffi/errno.ts";
import { PollEvents } from "../../../ffi/poll.ts";
import type { Socket } from "../../../ffi/socket.ts";
import { type WaitOptions, waitReady } from "../../../ffi/wait_ready.ts";
import { MigrationError } from "../../../migration/migration_error.ts";
import type { Region } from "../region.ts";

/** What is held for a process: the descriptors are userfaultfd, record, connection and pidfd, the last if had. */
export interface HeldProcess {
  readonly kind: "process";
  /** The same for as long as it is held. */
  readonly id: string;
  readonly pid: number;
  readonly uid: number;
  readonly regions: readonly Region[];
  /** Bytes of the memory of its image: another image is not taken for it. */
  readonly memoryLength: number;
}

/** What is held for a place where processes connect: its listening socket, whose callers wait meanwhile. */
export interface HeldListener {
  readonly kind: "listener";
  readonly id: string;
  readonly path: string;
}

/**
 * What is held for a process tree that CRIU restores: the descriptors are its record, and the ends of a queue, to
 * write and to read, in which all others of it are.
 */
export interface HeldTree {
  readonly kind: "tree";
  readonly id: string;
  /** The directory of CRIU's images, for messages. */
  readonly images: string;
  /** Tells the dump from every other: another's images are not taken for it. */
  readonly stamp: string;
}

/** What is held. */
export type Held = HeldProcess | HeldListener | HeldTree;

/** A line. */
export type HolderMessage =
  | Held
  /** Holder: that was all there is. Server: that was all; sent back for what came before it. */
  | { readonly kind: "end" }
  /** Server: nobody needs it any more. */
  | { readonly kind: "drop"; readonly id: string };

/** A line with what came with it, which is the receiver's to close. */
export interface HolderLine {
  readonly message: HolderMessage;
  readonly descriptors: readonly number[];
}

/** Far more than the regions of any process take. */
const MOST_BYTES = 4 * 1024 * 1024;
const NEWLINE = 10;

/** One end of a connection between holder and server. */
export class HolderChannel implements Disposable {
  readonly #socket: Socket;
  readonly #bytes = new Uint8Array(64 * 1024);
  readonly #receiver = new DescriptorReceiver(this.#bytes);
  #text = new Uint8Array(0);
  #sending: Promise<void> = Promise.resolve();

  /** @param socket which is the channel's from here on */
  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /**
   * Sends a line; lines go in the order of the calls.
   *
   * @param descriptors of which the other end gets copies
   * @throws {SyscallError} when the other end is gone
   */
  send(message: HolderMessage, descriptors: readonly number[] = []): Promise<void> {
    const sent = this.#sending.then(() => this.#send(message, descriptors));
    this.#sending = sent.catch(() => {});
    return sent;
  }

  /**
   * Receives a line.
   *
   * @returns undefined at the end
   * @throws {MigrationError} `BAD_PEER` for what is no line
   * @throws {SyscallError} when the connection broke
   */
  async receive(options: WaitOptions = {}): Promise<HolderLine | undefined> {
    while (true) {
      const end = this.#text.indexOf(NEWLINE);
      if (end >= 0) return this.#take(end);
      if (this.#text.length > MOST_BYTES) throw badLine("without an end");
      const count = this.#receiver.receive(this.#socket.fd);
      if (count === 0) return undefined;
      if (count > 0) {
        const text = new Uint8Array(this.#text.length + count);
        text.set(this.#text);
        text.set(this.#bytes.subarray(0, count), this.#text.length);
        this.#text = text;
      } else if (count === -Errno.EAGAIN) {
        await waitReady(this.#socket.fd, PollEvents.IN, "a line of the holder", options);
      } else if (count !== -Errno.EINTR) throw new SyscallError("recvmsg", -count, "of the holder");
    }
  }

  /** Resolves when the other end is gone; rejects when it is closed here before. */
  async ended(): Promise<void> {
    await waitReady(this.#socket.fd, PollEvents.RDHUP, "the end of the holder", {});
  }

  /** Closes it, and what came and was not taken. Closing again does nothing. */
  close(): void {
    this.#receiver.closeAll();
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #send(message: HolderMessage, descriptors: readonly number[]): Promise<void> {
    const line = { message, count: descriptors.length };
    const bytes = new TextEncoder().encode(`${JSON.stringify(line)}\n`);
    for (let sent = 0; sent < bytes.length;) {
      const rest = bytes.slice(sent);
      const count = sendDescriptors(this.#socket.fd, rest, sent === 0 ? descriptors : []);
      if (count > 0) sent += count;
      else if (count === -Errno.EAGAIN) {
        await waitReady(this.#socket.fd, PollEvents.OUT, "room for a line", {});
      } else if (count !== -Errno.EINTR) throw new SyscallError("sendmsg", -count, "to the holder");
    }
  }

  #take(end: number): HolderLine {
    const text = new TextDecoder().decode(this.#text.subarray(0, end));
    this.#text = this.#text.slice(end + 1);
    const { message, count } = JSON.parse(text) as { message: HolderMessage; count: number };
    // They come with the line's first byte, and so before its end.
    if (this.#receiver.descriptors.length < count) {
      throw badLine(`whose ${count} descriptors did not come: raise the limit with ulimit -n`);
    }
    return { message, descriptors: this.#receiver.descriptors.splice(0, count) };
  }
}

function badLine(what: string): MigrationError {
  return new MigrationError("BAD_PEER", `Line of a holder's connection ${what}`);
}

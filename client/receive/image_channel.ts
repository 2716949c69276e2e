/** A migration on its way into an image: both channels, the answers, and when the file is complete. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { OutputFile, publishFile, syncDirectory } from "../../ffi/file.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import type { Steps, TaskPoll, Tell } from "../../migration/threads/task.ts";
import { DecompressingPages } from "../decompression/decompressing_pages.ts";
import type { Decompression } from "../decompression/decompression.ts";
import {
  type ArrivedMachine,
  IncomingStream,
  type StreamEvents,
} from "../incoming/incoming_stream.ts";
import { encodePingAnswer } from "../return_path/ping_answer.ts";
import { PreemptDoor } from "../connecting/preempt_door.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { connectionLost, FROM_SOURCE } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { MAIN_CHANNEL_BYTES, READER_SLOTS, StreamReader } from "../incoming/stream_reader.ts";
import { ImageMemory } from "./image_memory.ts";
import { imageTail } from "../../image/mapped_ram/image_tail.ts";
import { ImagePreemptPages } from "./preempt_pages.ts";
import { Counter, Holder, ReceiveState } from "./receive_state.ts";

/** What the task is made from; structured-cloned into its thread. */
export interface ImageChannelInit {
  /** The main channel, whose other direction is the return path. */
  readonly main: ConnectionInit;
  /** Begins a step, whatever else it waits for. */
  readonly wakeFd: number;
  /** Shared memory of the {@linkcode ReceiveState}. */
  readonly state: SharedArrayBuffer;
  /** The file that is written, new and empty. */
  readonly fileFd: number;
  /** Its name until it is complete. */
  readonly partialPath: string;
  /** Its name then. */
  readonly path: string;
  /** Directory of both. */
  readonly directory: string;
  /** Whether a file of that name may be replaced. */
  readonly overwrite: boolean;
  /** What compressed pages pass through. */
  readonly decompression: Decompression;
}

/** What it tells the control plane. */
export type ImageChannelMessage =
  | { readonly kind: "configuration"; readonly machine: string }
  /** The source listens to what is said to it. */
  | { readonly kind: "return-path" }
  /** The pages are compressed in this way: threads are wanted. */
  | { readonly kind: "compressed"; readonly method: CompressionMethod }
  /** LISTEN: the preempt channel may speak. */
  | { readonly kind: "listening" }
  /** The guest has stopped at the source. */
  | { readonly kind: "switchover" }
  /** The device state is in the file; pages go on arriving. */
  | { readonly kind: "postcopy" }
  /** The file cannot be written and the source cannot take the guest back: it is tried again and again. */
  | { readonly kind: "waiting"; readonly reason: string };

/** The PING of QEMU 10.2 and later whose answer is its permission to give the guest up. */
const PACKAGE_LOADED = 0x42;
/** Nanoseconds between two tries to write what cannot be written. */
const WRITE_INTERVAL = 500e6;
/** Nanoseconds for a page on the preempt channel that the end on the main channel overtook. */
const STRAGGLER_WAIT = 2e9;

const PREEMPT_SLOT = READER_SLOTS;
const DOOR_SLOT = PREEMPT_SLOT + 1;

/**
 * Receives a migration, a piece of input a step. It asks for no page: those that the source discards
 * come by themselves.
 *
 * A source that waits to be told that the device state is loaded (QEMU 10.2 and later) is told so only
 * when every page is on the disk: until then it can let the guest go on, whatever happens here.
 */
export class ImageChannel implements StreamEvents, Disposable {
  readonly #init: ImageChannelInit;
  readonly #tell: Tell<ImageChannelMessage>;
  readonly #poll: TaskPoll;
  readonly #state: ReceiveState;
  readonly #buffer: ReceiveBuffer;
  readonly #memory: ImageMemory;
  readonly #pages: DecompressingPages;
  readonly #stream: IncomingStream;
  readonly #reader: StreamReader;
  readonly #returnPath: SendingEnd;
  readonly #encoder = new ReturnPathEncoder();
  #door: PreemptDoor | undefined;
  #preempt: ImagePreemptPages | undefined;
  #hasReturnPath = false;
  #withheld = false;
  #sealedPages = -1;

  /**
   * @param init what the control plane prepared
   * @param tell called with what the control plane must know
   * @param poll its task's
   */
  constructor(init: ImageChannelInit, tell: Tell<ImageChannelMessage>, poll: TaskPoll) {
    this.#init = init;
    this.#tell = tell;
    this.#poll = poll;
    const state = new ReceiveState(init.state);
    this.#state = state;
    const file = OutputFile.borrow(init.partialPath, init.fileFd);
    this.#memory = new ImageMemory(file, state, (error) => this.#mayWait(error));
    this.#buffer = new ReceiveBuffer(MAIN_CHANNEL_BYTES, init.decompression.memory);
    const begin = (method: CompressionMethod) => tell({ kind: "compressed", method });
    this.#pages = new DecompressingPages(this.#memory, this.#buffer, init.decompression, begin);
    this.#stream = new IncomingStream(this.#pages, this);
    const reader = {
      main: init.main,
      wakeFd: init.wakeFd,
      count: (bytes: number) => state.add(Counter.MAIN_BYTES, bytes),
    };
    this.#reader = new StreamReader(reader, poll, this.#stream, this.#pages, this.#buffer);
    this.#returnPath = new SendingEnd(init.main, FROM_SOURCE.RETURN_PATH);
  }

  /**
   * Reads until the image is complete and has its name, or it is told to stop.
   *
   * @throws {MigrationError} when the source goes away first, or sends what cannot be
   * @throws {ProtocolError} when the stream is malformed
   * @throws {SyscallError} when the file cannot be written
   */
  *read(): Steps {
    try {
      while (!this.#stream.ended && !this.#state.stopped) {
        yield* this.#readOn();
        if (!this.#stream.ended) yield* this.#wait();
      }
      if (this.#stream.ended) yield* this.#complete();
      else this.#shut(1);
    } catch (error) {
      // The source learns of it; that it went away itself is no news.
      if (this.#state.holder !== Holder.IMAGE) this.#shut(1);
      throw error;
    }
  }

  configuration({ machine }: Configuration): void {
    this.#tell({ kind: "configuration", machine });
  }

  returnPathOpened(): void {
    this.#hasReturnPath = true;
    this.#tell({ kind: "return-path" });
  }

  ping(value: number): void {
    encodePingAnswer(this.#encoder, value);
    this.#answer();
  }

  opened(): void {}

  listening(): void {
    this.#tell({ kind: "listening" });
  }

  switchover(): void {
    this.#tell({ kind: "switchover" });
  }

  arrived({ deviceState, commands, description }: ArrivedMachine, precopy: boolean): void {
    // From here on a source that waits for no answer has let go of the guest.
    const waits = precopy
      ? this.#hasReturnPath
      : commands.some((command) => command.kind === "ping" && command.value === PACKAGE_LOADED);
    if (!waits) this.#state.holder = precopy ? Holder.SOURCE_DONE : Holder.SWITCHED;
    const pageSize = this.#state.get(Counter.PAGE_SIZE);
    this.#memory.writeTail(imageTail(deviceState, description, pageSize));
    if (precopy) return;
    this.#tell({ kind: "postcopy" });
    for (const command of commands) {
      if (command.kind !== "ping") continue;
      if (command.value === PACKAGE_LOADED) this.#withheld = true;
      else this.ping(command.value);
    }
  }

  ended(): void {}

  /** Frees its buffers and closes the connections that were accepted here. */
  close(): void {
    this.#pages.close();
    this.#buffer.close();
    this.#memory.close();
    this.#preempt?.close();
    this.#door?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Takes what has come on the main channel, and does what follows from it. */
  *#readOn(): Steps {
    this.#reader.receive();
    yield* this.#writeHeld();
    if (!this.#withheld || this.#memory.missing > 0) return;
    this.#withheld = false;
    yield* this.#seal();
    this.#state.holder = Holder.SWITCHED;
    this.ping(PACKAGE_LOADED);
  }

  /** Waits until something has come, and looks after the preempt channel. */
  *#wait(): Steps {
    const connections = this.#door === undefined ? this.#state.connections : undefined;
    if (connections !== undefined) {
      this.#door = new PreemptDoor(this.#poll, DOOR_SLOT, connections);
      this.#lookForPreempt(this.#door);
    }
    yield;
    this.#reader.clearWake();
    if (this.#door !== undefined) this.#lookForPreempt(this.#door);
    this.#receivePreempt();
    yield* this.#writeHeld();
  }

  #lookForPreempt(door: PreemptDoor): void {
    const connection = door.look();
    if (connection === undefined) return;
    this.#preempt = new ImagePreemptPages(connection, this.#memory, this.#state);
    this.#receivePreempt(); // what came while it was found out who it is
  }

  #receivePreempt(): void {
    const preempt = this.#preempt;
    if (preempt?.open !== true || this.#memory.holdsBack) return;
    const open = preempt.receive();
    this.#poll.watch(PREEMPT_SLOT, open ? preempt.fd : -1, PollEvents.IN);
  }

  *#complete(): Steps {
    const { path, partialPath, directory, overwrite } = this.#init;
    // Only a source that has not switched to postcopy, and listens, lets the guest go on.
    const mayGoOn = this.#state.holder === Holder.SOURCE;
    yield* this.#awaitStragglers();
    yield* this.#seal();
    if (mayGoOn && this.#returnPath.peerLeft) {
      throw connectionLost(FROM_SOURCE.RETURN_PATH, "it did not wait for the end");
    }
    publishFile(partialPath, path, overwrite);
    this.#state.holder = Holder.IMAGE;
    syncDirectory(directory);
    if (this.#shut(0) || !mayGoOn) return;
    throw new MigrationError(
      "CONNECTION_LOST",
      "Source went away before it heard that all is here, and may let the guest go on: remove the " +
        `image if it does: ${path}`,
    );
  }

  *#awaitStragglers(): Steps {
    const end = monotonicNanoseconds() + STRAGGLER_WAIT;
    this.#reader.listen(false); // its end would be found again and again
    while (this.#memory.missing > 0 && this.#preempt?.open !== false && !this.#state.stopped) {
      const left = end - monotonicNanoseconds();
      if (left <= 0) break;
      this.#poll.sleep(left);
      yield* this.#wait();
    }
    const { missing } = this.#memory;
    if (missing === 0) return;
    throw new MigrationError(
      "PAGES_MISSING",
      `Source ended without sending every page that it took back: ${missing}`,
    );
  }

  /**
   * Makes the file complete. This waits for a disk, which holds up other images on this thread, but no
   * guest: no thread that receives images does anything else.
   */
  *#seal(): Steps {
    // Again only when a source sends more than it took back.
    const received = this.#state.get(Counter.RECEIVED);
    if (received === this.#sealedPages) return;
    while (!this.#memory.seal()) yield* this.#writeHeld();
    this.#sealedPages = received;
    this.#state.setSealed();
  }

  /**
   * Receives nothing more, on either channel, until the file has taken what it could not take at once: what
   * is held back is no more than the pages of one piece of input.
   */
  *#writeHeld(): Steps {
    while (this.#memory.holdsBack) {
      this.#reader.listen(false);
      this.#poll.watch(PREEMPT_SLOT, -1, 0);
      const next = monotonicNanoseconds() + WRITE_INTERVAL;
      for (let left = WRITE_INTERVAL; left > 0 && !this.#state.stopped;) {
        this.#poll.sleep(left);
        yield;
        this.#reader.clearWake();
        if (this.#door !== undefined) this.#lookForPreempt(this.#door);
        left = next - monotonicNanoseconds();
      }
      this.#memory.retry();
      if (this.#memory.holdsBack) continue;
      this.#reader.listen(!this.#stream.ended);
      this.#poll.again(); // the main channel may have something that is in no socket any more
      this.#receivePreempt();
    }
  }

  /** A source that can still let the guest go on is told of the failure; one that cannot must wait. */
  #mayWait(error: Error): boolean {
    if (this.#state.holder === Holder.SOURCE || this.#state.stopped) return false;
    this.#tell({ kind: "waiting", reason: error.message });
    return true;
  }

  /** Says how it ended; false when the source is gone. Without a return path nothing may be said. */
  #shut(status: number): boolean {
    if (!this.#hasReturnPath) return true;
    try {
      this.#encoder.shut(status);
      this.#answer();
      return true;
    } catch {
      return false;
    }
  }

  #answer(): void {
    const message = this.#encoder.take();
    if (!this.#hasReturnPath) {
      throw new MigrationError("BAD_PEER", "Source wants an answer without a return path");
    }
    this.#returnPath.sendMessage(message);
  }
}

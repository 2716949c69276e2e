/** The main channel of a guest's destination: its stream, its memory, and who must hear of it. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { signalEvent } from "../../ffi/eventfd.ts";
import type { Backing } from "../../ffi/memory.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";
import { DecompressingPages } from "../decompression/decompressing_pages.ts";
import type { Decompression } from "../decompression/decompression.ts";
import { DestinationState } from "../placing/destination_state.ts";
import { GuestMemoryStore, type ListeningBlocks } from "../placing/guest_memory_store.ts";
import { type ArrivedMachine, IncomingStream, type StreamEvents } from "./incoming_stream.ts";
import { encodePingAnswer } from "../return_path/ping_answer.ts";
import { landedRing, ReturnPathMessage, returnPathRing } from "../return_path/return_path_ring.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { FROM_SOURCE } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { MAIN_CHANNEL_BYTES, StreamReader } from "./stream_reader.ts";

/** What the reader of a main channel is made from; structured-cloned into its thread. */
export interface MainChannelInit {
  /** The main channel, whose other direction is the return path. */
  readonly main: ConnectionInit;
  /** The userfaultfd. */
  readonly uffd: number;
  /** Ends the task's waits. */
  readonly wakeFd: number;
  /** Ends the fault server's waits. */
  readonly faultWakeFd: number;
  /** Shared memory of the {@linkcode DestinationState}. */
  readonly state: SharedArrayBuffer;
  /** Shared memory of the ring of PONGs to the fault server. */
  readonly answers: SharedArrayBuffer;
  /** Shared memory of the ring of requested pages placed here. */
  readonly landed: SharedArrayBuffer;
  /** How guest memory is backed. */
  readonly backing: Backing;
  /** What compressed pages pass through. */
  readonly decompression: Decompression;
}

/** What it tells the control plane. */
export type MainChannelMessage =
  | { readonly kind: "configuration"; readonly machine: string }
  /** The source listens to what is said to it. */
  | { readonly kind: "return-path" }
  /** The pages are compressed in this way: threads are wanted. */
  | { readonly kind: "compressed"; readonly method: CompressionMethod }
  | { readonly kind: "blocks"; readonly blocks: ListeningBlocks }
  | { readonly kind: "listen" }
  /** The guest stopped at the source some time before `switched`, in monotonic nanoseconds. */
  | {
    readonly kind: "arrived";
    readonly machine: ArrivedMachine;
    /** True when all of the memory is here: nothing will be asked for. */
    readonly precopy: boolean;
    readonly switched: number;
  }
  | { readonly kind: "paused"; readonly code: string; readonly reason: string };

/** Reads a main channel, a piece of input a step. */
export class MainChannel implements StreamEvents, Task {
  readonly #init: MainChannelInit;
  readonly #tell: Tell<MainChannelMessage>;
  readonly #state: DestinationState;
  readonly #answers;
  readonly #buffer: ReceiveBuffer;
  readonly #memory: GuestMemoryStore;
  readonly #pages: DecompressingPages;
  readonly #stream: IncomingStream;
  readonly #reader: StreamReader;
  readonly #returnPath: SendingEnd;
  #switched = 0;

  /**
   * @param init what the control plane prepared
   * @param tell called with what the control plane must know
   * @param poll its task's
   */
  constructor(init: MainChannelInit, tell: Tell<MainChannelMessage>, poll: TaskPoll) {
    this.#init = init;
    this.#tell = tell;
    const state = new DestinationState(init.state);
    this.#state = state;
    this.#answers = returnPathRing(init.answers);
    this.#returnPath = new SendingEnd(init.main, FROM_SOURCE.RETURN_PATH);
    this.#buffer = new ReceiveBuffer(MAIN_CHANNEL_BYTES, init.decompression.memory);
    const landed = landedRing(init.landed);
    this.#memory = new GuestMemoryStore(init.uffd, init.backing, state, (page) => {
      // Full only when the fault server stands still; a latency more or less then.
      landed.push(page);
      signalEvent(init.faultWakeFd);
    }, this.#buffer);
    const begin = (method: CompressionMethod) => tell({ kind: "compressed", method });
    this.#pages = new DecompressingPages(this.#memory, this.#buffer, init.decompression, begin);
    this.#stream = new IncomingStream(this.#pages, this);
    const reader = {
      main: init.main,
      wakeFd: init.wakeFd,
      count: (bytes: number) => state.addMainBytes(bytes),
    };
    this.#reader = new StreamReader(reader, poll, this.#stream, this.#pages, this.#buffer);
  }

  /**
   * Reads on. Once pages are asked for on demand a source that goes away only pauses: the pages that are
   * missing stay missing and their users held.
   *
   * @returns true when the stream has ended, or it was told to stop
   * @throws {MigrationError} when the source goes away or asks for what cannot be, before LISTEN
   * @throws {ProtocolError} when the stream is malformed, before LISTEN
   */
  step(): boolean {
    this.#reader.clearWake();
    if (this.#over) return true;
    try {
      this.#reader.receive();
      return this.#over;
    } catch (error) {
      if (!this.#stream.listening || !(error instanceof Error)) throw error;
      this.#state.pause();
      signalEvent(this.#init.faultWakeFd);
      const code = (error as { code?: string }).code ?? "UNKNOWN";
      this.#tell({ kind: "paused", code, reason: error.message });
      return true;
    }
  }

  configuration({ machine }: Configuration): void {
    this.#tell({ kind: "configuration", machine });
  }

  returnPathOpened(): void {
    this.#tell({ kind: "return-path" });
  }

  /** Until LISTEN this task owns the return path; afterwards the fault server does. */
  ping(value: number): void {
    if (this.#stream.listening) {
      this.#answers.push(ReturnPathMessage.PONG, value);
      signalEvent(this.#init.faultWakeFd);
      return;
    }
    const encoder = new ReturnPathEncoder();
    encodePingAnswer(encoder, value);
    this.#returnPath.sendMessage(encoder.take());
  }

  opened(): void {
    this.#tell({ kind: "blocks", blocks: this.#memory.blocks });
  }

  listening(): void {
    this.#state.setListening();
    signalEvent(this.#init.faultWakeFd);
    this.#tell({ kind: "listen" });
  }

  switchover(): void {
    this.#switched = monotonicNanoseconds();
  }

  arrived(machine: ArrivedMachine, precopy: boolean): void {
    if (precopy) this.#memory.complete();
    // The control plane loads it while this task goes on reading: loading may touch missing pages.
    this.#tell({ kind: "arrived", machine, precopy, switched: this.#switched });
  }

  ended(): void {
    this.#state.setMainEnded();
    signalEvent(this.#init.faultWakeFd);
  }

  /** Frees its buffers. */
  [Symbol.dispose](): void {
    this.#pages.close();
    this.#buffer.close();
  }

  get #over(): boolean {
    return this.#stream.ended || this.#state.stopped || this.#state.paused;
  }
}

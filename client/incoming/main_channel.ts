/** The main channel of a guest's destination: its stream, its memory, and who must hear of it. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { signalEvent } from "../../ffi/eventfd.ts";
import type { Backing } from "../../ffi/memory.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import type { SwitchoverAckInit } from "../../migration/protocol/switchover_ack.ts";
import type { Task, TaskPoll, Tell } from "../../migration/threads/task.ts";
import { DecompressingPages } from "../decompression/decompressing_pages.ts";
import type { Decompression } from "../decompression/decompression.ts";
import { mainRounds } from "../multifd/main_rounds.ts";
import type { SharedRounds } from "../multifd/multifd_channels.ts";
import { DestinationState } from "../placing/destination_state.ts";
import { GuestMemoryStore, type ListeningBlocks } from "../placing/guest_memory_store.ts";
import type { Paused } from "../faults/fault_messages.ts";
import { IncomingStream } from "./incoming_stream.ts";
import type { ArrivedMachine, StreamEvents } from "./stream_events.ts";
import { MainHandover, type SharedHandover } from "../connecting/main_handover.ts";
import { encodePingAnswer } from "../return_path/ping_answer.ts";
import { SwitchoverApproval } from "../return_path/switchover_approval.ts";
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
  /** Shared memory of the {@linkcode MainHandover}. */
  readonly handover: SharedHandover;
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
  /** Channels of multifd beside the main one; absent: none is expected. */
  readonly multifd?: SharedRounds;
  /** Whether its source waits for an approval of the switchover; absent: QEMU's capability is off. */
  readonly approval?: SwitchoverAckInit | undefined;
  /** For a task that takes over from one whose thread has died: it waits for a source that resumes. */
  readonly readBefore?: ReadBefore;
}

/** What a source has said of its machine until LISTEN. */
export interface ReadBefore {
  readonly machine: StreamMachine;
  readonly blocks: ListeningBlocks;
  /** How its pages are compressed, if some came so. */
  readonly method?: CompressionMethod;
}

/** What it tells the control plane. */
export type MainChannelMessage =
  | { readonly kind: "configuration"; readonly machine: string }
  /** The source listens to what is said to it. */
  | { readonly kind: "return-path" }
  /** The pages are compressed in this way: threads are wanted. */
  | { readonly kind: "compressed"; readonly method: CompressionMethod }
  | { readonly kind: "blocks"; readonly blocks: ListeningBlocks; readonly machine: StreamMachine }
  | { readonly kind: "listen" }
  /** The guest stopped at the source some time before `switched`, in monotonic nanoseconds. */
  | {
    readonly kind: "arrived";
    readonly machine: ArrivedMachine;
    /** True when all of the memory is here: nothing will be asked for. */
    readonly precopy: boolean;
    readonly switched: number;
  }
  | Paused;

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
  readonly #handover: MainHandover;
  readonly #approval: SwitchoverApproval;
  #heard = false;
  #switched = 0;
  /** Between a connection that broke and the next. */
  #waiting = false;

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
    this.#handover = new MainHandover(init.handover);
    this.#approval = new SwitchoverApproval(init.approval);
    this.#returnPath = new SendingEnd(init.main, FROM_SOURCE.RETURN_PATH);
    this.#buffer = new ReceiveBuffer(MAIN_CHANNEL_BYTES, init.decompression.memory);
    const landed = landedRing(init.landed);
    this.#memory = new GuestMemoryStore(init.uffd, init.backing, state, (page) => {
      // Full only when the fault server stands still; a latency more or less then.
      landed.push(page);
      signalEvent(init.faultWakeFd);
    }, this.#buffer);
    const begin = (method: CompressionMethod) => tell({ kind: "compressed", method });
    const multifd = mainRounds(init.multifd);
    const { decompression } = init;
    this.#pages = new DecompressingPages(this.#memory, this.#buffer, decompression, begin, multifd);
    this.#stream = new IncomingStream(this.#pages, this, multifd);
    const reader = {
      main: init.main,
      wakeFd: init.wakeFd,
      count: (bytes: number) => state.addMainBytes(bytes),
    };
    this.#reader = new StreamReader(reader, poll, this.#stream, this.#pages, this.#buffer);
    if (init.readBefore !== undefined) this.#takeOver(init.readBefore);
  }

  /**
   * Reads on. Once pages are asked for on demand a source that goes away only pauses: the pages that are
   * missing stay missing and their users held, until the fault server gives this task another connection.
   *
   * @returns true when the stream has ended, and nothing can break any more, or it was told to stop
   * @throws {MigrationError} when the source goes away or asks for what cannot be, before LISTEN
   * @throws {ProtocolError} when the stream is malformed, before LISTEN
   */
  step(): boolean {
    this.#reader.clearWake();
    if (this.#over) return true;
    if (this.#waiting && !this.#goOn()) return false;
    if (this.#state.paused) return this.#hold();
    if (this.#stream.ended) return false;
    try {
      this.#reader.receive();
    } catch (error) {
      if (!this.#stream.listening || !(error instanceof Error)) throw error;
      const breaks = this.#state.pause();
      const code = (error as { code?: string }).code ?? "UNKNOWN";
      if (breaks > 0) this.#tell({ kind: "paused", breaks, code, reason: error.message });
    }
    return this.#state.paused ? this.#hold() : this.#over;
  }

  configuration({ machine }: Configuration): void {
    this.#tell({ kind: "configuration", machine });
  }

  returnPathOpened(): void {
    this.#heard = true;
    this.#tell({ kind: "return-path" });
  }

  /** Until LISTEN this task owns the return path; afterwards the fault server does. */
  ping(value: number): void {
    if (this.#stream.listening) {
      this.#answers.push(ReturnPathMessage.PONG, value);
      signalEvent(this.#init.faultWakeFd);
      return;
    }
    this.#approval.asked(value);
    const encoder = new ReturnPathEncoder();
    const multifdChannels = this.#init.multifd?.channels;
    encodePingAnswer(encoder, value, { multifdChannels, approves: this.#approval.on });
    this.#returnPath.sendMessage(encoder.take());
  }

  opened(machine: StreamMachine): void {
    this.#tell({ kind: "blocks", blocks: this.#memory.blocks, machine });
    if (!this.#heard || !this.#approval.isDue(machine.configuration.machine)) return;
    const encoder = new ReturnPathEncoder();
    encoder.switchoverAck();
    this.#returnPath.sendMessage(encoder.take());
  }

  listening(): void {
    this.#state.setListening();
    signalEvent(this.#init.faultWakeFd);
    this.#tell({ kind: "listen" });
  }

  bitmapWanted(name: string): void {
    const { blocks } = this.#memory.blocks.mapped;
    this.#handover.wantBitmap(blocks.findIndex((block) => block.name === name));
    signalEvent(this.#init.faultWakeFd);
  }

  resumed(): void {
    this.#handover.resume();
    signalEvent(this.#init.faultWakeFd);
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
    this.#reader.listen(false); // its end would be found again and again
    this.#state.setMainEnded();
    signalEvent(this.#init.faultWakeFd);
  }

  /** Frees its buffers. */
  [Symbol.dispose](): void {
    this.#pages.close();
    this.#buffer.close();
  }

  /** True when there is nothing more to be read, by this connection or another. */
  get #over(): boolean {
    const { listening, ended } = this.#stream;
    return this.#state.stopped || (ended && (!listening || this.#state.over));
  }

  #takeOver({ machine, blocks, method }: ReadBefore): void {
    this.#memory.adopt(blocks);
    this.#pages.adopt(machine, method);
    this.#stream.adopt(machine);
    this.#hold();
  }

  /** Goes on with another connection, once there is one. */
  #goOn(): boolean {
    const connection = this.#handover.take();
    if (connection === undefined) return false;
    this.#waiting = false;
    this.#reader.replace(connection);
    return true;
  }

  /** Lets go of a connection that broke; what came whole by it is put in place. Returns true before LISTEN. */
  #hold(): boolean {
    if (!this.#stream.listening) return true;
    this.#reader.listen(false);
    this.#pages.restart();
    this.#waiting = true;
    this.#handover.release();
    signalEvent(this.#init.faultWakeFd);
    return false;
  }
}

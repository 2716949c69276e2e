/** The channels and tasks of one outgoing migration, whatever it is that moves. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { Socket, type WaitOptions } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { stalled, TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { MigrationError, reviveMigrationError } from "../../migration/migration_error.ts";
import { Ring } from "../../migration/threads/ring.ts";
import { type PoolTask, type TaskKind, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Answers, untilAborted } from "./answers.ts";
import type { BackgroundSenderInit } from "../sending/background_sender.ts";
import { PING } from "../sending/control_stream.ts";
import { agreeOnCompression } from "./compression_agreement.ts";
import { compressionSettings } from "../compression/compression_settings.ts";
import {
  type CompressionStatistics,
  compressionStatistics,
} from "../compression/compression_statistics.ts";
import { CompressionThreads } from "../compression/compression_threads.ts";
import { type PreemptRules, preemptRules } from "./machine_type.ts";
import { isTimeout, preemptClosed, PreemptConnection } from "./preempt_connection.ts";
import type { OutgoingMemory, OutgoingOptions } from "./outgoing_options.ts";
import type { Mode } from "../sending/mode.ts";
import type { RequestServerInit, ReturnPathMessage } from "../sending/request_server.ts";
import { REQUEST_RING_CAPACITY, type SenderInit } from "../sending/sender_init.ts";
import { SENDING_THREADS, SourceState } from "../sending/source_state.ts";
import type { SourceTimes, ThreadStatistics } from "./statistics.ts";

const DEFAULT_STALL_TIMEOUT = 30_000;
/** Bytes that the main channel may hold unsent beside a preempt channel: 1 ms at 1 Gbit/s. */
const UNSENT_LIMIT = 128 * 1024;
/** A QEMU 7.2 whose machine type does not say so reads nothing before it has both channels. */
const FIRST_PONG_TIMEOUT = 1_000;
/** Milliseconds in which a destination that closed one channel may close the other. */
const RETURN_PATH_GRACE = 100;
/** Milliseconds in which the end of a broken connection shows on the return path too. */
const RETURN_PATH_PATIENCE = 5_000;

/** The background stream of a migration. */
const BACKGROUND: TaskKind<BackgroundSenderInit, never> = {
  thread: new URL("../sending/background_worker.ts", import.meta.url),
  name: "background",
  urgent: false,
};

/** The return path of a migration, and the answers to what is asked for there. */
const RETURN_PATH: TaskKind<RequestServerInit, ReturnPathMessage> = {
  thread: new URL("../sending/return_path_worker.ts", import.meta.url),
  name: "return-path",
  urgent: true,
};

/**
 * Connects to a destination and runs the two tasks that serve it, on a pool's threads: the request server
 * from the connection on, the background sender once it is told to stream. Whatever fails first aborts
 * {@linkcode Outgoing.signal} with its reason, and with it every wait.
 */
export class Outgoing implements AsyncDisposable {
  /** Who sends requested pages. */
  readonly mode: Mode;
  /** Milliseconds without progress after which the destination counts as stalled. */
  readonly stallTimeout: number;
  /** Shared with the tasks. */
  readonly state = new SourceState();
  /** Pages that no sender has claimed. */
  readonly dirty: PageBitmap;
  /** When what happened. */
  readonly times: SourceTimes = {
    started: 0,
    connected: 0,
    prepared: 0,
    stopped: 0,
    paused: 0,
    saved: 0,
    switched: 0,
    loaded: 0,
    ended: 0,
  };
  /** Ends the migration; aborted with the reason. */
  readonly signal: AbortSignal;
  readonly #memory: OutgoingMemory;
  readonly #to: SocketAddress;
  readonly #maxPostcopyBandwidth: number;
  readonly #spin: number;
  readonly #pool: ThreadPool;
  readonly #compression: CompressionThreads | undefined;
  readonly #rules: PreemptRules;
  readonly #requests = new Ring(REQUEST_RING_CAPACITY, 1);
  readonly #stack = new DisposableStack();
  readonly #backgroundWake = this.#stack.use(new Eventfd());
  readonly #returnPathWake = this.#stack.use(new Eventfd());
  readonly #requestEvent = this.#stack.use(new Eventfd());
  readonly #answers = new Answers();
  readonly #returnPath: PoolTask<RequestServerInit, ReturnPathMessage>;
  readonly #background: PoolTask<BackgroundSenderInit, never>;
  readonly #abort = new AbortController();
  #main: SendingEnd | undefined;
  readonly #others: { readonly thread: { join(): Promise<void> }; readonly wake: Eventfd }[] = [];
  #preempt: PreemptConnection | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Starts the compression threads, if there are to be some, and no other.
   *
   * @param memory what moves
   * @param options where to, and how
   * @throws {RangeError} for a compression that cannot be
   */
  constructor(memory: OutgoingMemory, options: OutgoingOptions) {
    this.#memory = memory;
    this.#to = options.to;
    this.mode = options.mode ?? "preempt-full";
    this.stallTimeout = options.stallTimeout ?? DEFAULT_STALL_TIMEOUT;
    this.#maxPostcopyBandwidth = options.maxPostcopyBandwidth ?? 0;
    this.#spin = options.spin ?? 0;
    this.#pool = options.pool ?? ThreadPool.shared;
    this.#background = this.#pool.task(BACKGROUND);
    this.#returnPath = this.#pool.task(RETURN_PATH, (message) => this.#answers.add(message));
    this.#rules = preemptRules(memory.machine);
    const { compress } = options;
    this.#compression = compress === undefined ? undefined : new CompressionThreads(
      compressionSettings(compress),
      memory.layout.targetPageSize,
      (reason) => this.#onCompressionFailed(reason),
    );
    this.signal = options.signal === undefined
      ? this.#abort.signal
      : AbortSignal.any([this.#abort.signal, options.signal]);
    this.dirty = new PageBitmap(memory.layout.pageLimit);
    for (const { firstPage, pageCount } of memory.layout.blocks) {
      this.dirty.fill(firstPage, pageCount);
    }
  }

  /** The blocks. */
  get layout(): RamLayout {
    return this.#memory.layout;
  }

  /** Figures of compression; undefined when pages are sent as they are. */
  get compression(): CompressionStatistics | undefined {
    if (this.#compression === undefined) return undefined;
    const { method } = this.#compression;
    return compressionStatistics(method, this.state.compression, this.layout.targetPageSize);
  }

  /** Processor time that threads took for this migration. */
  get threads(): ThreadStatistics[] {
    const sending = SENDING_THREADS.filter((name) => name !== "precopy" || this.#memory.live)
      .map((name) => ({ name, "cpu-time": this.state.cpuTime(name) / 1e6 }));
    const compressing = this.#compression?.cpuTimes ?? [];
    return [
      ...sending,
      ...compressing.map((time, i) => ({ name: `compress-${i}`, "cpu-time": time / 1e6 })),
    ];
  }

  /** True once `close` was called. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * Resolves when the destination has confirmed the end with SHUT, rejects when it fails first.
   */
  get heard(): Promise<void> {
    const ended = this.#returnPath.ended.catch((error) => this.fail(error));
    return untilAborted(ended, this.signal).then(() => this.signal.throwIfAborted());
  }

  /** Connects the main channel, and lets the return path be read. */
  async connect(): Promise<void> {
    const wait = this.#wait();
    // The destination is not kept waiting: both threads have loaded when it hears of us.
    const ready = [
      this.#returnPath.prepare(),
      this.#background.prepare(),
      this.#compression?.enter(),
    ];
    await untilAborted(Promise.all(ready), this.signal);
    this.#compression?.ended.catch((error) => this.fail(error));
    const main = this.#stack.use(await Socket.connect(this.#to, wait));
    this.#main = new SendingEnd({ fd: main.fd }, TO_DESTINATION.MAIN);
    this.times.connected = monotonicNanoseconds();
    this.#answers.onLoaded = () => this.times.loaded = monotonicNanoseconds();
    if (this.mode !== "vanilla") main.setUnsentLimit(UNSENT_LIMIT);
    this.#returnPath.ended.catch((error) => this.fail(error));
    this.#returnPath.run({
      ...this.senderInit(),
      wakeFd: this.#returnPathWake.fd,
      backgroundWakeFd: this.#backgroundWake.fd,
      spin: this.#spin,
      decides: this.#memory.live,
    });
  }

  /**
   * Opens the preempt channel at the moment that the machine type asks for; called at both.
   *
   * @param atOnce true right after the connection, false once the opening was sent
   */
  async openPreempt(atOnce: boolean): Promise<void> {
    if (this.mode === "vanilla" || this.#preempt || this.#rules.connectAtOnce !== atOnce) return;
    // One that stays silent until it has both channels gets the second all the same.
    if (!atOnce) await this.#answers.pong(PING.RETURN_PATH, FIRST_PONG_TIMEOUT, this.signal);
    this.#preempt = await PreemptConnection.connect(this.#to, this.#wait());
    this.#stack.use(this.#preempt);
    this.state.preemptFd = this.#preempt.fd;
    const mayClose = () => this.state.backgroundEnded; // all is sent
    this.#preempt.watch(this.signal, mayClose, () => this.#onPreemptLost());
  }

  /**
   * Sees that the destination understands what will be sent to it beyond QEMU's protocol, once it was
   * greeted.
   *
   * @param postcopy whether there may be a switch to postcopy
   * @returns the extensions that the stream uses
   */
  async agree(postcopy: boolean): Promise<readonly string[]> {
    if (this.#compression === undefined) return [];
    const { method } = this.#compression;
    const besidePreempt = postcopy && this.mode !== "vanilla";
    return await agreeOnCompression(method, besidePreempt, this.#answers, this.signal);
  }

  /** Waits until the destination has obeyed all that was sent before a PING. */
  async obeyed(ping: number): Promise<void> {
    let before = Infinity;
    while (!await this.#answers.pong(ping, this.stallTimeout, this.signal)) {
      // The PING may lie behind much else in the socket: as long as that moves, nobody is stalled.
      const left = this.#main!.unacknowledged;
      if (left === 0 || left >= before) {
        throw new MigrationError(
          "STALLED",
          `Destination has not answered PING ${ping} for ${
            this.stallTimeout / 1000
          } s: see whether ` +
            "it still runs",
        );
      }
      before = left;
    }
  }

  /** Sends on the main channel, while no task does. */
  async send(bytes: Uint8Array): Promise<void> {
    try {
      await this.#main!.sendAll(bytes, this.#wait());
    } catch (cause) {
      this.signal.throwIfAborted();
      if (isTimeout(cause)) throw stalled(TO_DESTINATION.MAIN, this.stallTimeout);
      // What a destination said before it went away comes first.
      await this.hearOut();
      this.signal.throwIfAborted();
      throw cause;
    }
  }

  /** Streams all pages that are left, and ends when the destination has confirmed that it has them. */
  async stream(): Promise<void> {
    this.#background.run({
      ...this.senderInit(),
      wakeFd: this.#backgroundWake.fd,
      returnPathWakeFd: this.#returnPathWake.fd,
      sectionId: this.#memory.sectionId,
      maxBandwidth: this.#maxPostcopyBandwidth,
    });
    const sent = this.#background.ended.catch((error) => this.lose(error));
    await untilAborted(Promise.all([sent, this.heard]), this.signal);
    // It confirms the end also when a page that it asked for never came.
    if (this.#preempt?.lost && this.state.urgent.bytes > 0) throw preemptClosed();
  }

  /** Sends the last bytes of the main channel, which the destination may confirm then. */
  async sendEnd(bytes: Uint8Array): Promise<void> {
    const last = bytes.length - 1;
    await this.send(bytes.subarray(0, last));
    // Said before it is sent: the destination's SHUT may overtake the return from the call. Not
    // sooner: from here on one that stays silent counts as stalled.
    this.state.setBackgroundEnded();
    this.#returnPathWake.signal();
    await this.send(bytes.subarray(last));
  }

  /** Ends every wait with a task's reason. */
  fail(error: unknown): void {
    this.#abort.abort(reviveMigrationError(error));
  }

  /** A sending task failed. What the destination said before it went away comes first. */
  async lose(error: unknown): Promise<void> {
    if ((error as { code?: string }).code === "CONNECTION_LOST") await this.hearOut();
    this.fail(error);
  }

  /**
   * Lets the return path of a broken connection be read to its end: what a destination said before it
   * went away tells more, and ends the migration first.
   */
  async hearOut(): Promise<void> {
    await this.#ended(RETURN_PATH_PATIENCE);
  }

  /** Ends another task of this migration with it: it stops when the state says so. */
  join(thread: { join(): Promise<void> }, wake: Eventfd): void {
    this.#others.push({ thread, wake });
  }

  /** What every sending task is made from. */
  senderInit(): Omit<SenderInit, "wakeFd"> {
    const { layout, pages } = this.#memory;
    return {
      blocks: layout.blocks,
      targetPageSize: layout.targetPageSize,
      pages,
      dirty: this.dirty.buffer,
      state: this.state.buffer,
      requests: this.#requests.buffer,
      mode: this.mode,
      main: { fd: this.#main!.fd },
      requestFd: this.#requestEvent.fd,
      preemptEndOfSection: this.#rules.endOfSection,
      ...this.#compression === undefined ? {} : { compression: this.#compression.init },
      stallTimeout: this.stallTimeout,
    };
  }

  /**
   * Ends all tasks, compression threads and connections.
   *
   * @param finished settles when nobody uses them any more; aborted waits make it so
   */
  close(finished: Promise<unknown> | undefined): Promise<void> {
    this.#closed ??= this.#close(finished);
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close(undefined);
  }

  /** A library that fails ends the migration, unless that would cost the guest: it needs its pages. */
  #onCompressionFailed(reason: string): void {
    if (!this.state.switched) this.fail(new MigrationError("COMPRESSION_FAILED", reason));
  }

  /** A page that was sent there may be lost. */
  async #onPreemptLost(): Promise<void> {
    // One that went away closes the return path too, and that is the better reason.
    await this.#ended(RETURN_PATH_GRACE);
    this.#abort.abort(preemptClosed());
  }

  #wait(): WaitOptions {
    return { signal: this.signal, timeout: this.stallTimeout };
  }

  /** Waits for the end of the return path, but no longer than the given milliseconds. */
  async #ended(milliseconds: number): Promise<void> {
    const { promise: patience, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds);
    await Promise.race([this.#returnPath.ended.catch(() => {}), patience]);
    clearTimeout(timer);
  }

  async #close(finished: Promise<unknown> | undefined): Promise<void> {
    this.#abort.abort(new MigrationError("CANCELLED", "Source was closed"));
    this.state.stop();
    this.#compression?.stop();
    this.#backgroundWake.signal();
    this.#returnPathWake.signal();
    for (const { wake } of this.#others) wake.signal();
    await finished?.catch(() => {});
    await this.#preempt?.watched;
    // The descriptors are closed only when no task can use them: a number may be given out again.
    const others = this.#others.map(({ thread }) => thread.join());
    await Promise.all([this.#returnPath.join(), this.#background.join(), ...others]);
    await this.#compression?.join();
    this.#stack.dispose();
  }
}

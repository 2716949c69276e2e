/** Receiving a running machine into an image: the control plane of the task that writes it. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { MigrationError, reviveMigrationError } from "../../migration/migration_error.ts";
import { switchoverAckInit } from "../../migration/protocol/switchover_ack.ts";
import { type PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { DecompressionThreads } from "../decompression/decompression_threads.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import { Access } from "../connecting/access.ts";
import { IncomingMigration } from "../incoming_migration.ts";
import { MultifdArrivals } from "../multifd/multifd_arrivals.ts";
import { checkMultifdChannels } from "../multifd/multifd_channels.ts";
import { StatusBoard } from "../status_board.ts";
import { type ImagePlace, MULTIFD_IMAGE_TASK } from "./multifd_image.ts";
import type { DestinationStatus } from "../statistics.ts";
import type { ImageChannelInit, ImageChannelMessage } from "./image_channel_messages.ts";
import type { ImageReceiverOptions } from "./image_receiver_options.ts";
import type { PartialImage } from "../../image/mapped_ram/partial_image.ts";
import { PartialFile } from "../../image/partial_file.ts";
import { Counter, Holder, ReceiveState } from "./receive_state.ts";
import { type ReceiveStatistics, receiveStatistics } from "./receive_statistics.ts";
import { RECEIVE_TASK } from "./receive_task.ts";
import { ReceiverSockets } from "./receiver_sockets.ts";
import { type Fate, requirePausable, withFate } from "./fate.ts";
import { allHere, notWhole } from "./hand_back.ts";
import { imageMap } from "./image_map.ts";
import type { SharedImage, WholeFrame } from "./image_memory.ts";

export type { ImageReceiverOptions } from "./image_receiver_options.ts";

/** Milliseconds for which it is news that the file cannot be written; it is tried twice a second. */
const WAIT_NEWS = 1_500;

/**
 * One incoming migration that ends in an image: a stock QEMU's `migrate`, with or without a switch to
 * postcopy. The guest does not run here; `serve` runs it from the image, or QEMU itself.
 *
 * When the connection breaks after a switch that the source cannot take back, the migration is paused: the
 * source keeps the guest, stopped, and may come again at any time (`migrate -r`). It is asked for what is
 * missing then.
 *
 * @example
 * ```ts
 * import { ImageReceiver } from "./image_receiver.ts";
 *
 * async function save(path: string): Promise<void> {
 *   await using receiver = new ImageReceiver({ path });
 *   await receiver.listen({ transport: "tcp", host: "127.0.0.1", port: 4444 });
 *   await receiver.finished;
 * }
 * ```
 */
export class ImageReceiver extends IncomingMigration implements AsyncDisposable {
  readonly #state: ReceiveState;
  readonly #stack = new DisposableStack();
  readonly #sockets: ReceiverSockets;
  readonly #decompression: DecompressionThreads;
  readonly #file: PartialFile;
  readonly #takenUp: PartialImage | undefined;
  readonly #wake: Eventfd;
  readonly #multifd: MultifdArrivals<ImagePlace>;
  readonly #board: StatusBoard;
  #fault: Error | undefined;
  readonly #task: PoolTask<ImageChannelInit, ImageChannelMessage>;
  readonly #options: ImageReceiverOptions;
  #pauseReason: MigrationError | undefined;
  #wait: { readonly reason: string; readonly at: number } | undefined;
  #cancelled: unknown;
  #connected = 0;
  #ended = 0;
  #closed: Promise<void> | undefined;

  /**
   * Makes the file; no thread is needed before it listens.
   *
   * @param options what to receive into
   * @throws {SyscallError} `EEXIST` when the image is there and must not be replaced; `EACCES`, ...
   * @throws {ImageError} when what is to be taken up cannot be
   * @throws {RangeError} for a number of decompression threads, a stall timeout or a network that cannot be
   * @throws {TlsError} for credentials that cannot be used
   */
  constructor(options: ImageReceiverOptions) {
    const { multifdChannels: channels, pool = ThreadPool.shared } = options;
    if (channels !== undefined) checkMultifdChannels(channels);
    const state = new ReceiveState(undefined, { tasks: 1 + (channels ?? 0) });
    const access = new Access(options, state.sentAway);
    const board = new StatusBoard();
    super(access, board);
    this.#state = state;
    this.#board = board;
    this.#stack.use(access);
    this.#sockets = new ReceiverSockets(access.places);
    this.#decompression = new DecompressionThreads(options.decompressThreads, pool);
    const { path, overwrite = false, recover } = options;
    this.#file = this.#stack.use(new PartialFile(path, overwrite, recover));
    if (recover !== undefined) this.#takenUp = this.#takeUp();
    this.#wake = this.#stack.use(new Eventfd());
    this.#multifd = new MultifdArrivals({
      channels,
      pool,
      kind: MULTIFD_IMAGE_TASK,
      mainWakeFd: this.#wake.fd,
      mainBytes: () => this.#state.get(Counter.MAIN_BYTES),
      onFail: (error) => this.#failChannel(error),
    });
    this.#sockets.onMultifd = (owned, connection) => this.#multifd.take(owned, connection);
    this.#task = pool.task(RECEIVE_TASK, (message) => this.#onMessage(message));
    const reading = this.#task.ended.then(() => this.#end(), (error) => this.#fail(error));
    reading.then(() => {
      this.#decompression.stop();
      this.#multifd.stop();
      this.#sockets.acceptAgain();
    });
    this.#options = options;
    options.signal?.addEventListener("abort", this.#onAbort);
    if (options.signal?.aborted) this.#onAbort();
  }

  /** Name of the file that is written until the image is complete. */
  get partialPath(): string {
    return this.#file.path;
  }

  /**
   * Why the image does not grow: the file cannot be written, mostly because its disk is full, and the
   * source cannot take the guest back. It goes on when it can be written again.
   */
  get waitReason(): string | undefined {
    const wait = this.#wait;
    if (wait === undefined || this.#ended !== 0) return undefined;
    return performance.now() - wait.at < WAIT_NEWS ? wait.reason : undefined;
  }

  /** Why the migration is paused, if it is. */
  get pauseReason(): MigrationError | undefined {
    return this.#pauseReason;
  }

  /** Where it listens: for a source, and for one that resumes. */
  get addresses(): readonly SocketAddress[] {
    return this.#sockets.addresses;
  }

  /** What became of the guest if it ended now. */
  get fate(): Fate {
    const { holder, sealed } = this.#state;
    return { holder, complete: sealed, partialPath: this.#file.path };
  }

  /** True when ending it now leaves a guest that runs nowhere: the source has switched to postcopy. */
  get holdsGuest(): boolean {
    return this.#ended === 0 && this.#state.holder === Holder.SWITCHED;
  }

  /** Resolves when the image is complete; rejects with what became of the guest. */
  get finished(): Promise<void> {
    return this.#board.finished;
  }

  /**
   * Listens for a source.
   *
   * @param address where; port 0 lets the kernel choose
   * @returns where it listens
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(address: SocketAddress): Promise<SocketAddress> {
    if (this.#sockets.listening) throw new Error("A receiver listens once: make another");
    await Promise.all([this.#task.prepare(), this.#multifd.prepare()]);
    const listening = await this.#sockets.listen(address);
    if (this.#takenUp === undefined) {
      this.#receive();
    } else if (this.#takenUp.tail === undefined) {
      this.#handBack(this.#takenUp);
    } else {
      const { tail } = this.#takenUp;
      this.#state.handOver(this.#sockets.handOver());
      this.#begin({ fd: -1 }, { ...this.#takenUp, tail });
    }
    return listening;
  }

  /**
   * Ends the connection to a source that has switched to postcopy, as QEMU's `migrate-pause` does; the
   * source keeps the guest until it resumes. Resolves when it is paused.
   *
   * @throws {Error} in any other state: nothing would be left to resume
   */
  async pause(): Promise<void> {
    requirePausable(this.status, this.#state);
    // That it was over before is for who waits for the end.
    const paused = this.#board.waitFor("postcopy-paused").catch(() => {});
    this.#state.pause();
    this.#wake.signal();
    await paused;
  }

  /**
   * Has a paused migration be resumed: it waits for its source by itself, where it listened before. With
   * an address it waits there too; as QEMU's `migrate-recover`.
   *
   * @param address where to listen too; port 0 lets the kernel choose
   * @returns where it listens
   * @throws {SyscallError} for example `EADDRINUSE`
   * @throws {Error} when it is not paused
   */
  async recover(address?: SocketAddress): Promise<SocketAddress> {
    this.#mustBePaused();
    if (address === undefined) return this.#sockets.addresses[0]!;
    const listening = await this.#sockets.listenAlso(address, (fd) => {
      this.#mustBePaused();
      this.#state.addListener(fd);
    });
    this.#wake.signal();
    return listening;
  }

  /** The figures so far. */
  statistics(): ReceiveStatistics {
    const to = this.#ended || monotonicNanoseconds();
    const time = this.#connected === 0 ? 0 : (to - this.#connected) / 1e6;
    const decompressed = this.#decompression.statistics();
    return receiveStatistics(this.status, this.#state, decompressed, time, this.#multifd.bytes);
  }

  /**
   * Ends it if it has not ended, and frees everything. What is not complete is removed, unless the
   * source has switched to postcopy. Closing again does nothing.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  readonly #onAbort = (): void => this.#cancel(this.#options.signal?.reason);

  async #receive(): Promise<void> {
    let main: ConnectionInit;
    try {
      main = await this.#sockets.accept();
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#ended !== 0) return;
    this.#board.set("active");
    this.#begin(main);
  }

  #takeUp(): PartialImage {
    try {
      const contents = this.#file.contents();
      this.#board.machine = contents.machine.configuration.machine;
      this.#state.holder = contents.tail === undefined ? Holder.SWITCHING : Holder.SWITCHED;
      return contents;
    } catch (error) {
      this.#stack.dispose();
      throw error;
    }
  }

  /**
   * Tells the source, when it resumes, that every page is here: so it ends, with the guest still in it and
   * all of its memory, and its user can let the guest go on (seen with QEMU 7.2).
   */
  #handBack({ machine }: PartialImage): void {
    this.#pauseReason = notWhole("Receive ended before");
    this.#sockets.acceptAgain(allHere(machine, () => {
      this.#state.holder = Holder.SOURCE_DONE;
      this.#fail(notWhole("Guest was handed back, for"));
    }));
    this.#board.set("postcopy-paused");
  }

  #begin(main: ConnectionInit, takenUp?: WholeFrame): void {
    this.#connected = monotonicNanoseconds();
    this.#task.run({
      main,
      entrance: this.#sockets.rules,
      ...takenUp === undefined ? {} : { takenUp },
      wakeFd: this.#wake.fd,
      state: this.#state.buffer,
      ...this.#file.names,
      overwrite: this.#file.overwrite,
      decompression: this.#decompression.shared,
      approval: switchoverAckInit(this.#options),
      ...this.#multifd.rounds,
    });
  }

  #onMessage(message: ImageChannelMessage): void {
    switch (message.kind) {
      case "configuration":
        this.#board.machine = message.machine;
        return;
      case "opened":
        return this.#open(message.image);
      case "return-path":
        return this.#sockets.openReturnPath();
      case "compressed":
        return this.#decompression.start(message.method, this.#wake.fd);
      case "listening":
        this.#state.handOver(this.#sockets.handOver());
        return this.#wake.signal();
      case "switchover":
        return this.#board.set("device");
      case "postcopy":
        this.#pauseReason = undefined;
        return this.#board.set("postcopy-active");
      case "paused":
        this.#pauseReason = new MigrationError(message.code, message.reason);
        return this.#board.set("postcopy-paused");
      case "recovering":
        this.#sockets.replaceMain(message.main);
        return this.#board.set("postcopy-recover");
      case "waiting":
        this.#wait = { reason: message.reason, at: performance.now() };
        return;
    }
  }

  #open(image: SharedImage): void {
    const { fd: fileFd, path: partialPath } = this.#file;
    this.#board.drawMap = imageMap(image);
    const place = { fileFd, partialPath, state: this.#state.buffer, image };
    this.#multifd.open(place, image.machine.targetPageSize);
  }

  /** The task is done: the image is complete, or it was told to stop. */
  #end(): void {
    if (this.#ended !== 0) return;
    if (this.#state.holder !== Holder.IMAGE) return this.#fail(this.#fault ?? this.#cancelled);
    this.#over("completed");
    this.#board.complete();
  }

  /** A channel of multifd broke: of no interest once the source has switched to postcopy. */
  #failChannel(error: Error): void {
    if (this.#ended !== 0 || this.#state.holder !== Holder.SOURCE || this.#state.stopped) return;
    this.#fault = error;
    this.#state.stop();
    this.#wake.signal();
    if (this.#connected === 0) this.#fail(error);
  }

  #cancel(reason: unknown): void {
    if (this.#ended !== 0 || this.#state.stopped) return;
    this.#cancelled = reason;
    this.#state.stop();
    this.#wake.signal();
    if (this.#connected === 0) this.#fail(reason); // nothing runs that could end by itself
  }

  #fail(error: unknown): void {
    if (this.#ended !== 0) return;
    this.#over("failed");
    if (this.#state.isAtSource) this.#file.remove();
    const came = this.#connected !== 0 || this.#fault !== undefined;
    if (!came && this.#takenUp === undefined) return this.#board.fail(error);
    const cause = this.#multifd.explain(reviveMigrationError(error));
    const cancelled = cause === this.#cancelled;
    this.#board.fail(withFate(cause, cancelled, this.fate, this.statistics(), this.#options.again));
  }

  #mustBePaused(): void {
    if (this.status === "postcopy-paused") return;
    throw new Error(`Migration can be recovered only while it is postcopy-paused: ${this.status}`);
  }

  #over(status: DestinationStatus): void {
    this.#ended = monotonicNanoseconds();
    this.#multifd.over();
    this.#pauseReason = undefined;
    this.#board.set(status);
    // A source that has not heard how it ended may ask: from here on it is told, where that is known.
    const stayed = this.#state.isAtSource;
    this.#sockets.takeBack(status === "completed" ? "complete" : stayed ? "failed" : undefined);
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }

  async #close(): Promise<void> {
    this.#cancel(new MigrationError("CANCELLED", "Receiver was closed"));
    await this.#task.join();
    await this.#decompression.close();
    await this.#multifd.stop();
    this.#end();
    // Whoever cancels does not wait for the source to be done with what it sends.
    await this.#sockets.close(!this.#state.stopped);
    this.#multifd.close();
    this.#stack.dispose();
  }
}

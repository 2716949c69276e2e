/** Receiving a running machine into an image: the control plane of the task that writes it. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { Listener } from "../../ffi/listener.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { MigrationError, reviveMigrationError } from "../../migration/migration_error.ts";
import { type PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { DecompressionThreads } from "../decompression/decompression_threads.ts";
import { IncomingChannels, type IncomingMain } from "../connecting/incoming_channels.ts";
import { linger } from "../../channel/linger.ts";
import type { DestinationStatus } from "../statistics.ts";
import type { ImageChannelInit, ImageChannelMessage } from "./image_channel.ts";
import { PartialFile } from "../../image/partial_file.ts";
import { Holder, ReceiveState } from "./receive_state.ts";
import { type ReceiveStatistics, receiveStatistics } from "./receive_statistics.ts";
import { RECEIVE_TASK } from "./receive_task.ts";
import { withFate } from "./fate.ts";

/** What to receive into. */
export interface ImageReceiverOptions {
  /** The image's name. It appears when the image is complete; until then a file beside it is written. */
  readonly path: string;
  /** Whether an image of that name may be replaced; default false. */
  readonly overwrite?: boolean;
  /**
   * Threads that decompress pages, where the source compresses them, 0 to 255; default 2. With 0 the
   * thread that reads does it.
   */
  readonly decompressThreads?: number;
  /** Threads that serve it; default the process's own pool, {@linkcode ThreadPool.shared}. */
  readonly pool?: ThreadPool;
  /** Ends it early: `finished` rejects with what became of the guest. */
  readonly signal?: AbortSignal;
}

/** Milliseconds for which it is news that the file cannot be written; it is tried twice a second. */
const WAIT_NEWS = 1_500;

/**
 * One incoming migration that ends in an image: a stock QEMU's `migrate`, with or without a switch to
 * postcopy. The guest does not run here; `serve` runs it from the image, or QEMU itself.
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
export class ImageReceiver implements AsyncDisposable {
  readonly #state = new ReceiveState();
  readonly #stack = new DisposableStack();
  readonly #decompression: DecompressionThreads;
  readonly #pool: ThreadPool;
  readonly #file: PartialFile;
  readonly #wake: Eventfd;
  readonly #task: PoolTask<ImageChannelInit, ImageChannelMessage>;
  readonly #finished = Promise.withResolvers<void>();
  readonly #signal: AbortSignal | undefined;
  #channels: IncomingChannels | undefined;
  #main: IncomingMain | undefined;
  #status: DestinationStatus = "setup";
  #machine: string | undefined;
  #hasReturnPath = false;
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
   * @throws {RangeError} for a number of decompression threads that cannot be
   */
  constructor(options: ImageReceiverOptions) {
    this.#decompression = new DecompressionThreads(options.decompressThreads);
    this.#pool = options.pool ?? ThreadPool.shared;
    this.#file = this.#stack.use(new PartialFile(options.path, options.overwrite ?? false));
    this.#wake = this.#stack.use(new Eventfd());
    this.#task = this.#pool.task(RECEIVE_TASK, (message) => this.#onMessage(message));
    this.#finished.promise.catch(() => {}); // whoever cares awaits `finished`
    const reading = this.#task.ended.then(() => this.#end(), (error) => this.#fail(error));
    reading.then(() => {
      this.#decompression.stop();
      this.#channels?.takeBack();
    });
    this.#signal = options.signal;
    this.#signal?.addEventListener("abort", this.#onAbort);
    if (this.#signal?.aborted) this.#onAbort();
  }

  /** Where the migration stands. */
  get status(): DestinationStatus {
    return this.#status;
  }

  /** The source's machine type, once it has said so. */
  get machine(): string | undefined {
    return this.#machine;
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

  /** True when ending it now leaves a guest that runs nowhere: the source has switched to postcopy. */
  get holdsGuest(): boolean {
    return this.#ended === 0 && this.#state.holder === Holder.SWITCHED;
  }

  /** Resolves when the image is complete; rejects with what became of the guest. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /**
   * Listens for a source.
   *
   * @param address where; port 0 lets the kernel choose
   * @returns where it listens
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(address: SocketAddress): Promise<SocketAddress> {
    if (this.#channels !== undefined) throw new Error("A receiver listens once: make another");
    await this.#task.prepare();
    const listener = this.#stack.use(await Listener.listen(address));
    this.#channels = new IncomingChannels(listener);
    this.#receive(this.#channels);
    return listener.address;
  }

  /** The figures so far. */
  statistics(): ReceiveStatistics {
    const to = this.#ended || monotonicNanoseconds();
    const time = this.#connected === 0 ? 0 : (to - this.#connected) / 1e6;
    return receiveStatistics(this.#status, this.#state, this.#decompression.statistics(), time);
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

  readonly #onAbort = (): void => this.#cancel(this.#signal?.reason);

  async #receive(channels: IncomingChannels): Promise<void> {
    try {
      this.#main = await channels.main;
    } catch (error) {
      return this.#fail(error);
    }
    const { socket, connection } = this.#main;
    this.#stack.use(socket);
    if (this.#ended !== 0) return;
    this.#connected = monotonicNanoseconds();
    this.#status = "active";
    this.#task.run({
      main: connection,
      wakeFd: this.#wake.fd,
      state: this.#state.buffer,
      fileFd: this.#file.fd,
      partialPath: this.#file.path,
      path: this.#file.imagePath,
      directory: this.#file.directory,
      overwrite: this.#file.overwrite,
      decompression: this.#decompression.shared,
    });
  }

  #onMessage(message: ImageChannelMessage): void {
    switch (message.kind) {
      case "configuration":
        this.#machine = message.machine;
        return;
      case "return-path":
        this.#hasReturnPath = true;
        return;
      case "compressed":
        return this.#decompression.start(message.method, this.#wake.fd);
      case "listening":
        this.#state.handOver(this.#channels!.handOver());
        return this.#wake.signal();
      case "switchover":
        this.#status = "device";
        return;
      case "postcopy":
        this.#status = "postcopy-active";
        return;
      case "waiting":
        this.#wait = { reason: message.reason, at: performance.now() };
        return;
    }
  }

  /** The task is done: the image is complete, or it was told to stop. */
  #end(): void {
    if (this.#ended !== 0) return;
    if (this.#state.holder !== Holder.IMAGE) return this.#fail(this.#cancelled);
    this.#over("completed");
    this.#finished.resolve();
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
    const { holder } = this.#state;
    const gone = holder === Holder.SOURCE || holder === Holder.SOURCE_DONE;
    if (gone) this.#file.remove();
    if (this.#connected === 0) return this.#finished.reject(error);
    const fate = { holder, complete: this.#state.sealed, partialPath: this.#file.path };
    const cause = reviveMigrationError(error);
    const cancelled = cause === this.#cancelled;
    this.#finished.reject(withFate(cause, cancelled, fate, this.statistics()));
  }

  #over(status: DestinationStatus): void {
    this.#ended = monotonicNanoseconds();
    this.#status = status;
    this.#channels?.refuse();
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }

  async #close(): Promise<void> {
    this.#cancel(new MigrationError("CANCELLED", "Receiver was closed"));
    await this.#task.join();
    await this.#decompression.close();
    this.#end();
    // Whoever cancels does not wait for the source to be done with what it sends.
    if (this.#state.stopped) this.#main?.socket.shutdown();
    else if (this.#hasReturnPath) await linger({ fd: this.#main!.socket.fd });
    await this.#channels?.close();
    this.#stack.dispose();
  }
}

/** The destination side of one migration: the control plane of the tasks that place pages. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import { Eventfd } from "../ffi/eventfd.ts";
import type { Backing } from "../ffi/memory.ts";
import { Listener } from "../ffi/listener.ts";
import type { SocketAddress } from "../ffi/socket_address.ts";
import { UffdFeature, Userfaultfd } from "../ffi/userfaultfd.ts";
import { waitingFaults } from "../ffi/waiting_faults.ts";
import { type PoolTask, ThreadPool } from "../migration/threads/thread_pool.ts";
import { unmapBlocks } from "./placing/destination_memory.ts";
import { DecompressionThreads } from "./decompression/decompression_threads.ts";
import { DestinationState } from "./placing/destination_state.ts";
import type { FaultMessage, FaultServerInit } from "./faults/fault_server.ts";
import { FAULT_TASK } from "./faults/fault_task.ts";
import type { Guest } from "../migration/guest.ts";
import { IncomingChannels, type IncomingMain } from "./connecting/incoming_channels.ts";
import type { ListeningBlocks } from "./placing/guest_memory_store.ts";
import type { MainChannelInit, MainChannelMessage } from "./incoming/main_channel.ts";
import { MAIN_CHANNEL_TASK } from "./incoming/main_channel_task.ts";
import {
  MigrationError,
  type MigrationErrorCode,
  reviveMigrationError,
} from "../migration/migration_error.ts";
import { arrive } from "./incoming/arrival.ts";
import { ArrivalTimes } from "./incoming/arrival_times.ts";
import { ControlAnswers } from "./return_path/control_answers.ts";
import { linger } from "../channel/linger.ts";
import { FROM_SOURCE } from "../channel/role.ts";
import { SendingEnd } from "../channel/sending_end.ts";
import { landedRing, returnPathRing } from "./return_path/return_path_ring.ts";
import {
  type DestinationStatistics,
  destinationStatistics,
  type DestinationStatus,
} from "./statistics.ts";

/** How to receive. */
export interface DestinationOptions {
  /** The machine that runs here from the switchover on. */
  readonly guest: Guest;
  /**
   * How its memory is backed; default `"anonymous"`, which costs a fifth less CPU time to fill. A memfd
   * is for a guest whose memory other processes map once the migration is completed.
   */
  readonly backing?: Backing;
  /** Microseconds for which the thread that takes its faults looks again before it sleeps; default 0. */
  readonly spin?: number;
  /**
   * Threads that decompress pages, where the source compresses them, 0 to 255; default 2. With 0 the
   * thread that reads does it.
   */
  readonly decompressThreads?: number;
  /** Threads that serve it; default the process's own pool, {@linkcode ThreadPool.shared}. */
  readonly pool?: ThreadPool;
}

/** Milliseconds between two looks whether a guest that is being loaded is held. */
const HELD_INTERVAL = 10;

/**
 * One incoming migration. Its memory is mapped in this process and outlives the migration: it is the
 * guest's until the destination is closed.
 *
 * @example
 * ```ts
 * import { Destination } from "./destination.ts";
 * import type { Guest } from "../migration/guest.ts";
 *
 * async function receive(guest: Guest): Promise<void> {
 *   await using destination = new Destination({ guest });
 *   await destination.listen({ transport: "tcp", host: "127.0.0.1", port: 4444 });
 *   await destination.finished;
 * }
 * ```
 */
export class Destination implements AsyncDisposable {
  readonly #guest: Guest;
  readonly #backing: Backing;
  readonly #spin: number;
  readonly #pool: ThreadPool;
  readonly #state = new DestinationState();
  readonly #stack = new DisposableStack();
  readonly #sockets = new DisposableStack();
  readonly #decompression: DecompressionThreads;
  readonly #uffd: Userfaultfd;
  readonly #backgroundWake: Eventfd;
  readonly #faultWake: Eventfd;
  readonly #answers = returnPathRing();
  readonly #controlAnswers: ControlAnswers;
  readonly #landed = landedRing();
  readonly #background: PoolTask<MainChannelInit, MainChannelMessage>;
  readonly #fault: PoolTask<FaultServerInit, FaultMessage>;
  readonly #finished = Promise.withResolvers<void>();
  readonly #waiters: { readonly status: DestinationStatus; readonly resolve: () => void }[] = [];
  #channels: IncomingChannels | undefined;
  #main: IncomingMain | undefined;
  #returnPath: SendingEnd | undefined;
  #blocks: ListeningBlocks | undefined;
  #machine: string | undefined;
  #status: DestinationStatus = "setup";
  #pauseReason: Error | undefined;
  #guestStarted = false;
  readonly #times = new ArrivalTimes();
  #ended = 0;
  #switching: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Opens the userfaultfd; no thread is needed before it listens.
   *
   * @param options what is received, and how
   * @throws {SyscallError} `EPERM` when this user may not use userfaultfd, with what to do about it
   * @throws {RangeError} for a number of decompression threads that cannot be
   */
  constructor(options: DestinationOptions) {
    this.#decompression = new DecompressionThreads(options.decompressThreads);
    this.#guest = options.guest;
    this.#backing = options.backing ?? "anonymous";
    this.#spin = options.spin ?? 0;
    this.#pool = options.pool ?? ThreadPool.shared;
    const features = UffdFeature.THREAD_ID |
      (this.#backing === "memfd" ? UffdFeature.MISSING_SHMEM | UffdFeature.MINOR_SHMEM : 0n);
    this.#uffd = this.#stack.use(new Userfaultfd({ features }));
    this.#backgroundWake = this.#stack.use(new Eventfd());
    this.#faultWake = this.#stack.use(new Eventfd());
    this.#controlAnswers = new ControlAnswers(this.#faultWake);
    this.#background = this.#pool.task(
      MAIN_CHANNEL_TASK,
      (message) => this.#onMainChannel(message),
    );
    this.#fault = this.#pool.task(FAULT_TASK, (message) => this.#onFault(message));
    this.#finished.promise.catch(() => {}); // whoever cares awaits `finished`
    const reading = this.#background.ended.catch((error) => this.#loseThread(error));
    reading.then(() => this.#decompression.stop());
    const serving = this.#fault.ended.catch((error) => this.#loseThread(error));
    serving.then(() => this.#channels?.takeBack());
  }

  /** Where the migration stands. */
  get status(): DestinationStatus {
    return this.#status;
  }

  /** The source's machine type, once it has said so. */
  get machine(): string | undefined {
    return this.#machine;
  }

  /** Why the migration is paused, if it is. */
  get pauseReason(): Error | undefined {
    return this.#pauseReason;
  }

  /** True when system calls on missing memory fail with EFAULT: all that an unprivileged user gets. */
  get userModeOnly(): boolean {
    return this.#uffd.userModeOnly;
  }

  /**
   * Resolves when every page is in place, rejects when the migration failed before the guest ran. It
   * stays pending while the migration is paused.
   */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Resolves when the migration has reached this status; rejects when it failed or was closed first. */
  async waitFor(status: DestinationStatus): Promise<void> {
    if (this.#status === status) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ status, resolve });
    const over = this.#finished.promise.then(() => {
      if (status === "completed") return;
      throw new Error(`Migration is completed and will not be: ${status}`);
    });
    await Promise.race([promise, over]);
  }

  /**
   * Listens for a source.
   *
   * @param address where; port 0 lets the kernel choose
   * @returns where it listens
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(address: SocketAddress): Promise<SocketAddress> {
    if (this.#channels !== undefined) throw new Error("A destination listens once: make another");
    await Promise.all([this.#background.prepare(), this.#fault.prepare()]);
    const listener = this.#sockets.use(await Listener.listen(address));
    this.#channels = new IncomingChannels(listener);
    this.#receive(this.#channels);
    return listener.address;
  }

  /** The figures so far. */
  statistics(): DestinationStatistics {
    const { connected } = this.#times;
    const end = this.#ended || monotonicNanoseconds();
    const pageSize = this.#blocks?.mapped.targetPageSize ?? 1;
    const bytes = this.#blocks?.mapped.blocks.reduce((sum, block) => sum + block.length, 0) ?? 0;
    return destinationStatistics(
      this.#status,
      this.#state,
      this.#decompression.statistics(),
      bytes / pageSize,
      connected === 0 ? 0 : (end - connected) / 1e6,
      this.#times.figures(),
    );
  }

  /**
   * Stops the guest and frees everything. While pages are missing and a thread still waits for one,
   * its memory and the userfaultfd stay as they are until the process ends: that thread stays held
   * rather than run on zeros. Closing again does nothing.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #receive(channels: IncomingChannels): Promise<void> {
    try {
      this.#main = await channels.main;
    } catch (error) {
      return this.#fail(error);
    }
    const { socket, connection } = this.#main;
    this.#sockets.use(socket);
    this.#returnPath = new SendingEnd(connection, FROM_SOURCE.RETURN_PATH);
    this.#times.connected = monotonicNanoseconds();
    this.#setStatus("active");
    this.#background.run({
      main: connection,
      uffd: this.#uffd.fd,
      wakeFd: this.#backgroundWake.fd,
      faultWakeFd: this.#faultWake.fd,
      state: this.#state.buffer,
      answers: this.#answers.buffer,
      landed: this.#landed.buffer,
      backing: this.#backing,
      decompression: this.#decompression.shared,
    });
  }

  #onMainChannel(message: MainChannelMessage): void {
    switch (message.kind) {
      case "configuration":
        this.#machine = message.machine;
        return;
      case "blocks":
        this.#blocks = message.blocks;
        return this.#serveFaults();
      case "compressed":
        return this.#decompression.start(message.method, this.#backgroundWake.fd);
      case "listen":
        return this.#controlAnswers.handOver();
      case "return-path":
        return this.#controlAnswers.open();
      case "arrived":
        this.#times.switched = message.switched;
        this.#times.arrived = monotonicNanoseconds();
        this.#switching = this.#switchOver(message).catch((error) => this.#failGuest(error));
        return;
      case "paused":
        return this.#pause(message.code, message.reason);
    }
  }

  #onFault(message: FaultMessage): void {
    if (message.kind === "answered") return this.#controlAnswers.onTaken(message.count);
    if (message.kind === "paused") return this.#pause(message.code, message.reason);
    this.#complete();
  }

  /** Long before the first fault, so that the guest does not wait for the thread to get going. */
  #serveFaults(): void {
    this.#fault.run({
      blocks: this.#blocks!,
      uffd: this.#uffd.fd,
      main: this.#main!.connection,
      wakeFd: this.#faultWake.fd,
      state: this.#state.buffer,
      answers: this.#answers.buffer,
      controlAnswers: this.#controlAnswers.buffer,
      landed: this.#landed.buffer,
      incoming: this.#channels!.handOver(),
      spin: this.#spin,
    });
  }

  /** Loads the device state and runs the guest; pages that are missing arrive meanwhile. */
  async #switchOver(
    { machine, precopy }: Extract<MainChannelMessage, { kind: "arrived" }>,
  ): Promise<void> {
    if (this.#status === "failed") return;
    this.#setStatus("device");
    const started = await arrive({
      guest: this.#guest,
      memory: { blocks: this.#blocks!.mapped.blocks },
      machine,
      precopy,
      returnPath: this.#returnPath!,
      answers: this.#controlAnswers,
      times: this.#times,
      isOver: () => this.#status !== "device" || this.#state.paused,
      onStart: () => this.#guestStarted = true,
    });
    if (!started) return;
    if (this.#status !== "device") return;
    if (precopy) return this.#complete();
    this.#setStatus("postcopy-active");
    // All pages may be in place already.
    this.#state.setGuestRuns();
    this.#faultWake.signal();
  }

  #complete(): void {
    this.#ended = monotonicNanoseconds();
    this.#setStatus("completed");
    this.#finished.resolve();
  }

  /** One of its tasks is no more: the other is of no use alone, and what is missing stays so. */
  #loseThread(error: Error): void {
    this.#state.pause();
    this.#backgroundWake.signal();
    this.#faultWake.signal();
    this.#pauseFor(error);
  }

  #pause(code: string, reason: string): void {
    this.#pauseFor(new MigrationError(code as MigrationErrorCode, reason));
  }

  #pauseFor(error: Error): void {
    this.#controlAnswers.giveUp();
    if (this.#status === "completed" || this.#status === "failed") return;
    if (!this.#guestStarted) return this.#fail(error);
    this.#pauseReason ??= error;
    this.#setStatus("postcopy-paused");
    // The source learns of it now, and the thread that still reads it too.
    this.#main?.socket.shutdown();
  }

  #failGuest(cause: unknown): void {
    if (cause instanceof MigrationError) this.#fail(cause, false);
    else {
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `Guest cannot run here: ${why}`;
      this.#fail(new MigrationError("GUEST_FAILED", message, { cause }), false);
    }
    this.#controlAnswers.shut(this.#returnPath!, 1).catch(() => {}); // it is gone
  }

  /** @param hangUp whether to end the connection at once; false when a word to the source is under way */
  #fail(error: unknown, hangUp = true): void {
    if (this.#status === "completed" || this.#status === "failed") return;
    this.#controlAnswers.giveUp();
    this.#ended = monotonicNanoseconds();
    this.#setStatus("failed");
    this.#finished.reject(reviveMigrationError(error));
    this.#channels?.refuse();
    // The source learns of it now, not when the owner gets round to closing.
    if (hangUp) this.#main?.socket.shutdown();
  }

  #setStatus(status: DestinationStatus): void {
    this.#status = status;
    for (const waiter of this.#waiters) if (waiter.status === status) waiter.resolve();
  }

  async #close(): Promise<void> {
    const complete = this.#status === "completed";
    this.#fail(new MigrationError("CANCELLED", "Destination was closed"), false);
    try {
      await this.#stopGuest();
    } finally {
      await this.#free(complete);
    }
  }

  async #stopGuest(): Promise<void> {
    // A guest that is being loaded may wait for pages: it gets them, or is held as its threads are.
    const { promise: held, resolve } = Promise.withResolvers<void>();
    const timer = setInterval(() => {
      if (this.#state.paused && waitingFaults(this.#uffd.fd) > 0) resolve();
    }, HELD_INTERVAL);
    try {
      await Promise.race([this.#switching, held]);
    } finally {
      clearInterval(timer);
    }
    if (this.#guestStarted) await this.#guest.stop();
  }

  async #free(complete: boolean): Promise<void> {
    this.#state.stop();
    this.#backgroundWake.signal();
    this.#faultWake.signal();
    await Promise.all([this.#background.join(), this.#fault.join()]);
    await this.#decompression.close();
    if (complete) await linger({ fd: this.#main!.socket.fd });
    await this.#channels?.close();
    this.#sockets.dispose();
    const held = !complete && waitingFaults(this.#uffd.fd) > 0;
    if (held) return;
    // Unmapped before the userfaultfd goes: a thread that came late dies rather than reads zeros.
    if (this.#blocks !== undefined) unmapBlocks(this.#blocks.mapped);
    this.#stack.dispose();
  }
}

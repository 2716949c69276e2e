/** The destination side of one migration: the control plane of the tasks that place pages. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import type { SocketAddress } from "../ffi/socket_address.ts";
import { UffdFeature, Userfaultfd } from "../ffi/userfaultfd.ts";
import { waitingFaults } from "../ffi/waiting_faults.ts";
import { ThreadPool } from "../migration/threads/thread_pool.ts";
import { DestinationTasks } from "./destination_tasks.ts";
import type { FaultMessage, Paused } from "./faults/fault_messages.ts";
import type { MainChannelMessage, ReadBefore } from "./incoming/main_channel.ts";
import { Pauses } from "./pauses.ts";
import { checkDecompressThreads } from "./decompression/decompression.ts";
import { Access } from "./connecting/access.ts";
import { DestinationSockets } from "./connecting/destination_sockets.ts";
import type { Ending } from "./connecting/late_source.ts";
import type { DestinationState } from "./placing/destination_state.ts";
import { IncomingMigration } from "./incoming_migration.ts";
import { StatusBoard } from "./status_board.ts";
import { unmapBlocks } from "./placing/destination_memory.ts";
import type { Guest } from "../migration/guest.ts";
import {
  MigrationError,
  type MigrationErrorCode,
  reviveMigrationError,
} from "../migration/migration_error.ts";
import { loadedOrHeld } from "./held_guest.ts";
import { arrive, guestFailure } from "./incoming/arrival.ts";
import { ArrivalTimes } from "./incoming/arrival_times.ts";
import type { ConnectionInit } from "../channel/connection.ts";
import type { DestinationOptions } from "./destination_options.ts";
import { FROM_SOURCE } from "../channel/role.ts";
import { SendingEnd } from "../channel/sending_end.ts";
import {
  type DestinationStatistics,
  destinationStatistics,
  type DestinationStatus,
} from "./statistics.ts";

export type { DestinationOptions } from "./destination_options.ts";

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
export class Destination extends IncomingMigration implements AsyncDisposable {
  readonly #guest: Guest;
  readonly #stack = new DisposableStack();
  readonly #sockets: DestinationSockets;
  readonly #uffd: Userfaultfd;
  readonly #tasks: DestinationTasks;
  readonly #pauses = new Pauses();
  readonly #board: StatusBoard;
  #returnPath: SendingEnd | undefined;
  #readBefore: ReadBefore | undefined;
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
   * @throws {RangeError} for a number of decompression threads, a stall timeout or a network that cannot be
   * @throws {TlsError} for credentials that cannot be used
   */
  constructor(options: DestinationOptions) {
    if (options.decompressThreads !== undefined) checkDecompressThreads(options.decompressThreads);
    const access = new Access(options);
    const board = new StatusBoard();
    super(access, board);
    this.#board = board;
    this.#stack.use(access);
    this.#sockets = new DestinationSockets(access.places);
    this.#guest = options.guest;
    const backing = options.backing ?? "anonymous";
    const features = UffdFeature.THREAD_ID |
      (backing === "memfd" ? UffdFeature.MISSING_SHMEM | UffdFeature.MINOR_SHMEM : 0n);
    this.#uffd = this.#stack.use(new Userfaultfd({ features }));
    this.#tasks = this.#stack.use(
      new DestinationTasks({
        pool: options.pool ?? ThreadPool.shared,
        uffd: this.#uffd.fd,
        backing,
        spin: options.spin ?? 0,
        options,
        onChannelLost: (error) => this.#loseChannel(error),
        onMainChannel: (message) => this.#onMainChannel(message),
        onFault: (message) => this.#onFault(message),
        onLost: (error) => this.#loseTask(error),
        onServed: () => this.#sockets.takeBack(),
      }),
    );
    this.#sockets.onMultifd = (owned, connection) => this.#tasks.multifd.take(owned, connection);
  }

  /** Why the migration is paused, until a source has resumed it. */
  get pauseReason(): Error | undefined {
    return this.#pauses.reason;
  }

  /** True when system calls on missing memory fail with EFAULT: all that an unprivileged user gets. */
  get userModeOnly(): boolean {
    return this.#uffd.userModeOnly;
  }

  /**
   * Resolves when every page is in place, rejects when the migration failed before the guest ran. It
   * stays pending while the migration is paused: a source may resume it, as often as it must.
   */
  get finished(): Promise<void> {
    return this.#board.finished;
  }

  /** Resolves when the migration has reached this status; rejects when it failed or was closed first. */
  async waitFor(status: DestinationStatus): Promise<void> {
    await this.#board.waitFor(status);
  }

  /**
   * Listens for a source.
   *
   * @param address where; port 0 lets the kernel choose
   * @returns where it listens
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(address: SocketAddress): Promise<SocketAddress> {
    if (this.#sockets.listening) throw new Error("A destination listens once: make another");
    await this.#tasks.prepare();
    const listening = await this.#sockets.listen(address);
    this.#receive();
    return listening;
  }

  /**
   * Pauses the migration, as QEMU's `migrate-pause` does: both connections end, the guest goes on until it
   * needs a page that is missing, and a source may resume. For a network that is known to be dead.
   *
   * @throws {MigrationError} `CANCELLED` when no guest runs here on memory that is missing
   */
  pause(): void {
    this.#requireGuest("paused");
    const breaks = this.#state.pause();
    this.#tasks.wake();
    if (breaks === 0) return;
    this.#pauseFor(breaks, new MigrationError("CANCELLED", "Migration was paused from this side"));
  }

  /**
   * Waits for a source that resumes: at the place where it listens anyway, or at another too.
   *
   * @param address where else; port 0 lets the kernel choose
   * @returns where the source may connect
   * @throws {MigrationError} `CANCELLED` when no guest runs here on memory that is missing
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async recover(address?: SocketAddress): Promise<SocketAddress> {
    this.#requireGuest("resumed");
    return await this.#sockets.listenAlso(address, (fd) => this.#tasks.listenAlso(fd));
  }

  /** The figures so far. */
  statistics(): DestinationStatistics {
    const { connected } = this.#times;
    const end = this.#ended || monotonicNanoseconds();
    const mapped = this.#readBefore?.blocks.mapped;
    const pageSize = mapped?.targetPageSize ?? 1;
    const bytes = mapped?.blocks.reduce((sum, block) => sum + block.length, 0) ?? 0;
    return destinationStatistics(
      this.#board.status,
      this.#state,
      this.#pauses,
      this.#tasks.decompressed(),
      bytes / pageSize,
      connected === 0 ? 0 : (end - connected) / 1e6,
      this.#times.figures(),
      this.#tasks.multifd.bytes,
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

  get #state(): DestinationState {
    return this.#tasks.state;
  }

  async #receive(): Promise<void> {
    let main: ConnectionInit;
    try {
      main = await this.#sockets.accept();
    } catch (error) {
      return this.#fail(error);
    }
    this.#returnPath = new SendingEnd(main, FROM_SOURCE.RETURN_PATH);
    this.#times.connected = monotonicNanoseconds();
    this.#board.set("active");
    this.#tasks.read(main);
  }

  #onMainChannel(message: MainChannelMessage): void {
    switch (message.kind) {
      case "configuration":
        this.#board.machine = message.machine;
        return;
      case "blocks": {
        this.#readBefore = message;
        // Long before the first fault, so that the guest does not wait for the thread to get going.
        return this.#tasks.place(message.blocks, () => {
          this.#tasks.serve(message.blocks, this.#sockets.main, this.#sockets.handOver());
        });
      }
      case "compressed":
        return this.#tasks.decompress(message.method);
      case "listen":
        return this.#tasks.answers.handOver();
      case "return-path":
        return this.#tasks.answers.open();
      case "arrived":
        this.#times.switched = message.switched;
        this.#times.arrived = monotonicNanoseconds();
        this.#switching = this.#switchOver(message).catch((error) => this.#failGuest(error));
        return;
      case "paused":
        return this.#onPaused(message);
    }
  }

  #onFault(message: FaultMessage): void {
    switch (message.kind) {
      case "answered":
        return this.#tasks.answers.onTaken(message.count);
      case "paused":
        return this.#onPaused(message);
      case "recovering":
        this.#returnPath!.replace(this.#sockets.replaceMain(message.main));
        if (this.#pauses.recovering(message.breaks)) this.#board.set("postcopy-recover");
        return;
      case "recovered":
        this.#tasks.recovered();
        if (this.#pauses.recovered(message.breaks)) this.#board.set("postcopy-active");
        return;
      case "completed":
        return this.#complete();
    }
  }

  /** Loads the device state and runs the guest; pages that are missing arrive meanwhile. */
  async #switchOver(
    { machine, precopy }: Extract<MainChannelMessage, { kind: "arrived" }>,
  ): Promise<void> {
    if (this.#board.status === "failed") return;
    this.#board.set("device");
    const started = await arrive({
      guest: this.#guest,
      memory: { blocks: this.#readBefore!.blocks.mapped.blocks },
      machine,
      precopy,
      returnPath: this.#returnPath!,
      answers: this.#tasks.answers,
      times: this.#times,
      isOver: () => this.#board.status !== "device" || this.#state.paused,
      onStart: () => {
        this.#guestStarted = true;
        if (!precopy) this.#state.setGuestStarted();
      },
    });
    if (!started || this.#board.over) return;
    // A connection that broke meanwhile has paused it, and may have been replaced by now.
    const before = this.#board.status === "device";
    if (precopy) return before ? this.#complete() : undefined;
    if (before) this.#board.set("postcopy-active");
    // All pages may be in place already.
    this.#state.setGuestRuns();
    this.#tasks.wake();
  }

  #complete(): void {
    this.#state.setOver();
    this.#tasks.multifd.over();
    this.#ended = monotonicNanoseconds();
    this.#board.complete();
    this.#tellLateSources(this.#readBefore);
  }

  /** One of its tasks is no more: the other is of no use alone, until there are two again. */
  #loseTask(error: Error): void {
    const breaks = this.#state.pause() || this.#state.breaks;
    this.#tasks.wake();
    this.#pauseFor(breaks, error);
    if (!this.#state.resumable || this.#closed !== undefined) return;
    this.#sockets.hangUp(); // the source may not have heard it from a task that is no more
    if (this.#tasks.makeAnew(this.#readBefore!, this.#sockets.main)) return;
    this.#state.setOver(); // whoever comes to resume is sent away
    this.#tasks.wake();
  }

  /** A channel of multifd broke: nothing comes by them any more once pages come on demand. */
  #loseChannel(error: Error): void {
    if (!this.#state.listening) this.#fail(error);
  }

  #onPaused({ breaks, code, reason }: Paused): void {
    this.#pauseFor(breaks, new MigrationError(code as MigrationErrorCode, reason));
  }

  #pauseFor(breaks: number, error: Error): void {
    this.#tasks.answers.giveUp();
    if (this.#board.over) return;
    if (!this.#guestStarted) return this.#fail(error);
    if (this.#pauses.paused(breaks, error)) this.#board.set("postcopy-paused");
  }

  #requireGuest(what: string): void {
    if (this.#state.resumable) return;
    throw new MigrationError(
      "CANCELLED",
      `Migration can be ${what} only while its guest runs here and lacks pages: it is ${this.#board.status}`,
    );
  }

  #failGuest(cause: unknown): void {
    this.#fail(guestFailure(cause), false);
    this.#tasks.answers.shut(this.#returnPath!, 1).catch(() => {}); // it is gone
  }

  /** @param hangUp whether to end the connection at once; false when a word to the source is under way */
  #fail(error: unknown, hangUp = true): void {
    if (this.#board.over) return;
    this.#tasks.answers.giveUp();
    this.#state.setOver(); // no source may resume it
    this.#tasks.multifd.over();
    this.#ended = monotonicNanoseconds();
    this.#board.fail(this.#tasks.multifd.explain(reviveMigrationError(error)));
    if (this.#guestStarted) this.#sockets.refuse();
    else this.#tellLateSources("failed");
    // The source learns of it now, not when the owner gets round to closing.
    if (hangUp) this.#sockets.hangUp();
  }

  /** A source that has not heard how it ended may ask: from here on it is told. */
  #tellLateSources(ending: Ending | undefined): void {
    this.#tasks.wake(); // where connections were accepted there, they are accepted here
    this.#sockets.takeBack(ending);
  }

  async #close(): Promise<void> {
    const complete = this.#board.completed;
    this.#fail(new MigrationError("CANCELLED", "Destination was closed"), false);
    try {
      // A guest that is being loaded may wait for pages: it gets them, or is held as its threads are.
      await loadedOrHeld(this.#switching, () => this.#state.paused && this.#holdsThreads);
      if (this.#guestStarted) await this.#guest.stop();
    } finally {
      await this.#free(complete);
    }
  }

  /** Whether a thread waits for a page, or may do so again in a moment. */
  get #holdsThreads(): boolean {
    return waitingFaults(this.#uffd.fd) > 0 || this.#tasks.refaults;
  }

  async #free(complete: boolean): Promise<void> {
    await this.#tasks.stop();
    this.#tasks.multifd.close();
    await this.#sockets.close(complete);
    if (!complete && this.#holdsThreads) return;
    // Unmapped before the userfaultfd goes: a thread that came late dies rather than reads zeros.
    if (this.#readBefore !== undefined) unmapBlocks(this.#readBefore.blocks.mapped);
    this.#stack.dispose();
  }
}

/** The source side of one migration: the control plane of the threads that send. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import { Eventfd } from "../ffi/eventfd.ts";
import { SyscallError } from "../ffi/errno.ts";
import { Socket, type WaitOptions } from "../ffi/socket.ts";
import type { SocketAddress } from "../ffi/socket_address.ts";
import { PageBitmap } from "../migration/memory/page_bitmap.ts";
import { Ring } from "../migration/threads/ring.ts";
import { WorkerThread } from "../migration/threads/worker_thread.ts";
import { Answers, untilAborted } from "./answers.ts";
import { withAdvice, withLoss } from "./advice.ts";
import type { BackgroundThreadInit } from "./background_worker.ts";
import { encodeOpening, encodeSwitchover, PING } from "./control_stream.ts";
import type { Image } from "./image/image.ts";
import { preemptRules } from "./machine_type.ts";
import { MigrationError, reviveMigrationError } from "../migration/migration_error.ts";
import type { Mode } from "./mode.ts";
import { REQUEST_RING_CAPACITY } from "./request_ring.ts";
import type { RequestServerInit, ReturnPathMessage } from "./request_server.ts";
import type { SenderInit } from "./sender_init.ts";
import { SourceState } from "./source_state.ts";
import {
  type SourceStatistics,
  sourceStatistics,
  type SourceStatus,
  type SourceTimes,
} from "./statistics.ts";

/** How to migrate. */
export interface SourceOptions {
  /** Where the destination listens. */
  readonly to: SocketAddress;
  /** Who sends requested pages and where; default `"preempt-full"`. */
  readonly mode?: Mode;
  /** Bytes a second of the background stream; requested pages are never limited. Default 0, no limit. */
  readonly maxPostcopyBandwidth?: number;
  /** Milliseconds without progress after which the destination counts as stalled; default 30000. */
  readonly stallTimeout?: number;
  /**
   * Microseconds for which the return-path worker looks for the next request before it sleeps, at
   * the price of a busy core; default 0. Helps where cores are idle: waking one takes 70 us.
   */
  readonly spin?: number;
  /** Cancels the migration. */
  readonly signal?: AbortSignal;
}

const DEFAULT_STALL_TIMEOUT = 30_000;
/** Bytes that the main channel may hold unsent beside a preempt channel: 1 ms at 1 Gbit/s. */
const UNSENT_LIMIT = 128 * 1024;
/** A QEMU 7.2 whose machine type does not say so reads nothing before it has both channels. */
const FIRST_PONG_TIMEOUT = 1_000;
/** Milliseconds in which a destination that closed one channel may close the other. */
const RETURN_PATH_GRACE = 100;

/**
 * One outgoing migration of an image. Its state is its own: a process may run several at once, also
 * of the same image.
 *
 * @example
 * ```ts
 * import { openImage } from "./image/open_image.ts";
 * import { Source } from "./source.ts";
 * import { parseSocketAddress } from "../ffi/socket_address.ts";
 *
 * async function serve(path: string, to: string): Promise<void> {
 *   using image = await openImage(path);
 *   await using source = new Source(image, { to: parseSocketAddress(to) });
 *   const { ram } = await source.run();
 *   if (ram.remaining !== 0) throw new Error("not all sent");
 * }
 * ```
 */
export class Source implements AsyncDisposable {
  readonly #image: Image;
  readonly #to: SocketAddress;
  readonly #mode: Mode;
  readonly #maxBandwidth: number;
  readonly #stallTimeout: number;
  readonly #spin: number;
  readonly #signal: AbortSignal | undefined;
  readonly #state = new SourceState();
  readonly #dirty: PageBitmap;
  readonly #requests = new Ring(REQUEST_RING_CAPACITY, 1);
  readonly #times: SourceTimes = { started: 0, connected: 0, switched: 0, loaded: 0, ended: 0 };
  readonly #stack = new DisposableStack();
  readonly #backgroundWake = this.#stack.use(new Eventfd());
  readonly #returnPathWake = this.#stack.use(new Eventfd());
  readonly #requestEvent = this.#stack.use(new Eventfd());
  // Started here, so that they have loaded by the time the destination answers.
  readonly #answers = new Answers();
  readonly #returnPath = new WorkerThread<RequestServerInit, ReturnPathMessage>(
    new URL("./return_path_worker.ts", import.meta.url),
    (message) => this.#answers.add(message),
  );
  readonly #background = new WorkerThread<BackgroundThreadInit, never>(
    new URL("./background_worker.ts", import.meta.url),
  );
  readonly #abort = new AbortController();
  #migration: Promise<void> | undefined;
  #preemptWatch: Promise<void> | undefined;
  #preemptLost = false;
  #status: SourceStatus = "setup";
  #closed: Promise<void> | undefined;

  /**
   * @param image an open image, which must stay open until the source is closed
   * @param options how to migrate
   */
  constructor(image: Image, options: SourceOptions) {
    this.#image = image;
    this.#to = options.to;
    this.#mode = options.mode ?? "preempt-full";
    this.#maxBandwidth = options.maxPostcopyBandwidth ?? 0;
    this.#stallTimeout = options.stallTimeout ?? DEFAULT_STALL_TIMEOUT;
    this.#spin = options.spin ?? 0;
    this.#signal = options.signal;
    this.#dirty = new PageBitmap(image.layout.pageLimit);
    for (const { firstPage, pageCount } of image.layout.blocks) {
      this.#dirty.fill(firstPage, pageCount);
    }
  }

  /** Where the migration stands. */
  get status(): SourceStatus {
    return this.#status;
  }

  /** The figures so far. */
  statistics(): SourceStatistics {
    return sourceStatistics(
      this.#status,
      this.#mode,
      this.#image.layout,
      this.#state,
      this.#times,
      this.#dirty.count(),
      monotonicNanoseconds(),
    );
  }

  /**
   * Migrates: connects, sends the device state, then every page. May be called once.
   *
   * @returns the final figures
   * @throws {MigrationError} when the destination fails, goes away, stalls or asks for nonsense
   * @throws {SyscallError} when it cannot be reached
   * @throws the signal's reason when it was cancelled
   */
  async run(): Promise<SourceStatistics> {
    if (this.#times.started !== 0) throw new Error("A source runs once: make another");
    this.#times.started = monotonicNanoseconds();
    try {
      this.#migration = this.#migrate();
      await this.#migration;
      this.#status = "completed";
    } catch (error) {
      const cancelled = this.#signal?.aborted || this.#closed !== undefined;
      this.#status = cancelled ? "cancelled" : "failed";
      const started = this.#state.guestLoaded;
      throw started
        ? withLoss(error, this.#dirty.count())
        : withAdvice(error, this.#image.machine, this.#mode);
    } finally {
      this.#times.ended = monotonicNanoseconds();
      await this.close();
    }
    return this.statistics();
  }

  /**
   * Ends all threads and connections; a migration under way rejects with `CANCELLED`. Closing again
   * does nothing.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #migrate(): Promise<void> {
    const abort = this.#abort;
    const signal = this.#signal === undefined
      ? abort.signal
      : AbortSignal.any([abort.signal, this.#signal]);
    // Whatever thread fails first ends every wait here with its reason.
    const fail = (error: unknown): never => {
      const reason = reviveMigrationError(error);
      abort.abort(reason);
      throw reason;
    };
    const wait: WaitOptions = { signal, timeout: this.#stallTimeout };

    const heard = this.#returnPath.ended.catch(fail);
    heard.catch(() => {}); // until it is awaited

    // The destination is not kept waiting: both threads have loaded when it hears of us.
    await untilAborted(Promise.all([this.#returnPath.ready, this.#background.ready]), signal);
    const main = this.#stack.use(await Socket.connect(this.#to, wait));
    const sent = this.#background.ended.catch(async (error) => {
      if (error.code === "CONNECTION_LOST") await this.#hearOut(main);
      return fail(error);
    });
    sent.catch(() => {});
    this.#times.connected = monotonicNanoseconds();
    this.#answers.onLoaded = () => this.#times.loaded = monotonicNanoseconds();
    const preempt = this.#mode !== "vanilla";
    if (preempt) main.setUnsentLimit(UNSENT_LIMIT);
    const rules = preemptRules(this.#image.machine);
    this.#returnPath.run({
      ...this.#threadInit(main.fd, rules.endOfSection),
      wakeFd: this.#returnPathWake.fd,
      backgroundWakeFd: this.#backgroundWake.fd,
      spin: this.#spin,
    });
    if (preempt && rules.connectAtOnce) await this.#connectPreempt(wait);

    this.#status = "active";
    await this.#send(main, encodeOpening(this.#image), wait);
    if (preempt && !rules.connectAtOnce) {
      await this.#answers.pong(PING.RETURN_PATH, FIRST_PONG_TIMEOUT, signal);
      await this.#connectPreempt(wait);
    }
    this.#status = "device";
    await this.#send(main, encodeSwitchover(this.#image), wait);
    this.#times.switched = monotonicNanoseconds();
    this.#status = "postcopy-active";

    this.#background.run({
      ...this.#threadInit(main.fd, rules.endOfSection),
      wakeFd: this.#backgroundWake.fd,
      returnPathWakeFd: this.#returnPathWake.fd,
      sectionId: this.#image.ramSection.id,
      maxBandwidth: this.#maxBandwidth,
    });
    await untilAborted(Promise.all([sent, heard]), signal);
    // It confirms the end also when a page that it asked for never came.
    if (this.#preemptLost && this.#state.urgent.bytes > 0) throw preemptClosed();
  }

  async #send(main: Socket, bytes: Uint8Array, wait: WaitOptions): Promise<void> {
    try {
      await main.sendAll(bytes, wait);
    } catch (cause) {
      if (cause instanceof SyscallError) {
        await this.#hearOut(main);
        this.#abort.signal.throwIfAborted();
        throw new MigrationError(
          "CONNECTION_LOST",
          `Destination went away: main channel: ${cause.code}`,
          { cause },
        );
      }
      if (isTimeout(cause)) {
        throw new MigrationError(
          "STALLED",
          `Destination has taken nothing on the main channel for ${
            this.#stallTimeout / 1000
          } s: see whether it still runs`,
          { cause },
        );
      }
      throw cause;
    }
  }

  /**
   * Lets the return path be read to its end: what a destination said before it went away tells more
   * than the broken connection behind it, and ends the migration first.
   */
  async #hearOut(main: Socket): Promise<void> {
    main.shutdown();
    await this.#returnPath.ended.catch(() => {});
  }

  async #connectPreempt(wait: WaitOptions): Promise<void> {
    try {
      const socket = this.#stack.use(await Socket.connect(this.#to, wait));
      this.#state.preemptFd = socket.fd;
      this.#preemptWatch = this.#watchPreempt(socket, wait.signal!);
    } catch (cause) {
      if (!(cause instanceof SyscallError) && !isTimeout(cause)) throw cause;
      const how = cause instanceof SyscallError ? cause.code : cause.message;
      throw new MigrationError(
        "CONNECTION_LOST",
        `Destination does not take the preempt channel: ${how}: it is gone, or postcopy-preempt is ` +
          "off there: turn it on, or use the mode vanilla",
        { cause },
      );
    }
  }

  /**
   * Fails when the destination closes the preempt channel: one without postcopy-preempt takes it and
   * closes it unread. A page sent there is lost, and the destination would wait for it for ever.
   */
  async #watchPreempt(socket: Socket, signal: AbortSignal): Promise<void> {
    try {
      await socket.closedByPeer({ signal });
    } catch {
      return; // the migration has ended
    }
    if (this.#state.backgroundEnded) return; // all is sent: now it may
    this.#preemptLost = true;
    // One that went away closes the return path too, and that is the better reason.
    const { promise: patience, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, RETURN_PATH_GRACE);
    await Promise.race([this.#returnPath.ended.catch(() => {}), patience]);
    clearTimeout(timer);
    this.#abort.abort(preemptClosed());
  }

  #threadInit(mainFd: number, preemptEndOfSection: boolean): Omit<SenderInit, "wakeFd"> {
    return {
      blocks: this.#image.layout.blocks,
      targetPageSize: this.#image.targetPageSize,
      pages: this.#image.pages,
      dirty: this.#dirty.buffer,
      state: this.#state.buffer,
      requests: this.#requests.buffer,
      mode: this.#mode,
      mainFd,
      requestFd: this.#requestEvent.fd,
      preemptEndOfSection,
      stallTimeout: this.#stallTimeout,
    };
  }

  async #close(): Promise<void> {
    this.#abort.abort(new MigrationError("CANCELLED", "Source was closed"));
    this.#state.stop();
    this.#backgroundWake.signal();
    this.#returnPathWake.signal();
    await this.#migration?.catch(() => {});
    await this.#preemptWatch;
    // The descriptors are closed only when no thread can use them: a number may be given out again.
    await Promise.all([this.#returnPath.join(), this.#background.join()]);
    this.#stack.dispose();
  }
}

function preemptClosed(): MigrationError {
  return new MigrationError("PEER_FAILED", "Destination closed the preempt channel");
}

function isTimeout(error: unknown): error is DOMException {
  return error instanceof DOMException && error.name === "TimeoutError";
}

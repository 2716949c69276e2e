/** The memory of a process tree that CRIU restores: served from its images, or from the host it was dumped on. */

import { Eventfd } from "../../../ffi/eventfd.ts";
import { Listener } from "../../../ffi/listener.ts";
import { Socket } from "../../../ffi/socket.ts";
import { formatSocketAddress, type SocketAddress } from "../../../ffi/socket_address.ts";
import { ImageError } from "../../../image/image_error.ts";
import { MigrationError, reviveMigrationError } from "../../../migration/migration_error.ts";
import { type PoolTask, ThreadPool } from "../../../migration/threads/thread_pool.ts";
import type { LazyEvent } from "../lazy.ts";
import { type LazyStatistics, type ServedProcess, statisticsOf } from "../lazy_statistics.ts";
import { LazyState } from "../lazy_state.ts";
import type { OnLoss } from "../lazy_task.ts";
import type { TouchOrderOptions } from "../kept_order.ts";
import { BASE_PAGE } from "../region.ts";
import type { TouchLog } from "../touch_log.ts";
import { CriuImages } from "./criu_images.ts";
import { giveUpDump } from "./page_server_link.ts";
import { CRIU_TASK, type CriuInit, type CriuMessage } from "./criu_task.ts";
import { HeldTree } from "./held_tree.ts";
import { dumpStamp, TreeOrder } from "./tree_order.ts";

/** What happens to a tree beside what happens to its processes. */
export type LazyTreeEvent =
  | LazyEvent
  /** CRIU says that all processes are restored, and run: the rest of their memory is filled from here on. */
  | { readonly event: "restored" }
  /** A process has forked, and its child is served too. */
  | { readonly event: "forked"; readonly pid: number }
  /** A process, or a child of it, is served by nobody, and gets zeros: of a server that was killed. */
  | { readonly event: "missed"; readonly pid: number; readonly reason: string }
  /** CRIU left before it said so: whatever processes there are is served until they end. */
  | { readonly event: "abandoned"; readonly reason: string };

/** Versions of CRIU by what its page server speaks: `"4.1"` also what is older, `"4.2"` what is newer. */
export type CriuVersion = "4.1" | "4.2";
/** All of them. */
export const CRIU_VERSIONS = ["4.1", "4.2"] as const satisfies readonly CriuVersion[];

/**
 * How a tree is served. The order in which its processes touched their memory before, by which it is filled, is
 * kept in `lazy-pages.postcopy-order` in the directory of the images.
 */
export interface LazyTreeOptions extends TouchOrderOptions {
  /** The directory of CRIU's images, its `-D`. */
  readonly images: string;
  /** CRIU's work directory, its `-W`, in which `lazy-pages.socket` is made. Default: that of the images. */
  readonly workDirectory?: string | undefined;
  /** Where `criu dump --lazy-pages` answers, for pages that were not written into the images. */
  readonly pageServer?: SocketAddress | undefined;
  /**
   * Unix socket of a holder (`lazy --holder`), which keeps what CRIU hands over should this process be killed: the
   * next one goes on where it was. `systemd`: the descriptor store of the service that this process is.
   */
  readonly holder?: string | undefined;
  /** The version of the CRIU there. Default `"4.1"`: nothing tells it. */
  readonly criuVersion?: CriuVersion | undefined;
  /**
   * What is done about whoever waits for a page that cannot be had: `"hold"` (the default) has it wait,
   * `"poison"` gives it SIGBUS.
   */
  readonly onLoss?: Exclude<OnLoss, "kill"> | undefined;
  /** Whether memory is filled that nobody asks for, once all processes are restored; default true. */
  readonly fill?: boolean | undefined;
  /** Threads to use; default those that all sessions of the process share. */
  readonly pool?: ThreadPool | undefined;
  /** Told what happens. */
  readonly onEvent?: ((event: LazyTreeEvent) => void) | undefined;
}

/**
 * Serves the memory of one process tree that `criu restore --lazy-pages` restores, in place of
 * `criu lazy-pages`.
 *
 * @example
 * ```ts ignore
 * import { LazyTree } from "./lazy_tree.ts";
 *
 * await using tree = await LazyTree.open({ images: "/var/lib/dump" });
 * await tree.listen();
 * // criu restore --lazy-pages -D /var/lib/dump
 * await tree.done;
 * ```
 */
export class LazyTree implements AsyncDisposable {
  readonly #options: LazyTreeOptions;
  readonly #images: CriuImages;
  readonly #closing = new AbortController();
  #server: Socket | undefined;
  #held: HeldTree | undefined;
  readonly #order: TreeOrder | undefined;
  readonly #touches: TouchLog | undefined;
  readonly #stack = new DisposableStack();
  readonly #state = new LazyState();
  readonly #done = Promise.withResolvers<void>();
  readonly #processes = new Map<number, ServedProcess>();
  #listener: Listener | undefined;
  #task: PoolTask<CriuInit, CriuMessage> | undefined;
  #wake: Eventfd | undefined;
  #serving: Promise<void> = Promise.resolve();
  #restored = false;
  #abandoned: string | undefined;
  #closed: Promise<void> | undefined;

  private constructor(
    options: LazyTreeOptions,
    images: CriuImages,
    order: TreeOrder | undefined,
  ) {
    this.#options = options;
    this.#order = order;
    this.#touches = order?.newLog();
    this.#images = this.#stack.use(images);
    this.#done.promise.catch(() => {}); // whoever wants to know asks
  }

  /**
   * Opens the images, and connects to the page server, with a holder not before {@linkcode LazyTree.listen};
   * before that nobody is served.
   *
   * @throws {ImageError} when they cannot be served
   * @throws {SyscallError} when the page server does not answer
   */
  static async open(options: LazyTreeOptions): Promise<LazyTree> {
    using stack = new DisposableStack();
    const images = stack.use(CriuImages.open(options.images));
    const { pageServer } = options;
    if (pageServer === undefined && images.pagesAtSource > 0) {
      throw new ImageError(
        "unsupported",
        options.images,
        `Pages that criu dump --lazy-pages did not write: ${images.pagesAtSource}`,
        "say where it answers with --criu-page-server tcp:HOST:PORT",
      );
    }
    const note = (text: string) => options.onEvent?.({ event: "note", text });
    const order = await TreeOrder.open(
      options.images,
      [...images.processes.values()],
      options,
      note,
    );
    const tree = new LazyTree(options, images, order);
    if (options.holder === undefined) await tree.#connect();
    stack.move();
    return tree;
  }

  /** Where CRIU connects. */
  get socket(): string {
    return `${this.#options.workDirectory ?? this.#options.images}/lazy-pages.socket`;
  }

  /** Resolves when all memory of all processes is there; rejects when CRIU gave up, or serving failed. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** Processes that are served now. */
  get processes(): number {
    return this.#processes.size;
  }

  /** Whether another server can go on with the processes. */
  get isHeld(): boolean {
    return this.#held !== undefined && !this.#state.alone;
  }

  /**
   * Makes the socket, and serves what CRIU hands over; with a holder what it handed over to a server before this
   * one, once that is gone.
   *
   * @throws {Error} when the holder is gone, or what it has cannot be gone on with
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(): Promise<void> {
    if (this.#task !== undefined) throw new Error("It listens already: make another");
    const { pool = ThreadPool.shared } = this.#options;
    const task = this.#task = pool.task(CRIU_TASK, (message) => this.#hear(message));
    await task.prepare(); // a thread takes 100 ms to start, for which processes would wait
    const { holder } = this.#options;
    if (holder === undefined) {
      this.#listener = await Listener.listen({ transport: "unix", path: this.socket });
    } else await this.#hold(holder);
    this.#run(task);
    this.#serving = this.#serve(task);
    await this.#held?.ready();
  }

  /** The figures of each process that is served now. */
  statistics(): LazyStatistics[] {
    return [...this.#processes.values()].map((process) => statisticsOf(process));
  }

  /**
   * Ends it. With a holder all is left to the next server. Without, processes that lack pages get SIGBUS where they
   * touch one (Linux 6.6): nobody else has their userfaultfd. Before CRIU has restored all, a dump at a page server
   * fails, and what was dumped goes on there. Closing again does nothing.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    this.#state.stop();
    this.#wake?.signal();
    await this.#serving;
    await this.#task?.join();
    if (this.isHeld) this.#listener?.leave();
    else this.#listener?.close();
    if (this.#wake === undefined) this.#giveUp(); // nobody was ever served
    this.#stack.dispose();
    // Last: from here on the next server may read what this one did not.
    this.#held?.close();
  }

  /** Connects to the page server, if there is one. */
  async #connect(): Promise<Socket | undefined> {
    const { pageServer } = this.#options;
    if (pageServer === undefined) return undefined;
    return this.#server = this.#stack.use(await Socket.connect(pageServer));
  }

  async #hold(holder: string): Promise<void> {
    const { images } = this.#options;
    const name = { images, stamp: await dumpStamp(images) };
    const note = (text: string) => this.#tell({ event: "note", text });
    using stack = new DisposableStack();
    const held = stack.use(await HeldTree.open(holder, name, note, this.#closing.signal));
    const { server, listener } = await held.start(this.socket, () => this.#connect());
    this.#server ??= server && this.#stack.use(server);
    this.#listener = listener;
    this.#held = held;
    held.watch(() => this.#loseHolder());
    stack.move();
  }

  /** Nothing is left to a next server any more. */
  #loseHolder(): void {
    this.#state.beAlone();
    for (const { pid } of this.#processes.values()) {
      this.#tell({ event: "unheld", pid, reason: "the holder is gone" });
    }
  }

  async #serve(task: PoolTask<CriuInit, CriuMessage>): Promise<void> {
    let ended = false;
    try {
      await task.ended;
      ended = !this.#state.stopped;
      await this.#keepOrder();
      if (this.#state.stopped) {
        throw new MigrationError("CANCELLED", "Ended from this side");
      }
      if (this.#abandoned !== undefined) {
        throw new MigrationError("PEER_FAILED", abandonedText(this.#abandoned));
      }
      this.#done.resolve();
    } catch (error) {
      this.#done.reject(reviveMigrationError(error));
    } finally {
      if (ended || !this.isHeld) {
        if (!this.#restored) this.#giveUp();
        this.#server?.close(); // the dump ends with it
        await this.#held?.drop();
      }
    }
  }

  async #keepOrder(): Promise<void> {
    const text = this.#touches && await this.#order!.keep(this.#touches);
    if (text !== undefined) this.#tell({ event: "note", text });
  }

  /** What was dumped goes on at the source: nothing of it runs here. */
  #giveUp(): void {
    const server = this.#server && this.#pageServer();
    if (server !== undefined) giveUpDump(server);
  }

  #run(task: PoolTask<CriuInit, CriuMessage>): void {
    const { onLoss = "hold", fill = true } = this.#options;
    const wake = this.#wake = this.#stack.use(new Eventfd());
    task.run({
      listenerFd: this.#listener?.fd ?? -1,
      wakeFd: wake.fd,
      state: this.#state.buffer,
      processes: [...this.#images.processes.values()],
      files: this.#images.files,
      server: this.#pageServer(),
      held: this.#held?.init(),
      orders: this.#orders(),
      touches: this.#touches?.buffer,
      onLoss,
      fill,
    });
  }

  #orders(): CriuInit["orders"] {
    const order = this.#order;
    if (order === undefined) return new Map();
    return new Map(
      [...this.#images.processes.values()].map((process) => [
        process.pid,
        { firstPage: order.firstPageOf(process.pid), plan: order.planOf(process) },
      ]),
    );
  }

  #pageServer(): CriuInit["server"] {
    const { pageServer, criuVersion = "4.1" } = this.#options;
    if (pageServer === undefined) return undefined;
    const taken = this.#held?.isConnected === true;
    return {
      connection: { fd: this.#server?.fd ?? -1 },
      name: formatSocketAddress(pageServer),
      headerBytes: criuVersion === "4.1" ? 24 : 32,
      resumeBy: taken ? this.#images.somePagesAtSource() : undefined,
      lost: this.#server === undefined
        ? "the server before this one has not kept its connection"
        : undefined,
    };
  }

  #hear(message: CriuMessage): void {
    if (message.kind === "connected") {
      this.#listener?.close();
      return void this.#held?.stopListening(this.socket);
    }
    if (message.kind === "missed") {
      return this.#tell({ event: "missed", pid: message.pid, reason: message.reason });
    }
    if (message.kind === "restored") {
      this.#restored = true;
      return this.#tell({ event: "restored" });
    }
    if (message.kind === "abandoned") {
      this.#abandoned = message.reason;
      return this.#tell({ event: "abandoned", reason: message.reason });
    }
    if (message.kind === "process") return this.#begin(message);
    const process = this.#processes.get(message.id)!;
    const { pid } = process;
    switch (message.kind) {
      case "lost":
        return this.#tell({ event: "lost", pid, reason: message.reason, doing: message.doing });
      case "held":
      case "unheld":
        return this.#tell({ event: message.kind, pid, reason: message.reason });
      case "found":
      case "filled":
        return this.#tell({ event: message.kind, pid });
      case "over":
        this.#processes.delete(message.id);
        return this.#tell({ event: "ended", ...statisticsOf(process) });
    }
  }

  #begin(message: Extract<CriuMessage, { kind: "process" }>): void {
    const { id, pid, parent, pages, ranges } = message;
    const total = pages * BASE_PAGE;
    this.#processes.set(id, { pid, total, state: new LazyState(message.state) });
    if (parent === undefined) {
      const uid = Deno.uid() ?? 0;
      this.#tell({ event: "handed-over", pid, uid, regions: ranges, bytes: total });
    } else {
      this.#tell({ event: "forked", pid: this.#processes.get(parent)?.pid ?? 0 });
    }
  }

  #tell(event: LazyTreeEvent): void {
    this.#options.onEvent?.(event);
  }
}

function abandonedText(reason: string): string {
  return `CRIU did not restore all processes: ${reason}: see what criu restore says (its -v4)`;
}

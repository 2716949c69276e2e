/** Memory of other processes that arrives on demand: whoever hands over a userfaultfd is served from an image. */

import { Listener } from "../../ffi/listener.ts";
import type { MappedMemory } from "../../ffi/memory.ts";
import type { Socket } from "../../ffi/socket.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { type Handover, receiveHandover } from "./handover.ts";
import { HeldMemory } from "./holder/held_memory.ts";
import { LazySession, type LazySessionOptions } from "./lazy_session.ts";
import type { LazyStatistics } from "./lazy_statistics.ts";
import { LAZY_TASK, type LazyInit, type LazyMessage, type OnLoss } from "./lazy_task.ts";
import { SpareTask } from "./spare_task.ts";
import type { TouchLog } from "./touch_log.ts";
import { TouchOrder } from "./touch_order.ts";
import { newRecord } from "./removal_record.ts";
import { parsePageAddress } from "./remote/page_address.ts";
import type { PageClientTlsOptions } from "./remote/page_client.ts";
import { type RemoteEvent, RemoteMemory, type RemoteStatistics } from "./remote/remote_memory.ts";
import { RegionMap } from "./region_map.ts";
import { type MemoryFormat, type MemoryImage, openMemoryImage } from "./memory_image.ts";
import type { DirtyPages } from "./written_memory.ts";

/** What happens to the processes that are served. */
export type LazyEvent =
  /** A process has handed its memory over, which is served from here on. */
  | {
    readonly event: "handed-over";
    readonly pid: number;
    readonly uid: number;
    readonly regions: number;
    readonly bytes: number;
  }
  /** Somebody connected and cannot be served. */
  | { readonly event: "refused"; readonly reason: string }
  /** Pages of a process cannot be had: `doing` says what is done about whoever waits for one. */
  | {
    readonly event: "lost";
    readonly pid: number;
    readonly reason: string;
    readonly doing: OnLoss;
  }
  /** They can be had again. */
  | { readonly event: "found"; readonly pid: number }
  /** Somebody waits, and what was to be done about it cannot be. */
  | { readonly event: "held"; readonly pid: number; readonly reason: string }
  /** A process is served, but held by nobody else any more: it would not outlive this one. */
  | { readonly event: "unheld"; readonly pid: number; readonly reason: string }
  /** Of a page server: see `RemoteEvent`. */
  | RemoteEvent
  /** What the user should know besides. */
  | { readonly event: "note"; readonly text: string }
  /** Everything that a process did not remove is in place. */
  | { readonly event: "filled"; readonly pid: number }
  /** It cannot be told what a process writes to, which was asked for. */
  | { readonly event: "untold"; readonly pid: number; readonly reason: string }
  /** The process is gone, or was let go. */
  | ({ readonly event: "ended" } & LazyStatistics);

/** How memory is served. */
export interface LazyOptions {
  /** Name of the file that pages come from: a memory file as it is, or an image of QEMU's. */
  readonly image?: string | undefined;
  /**
   * Instead, an image at a page server (`serve --listen`): `tcp:HOST:PORT/NAME`. One copy of it is made in this
   * host's memory as it comes, for all processes that are served.
   */
  readonly from?: string | undefined;
  /**
   * File of the order in which processes touched the image's memory in restores before, by which it is filled;
   * default `IMAGE.postcopy-order`, if that is there. `"off"`: none. An image at a page server has its order there.
   */
  readonly order?: string | undefined;
  /** Whether that order is kept, or made: what processes touch before it is filled; default false. */
  readonly record?: boolean | undefined;
  /** How connections to the page server are encrypted; default: not at all. */
  readonly tls?: PageClientTlsOptions | undefined;
  /** Milliseconds after which a page server that gives no sign of life counts as gone; default 30000. */
  readonly stallTimeout?: number | undefined;
  /**
   * Milliseconds without a connection to the page server after which pages that have not come count as lost, see
   * `onLoss`; default 10000. It is tried to connect again as long as it takes.
   */
  readonly lostAfter?: number | undefined;
  /**
   * How to read it: `"raw"`, its bytes are the memory; `"image"`, as `openImage` does. Default: raw, but a file
   * that begins as a stream of QEMU is refused, for a guest decides how its memory begins.
   */
  readonly format?: MemoryFormat | undefined;
  /**
   * What is done about whoever waits for a page that cannot be had, while it cannot: `"hold"` (the default) has
   * it wait, `"poison"` gives it SIGBUS, `"kill"` ends its process.
   */
  readonly onLoss?: OnLoss | undefined;
  /** Whether memory is filled that nobody asks for; default true. */
  readonly fill?: boolean | undefined;
  /**
   * Whether it is to be told what processes write to, see {@linkcode Lazy.dirtyPages}; default false. Pages of
   * zeros then take memory as others do.
   */
  readonly dirty?: boolean | undefined;
  /**
   * Unix socket of a holder (`lazy --holder`), which keeps what was handed over should this process be killed:
   * the next one goes on where it was. Without, whoever lacks pages then waits for ever, or gets zeros. `systemd`:
   * the descriptor store of the service that this process is.
   */
  readonly holder?: string | undefined;
  /** Threads to use; default those that all sessions of the process share. */
  readonly pool?: ThreadPool | undefined;
  /** Told what happens. */
  readonly onEvent?: ((event: LazyEvent) => void) | undefined;
}

/**
 * Serves the memory of processes that hand it over by a unix socket, as Firecracker does with a
 * `mem_backend` of type `Uffd`: any number, at once and one after another, all from one image.
 *
 * @example
 * ```ts ignore
 * import { Lazy } from "./lazy.ts";
 *
 * await using lazy = await Lazy.open({ image: "vm.mem", onEvent: console.log });
 * await lazy.listen("/run/vm.uffd");
 * // PUT /snapshot/load {"mem_backend": {"backend_type": "Uffd", "backend_path": "/run/vm.uffd"}, ...}
 * ```
 */
export class Lazy implements AsyncDisposable {
  readonly #image: MemoryImage | RemoteMemory;
  readonly #options: LazyOptions;
  readonly #order: TouchOrder | undefined;
  readonly #tasks: SpareTask<LazyInit, LazyMessage>;
  readonly #closing = new AbortController();
  readonly #sessions = new Set<LazySession>();
  readonly #arriving = new Set<Promise<void>>();
  #listener: Listener | undefined;
  #held: HeldMemory | undefined;
  #dropping: Promise<unknown> = Promise.resolve();
  #accepting: Promise<void> = Promise.resolve();
  #closed: Promise<void> | undefined;

  private constructor(
    image: MemoryImage | RemoteMemory,
    options: LazyOptions,
    order?: TouchOrder,
  ) {
    this.#order = order;
    this.#image = image;
    this.#options = options;
    this.#tasks = new SpareTask(options.pool ?? ThreadPool.shared, LAZY_TASK);
  }

  /**
   * Opens the image, or calls the page server for it; nobody is served before {@linkcode Lazy.listen}.
   *
   * @throws {ImageError} when it cannot be served
   * @throws {SyscallError} from open or mmap, or when the page server cannot be reached
   * @throws {MigrationError} `PEER_FAILED` when the page server refuses
   * @throws {TlsError} for credentials that cannot be used, or when one end does not accept the other
   * @throws {SocketAddressError} for an address that cannot be
   */
  static async open(options: LazyOptions): Promise<Lazy> {
    const { image, from, format, tls, stallTimeout, lostAfter, onEvent } = options;
    if ((image === undefined) === (from === undefined)) {
      throw new RangeError("Pages come from an image or from a page server: give one of both");
    }
    const note = (text: string) => onEvent?.({ event: "note", text });
    if (image !== undefined) {
      const file = await openMemoryImage(image, format);
      const order = file.image &&
        await TouchOrder.open(file.image, file.memory.spans, options, note);
      return new Lazy(file, options, order);
    }
    const remote = await RemoteMemory.open({
      from: parsePageAddress(from!),
      tls,
      stallTimeout,
      lostAfter,
      pool: options.pool ?? ThreadPool.shared,
      tell: (event) => onEvent?.(event),
      note,
    });
    return new Lazy(remote, options);
  }

  /** Processes that are served now. */
  get processes(): number {
    return this.#sessions.size;
  }

  /**
   * Serves whoever connects, and with a holder whoever was served before; waits until a server before it, which
   * has the holder, is gone.
   *
   * @param path of a unix socket, which is made; whoever is to connect needs write permission for it
   * @throws {SyscallError} for example `EADDRINUSE`
   */
  async listen(path: string): Promise<void> {
    if (this.#listener !== undefined) throw new Error("It listens already: make another");
    await this.#tasks.prepare();
    const { holder } = this.#options;
    if (holder === undefined) {
      this.#listener = await Listener.listen({ transport: "unix", path });
    } else {
      const { length } = this.#image.memory;
      this.#held = await HeldMemory.open(holder, length, this.#closing.signal);
      for (const reason of this.#held.foreign) this.#refuse(new Error(reason));
      for (const { id, handover, record } of this.#held.taken.splice(0)) {
        this.#serve(handover, record, id);
      }
      this.#listener = await this.#held.listen(path);
      await this.#held.ready();
    }
    this.#accepting = this.#accept(this.#listener);
  }

  /** The figures of each process that is served now. */
  statistics(): LazyStatistics[] {
    return [...this.#sessions].map((session) => session.statistics());
  }

  /** The figures of an image at a page server; undefined when it is a file. */
  remoteStatistics(): RemoteStatistics | undefined {
    return this.#image instanceof RemoteMemory ? this.#image.statistics() : undefined;
  }

  /**
   * The pages that each process has changed since it was restored, for the next snapshot: such as have registered
   * all of their memory for asynchronous write protection too (`UFFDIO_REGISTER_MODE_WP`, `UFFD_FEATURE_WP_ASYNC`,
   * Linux 6.7). The others are left out: an event has said why. Each should stand still meanwhile.
   */
  async dirtyPages(): Promise<DirtyPages[]> {
    const told = [...this.#sessions].filter(({ untold }) => untold === undefined);
    const length = this.#image.memory.length;
    const found = await Promise.all(
      told.map((session) => session.dirtyPages(length).catch(() => undefined)),
    );
    return found.filter((each) => each !== undefined); // one that has ended has none
  }

  /** Resolves when nobody is served any more. */
  async idle(): Promise<void> {
    while (this.#sessions.size > 0 || this.#arriving.size > 0) {
      await Promise.race([...this.#arriving, ...[...this.#sessions].map(({ ended }) => ended)]);
    }
  }

  /**
   * Lets go of all processes. One that lacks pages and keeps its userfaultfd open waits at the next of
   * them; one that does not gets zeros: end it before. Closing again does nothing.
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
    await this.#accepting;
    await Promise.all(this.#arriving);
    await Promise.all([...this.#sessions].map((session) => session.close()));
    await Promise.all(this.#arriving);
    await this.#tasks.close();
    await this.#dropping; // whoever ends the holder behind this finds nothing in it
    if (this.#held === undefined) this.#listener?.close();
    else this.#listener?.leave(); // the next server goes on with it
    // Last: from here on the next server may read what this one did not.
    this.#held?.close();
    if (this.#image instanceof RemoteMemory) await this.#image.close();
    else this.#image[Symbol.dispose]();
  }

  async #accept(listener: Listener): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        const socket = await listener.accept({ signal });
        const arriving = this.#arrive(socket).finally(() => this.#arriving.delete(arriving));
        this.#arriving.add(arriving);
      } catch (error) {
        if (signal.aborted) return;
        // No descriptor is left, mostly: those that are served need none, and one of them may end.
        this.#refuse(error);
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_AGAIN));
      }
    }
  }

  async #arrive(socket: Socket): Promise<void> {
    const { signal } = this.#closing;
    let handover: Handover;
    try {
      handover = await receiveHandover(socket, this.#image.memory.length, signal);
    } catch (error) {
      if (!signal.aborted) this.#refuse(error);
      return;
    }
    const record = newRecord(new RegionMap(handover.regions).pageCount);
    this.#serve(handover, record, await this.#hold(handover, record));
  }

  /** Has it held before any of its events is read, which would be lost with this process. */
  async #hold(handover: Handover, record: MappedMemory): Promise<string | undefined> {
    try {
      return await this.#held?.keep(handover, record);
    } catch (error) {
      this.#tell({ event: "unheld", pid: handover.peer.pid, reason: textOf(error) });
      return undefined;
    }
  }

  #serve(handover: Handover, record: MappedMemory, id?: string): void {
    const { pid, uid } = handover.peer;
    const bytes = handover.regions.reduce((sum, { length }) => sum + length, 0);
    this.#tell({ event: "handed-over", pid, uid, regions: handover.regions.length, bytes });
    const { onLoss = "hold", fill = true, dirty = false } = this.#options;
    const remote = this.#image instanceof RemoteMemory ? this.#image : undefined;
    const arriving = remote?.enter();
    const touches = this.#order?.newLog();
    const session = new LazySession(handover, record, {
      memory: this.#image.memory,
      arriving,
      plan: this.#order?.plan,
      touches: touches?.buffer,
      onLoss,
      fill,
      dirty,
      newTask: (hear) => this.#tasks.take(hear),
      tell: (message) => this.#hear(pid, message),
    });
    this.#sessions.add(session);
    const { untold } = session;
    if (dirty && untold !== undefined) this.#tell({ event: "untold", pid, reason: untold });
    session.ended.then(() => {
      this.#sessions.delete(session);
      if (arriving !== undefined) remote!.leave(arriving);
      if (id !== undefined && !session.closed) this.#drop(id);
      this.#tell({ event: "ended", ...session.statistics() });
      if (touches !== undefined) this.#keepOrder(touches);
    });
  }

  #drop(id: string): void {
    this.#dropping = Promise.all([this.#dropping, this.#held!.drop(id)]);
  }

  #keepOrder(touches: TouchLog): void {
    const keeping = this.#order!.keep(touches)
      .then((text) => text !== undefined && this.#tell({ event: "note", text }))
      .then(() => {})
      .finally(() => this.#arriving.delete(keeping));
    this.#arriving.add(keeping);
  }

  #hear(pid: number, message: Parameters<LazySessionOptions["tell"]>[0]): void {
    switch (message.kind) {
      case "lost":
        return this.#tell({ event: "lost", pid, reason: message.reason, doing: message.doing });
      case "held":
        return this.#tell({ event: "held", pid, reason: message.reason });
      case "failed":
        return this.#tell({ event: "held", pid, reason: textOf(message.error) });
      case "found":
      case "filled":
        return this.#tell({ event: message.kind, pid });
    }
  }

  #refuse(error: unknown): void {
    this.#tell({ event: "refused", reason: textOf(error) });
  }

  #tell(event: LazyEvent): void {
    this.#options.onEvent?.(event);
  }
}

/** Milliseconds after which it is accepted again, when that failed. */
const ACCEPT_AGAIN = 100;

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : `${error}`;
}

/** Serves a process tree that CRIU restores: takes each userfaultfd that it hands over, until nothing is missing. */

import { monotonicNanoseconds } from "../../../ffi/clock.ts";
import { closeDescriptor, makeNonBlocking } from "../../../ffi/descriptors.ts";
import { clearEvent } from "../../../ffi/eventfd.ts";
import { PollEvents } from "../../../ffi/poll.ts";
import type { FaultReader } from "../../../ffi/fault_reader.ts";
import { yieldProcessor } from "../../../ffi/scheduling.ts";
import { MigrationError } from "../../../migration/migration_error.ts";
import type { Task, TaskPoll, Tell } from "../../../migration/threads/task.ts";
import { LazyState } from "../lazy_state.ts";
import { LOOK_INTERVAL } from "../page_loss.ts";
import { TouchLog } from "../touch_log.ts";
import type { AddressHooks } from "./address_placer.ts";
import { CriuPages } from "./criu_pages.ts";
import { CriuProcess } from "./criu_process.ts";
import type { CriuProcessInit } from "./criu_process_init.ts";
import type { CriuInit, CriuMessage } from "./criu_task.ts";
import type { CriuTree } from "./criu_tree.ts";
import { type DumpedProcess, PageRuns } from "./page_runs.ts";
import { PageServerLink } from "./page_server_link.ts";
import { PlacedPages } from "./placed_pages.ts";
import { ProcessMap } from "./process_map.ts";
import { RestoreConnection } from "./restore_connection.ts";
import type { RestoreSocket } from "./restore_socket.ts";
import type { Segment } from "./segments.ts";
import { RECORD_FULL, TreeKeeping } from "./tree_keeping.ts";
import { PouchKind } from "./tree_pouch.ts";
import type { TreeRecord } from "./tree_record.ts";

/** Slots of the poll; behind them one for each process that ever was. */
const CRIU = 0;
const WAKE = 1;
const SERVER = 2;
const PROCESSES = 3;

/** Nanoseconds for marking what is missing at the end, and tries where there is no time. */
const LEAVE_PATIENCE = 2e9;
const MARKING_TRIES = 1000;

/** The task of one tree. */
export class CriuServer implements Task, CriuTree<CriuProcess> {
  readonly link: PageServerLink | undefined;
  readonly hooks: AddressHooks;
  readonly touches: TouchLog | undefined;
  readonly #init: CriuInit;
  readonly #tell: Tell<CriuMessage>;
  readonly #poll: TaskPoll;
  readonly #state: LazyState;
  readonly #dumped: ReadonlyMap<number, DumpedProcess>;
  readonly #keeping: TreeKeeping;
  readonly #processes = new Map<CriuProcess, Served>();
  /** By process: what was told last. */
  readonly #held = new Map<number, string>();
  readonly #connection: RestoreConnection;
  #keeps = true;
  #patience = Infinity;
  #leaving: number | undefined;

  /** @param hooks of tests */
  constructor(
    init: CriuInit,
    tell: Tell<CriuMessage>,
    poll: TaskPoll,
    hooks: AddressHooks = {},
  ) {
    this.#init = init;
    this.#tell = tell;
    this.#poll = poll;
    this.hooks = hooks;
    this.touches = init.touches && new TouchLog(init.touches);
    this.#state = new LazyState(init.state);
    this.#dumped = new Map(init.processes.map((process) => [process.pid, process]));
    if (init.server !== undefined) {
      this.link = new PageServerLink(init.server);
      poll.watch(SERVER, this.link.fd, PollEvents.IN);
    }
    this.#connection = new RestoreConnection(init.listenerFd, poll, CRIU, {
      connected: (fd) => this.#connected(fd),
      restored: (pid, socket) => this.#arrive(pid, socket),
      finished: () => this.#finish(),
      disconnected: (reason) => {
        if (!this.restored) this.#abandon(reason);
      },
    });
    poll.watch(WAKE, init.wakeFd, PollEvents.IN);
    const segmentsOf = (pid: number) => dumpedSegments(new PageRuns(this.#dumped.get(pid)!.runs));
    this.#keeping = new TreeKeeping(init.held, segmentsOf, hooks.renewAt);
    this.#takeOver();
  }

  /** See {@linkcode CriuTree.restored}. */
  get restored(): boolean {
    return this.#keeping.facts.restored;
  }

  /** See {@linkcode CriuTree.record}. */
  get record(): TreeRecord | undefined {
    return this.#keeping.record;
  }

  /** See {@linkcode CriuTree.firstPageOf}. */
  firstPageOf(imageId: number): number {
    return this.#init.orders.get(imageId)?.firstPage ?? 0;
  }

  /** Takes what came, reads what processes do, answers them, and fills a little. */
  step(): boolean {
    this.#patience = Infinity;
    if (this.#poll.ready(WAKE) !== 0) clearEvent(this.#init.wakeFd);
    if (this.#state.stopped) return this.#leave();
    this.wait(this.#connection.step());
    const now = monotonicNanoseconds();
    for (const [process, { pages }] of this.#processes) {
      pages.begin(now);
      process.read();
      process.settle();
    }
    this.#takePages();
    for (const process of this.#processes.keys()) process.answer();
    const mayFill = this.#init.fill && this.restored;
    if (mayFill && this.#fill()) this.again();
    for (const process of this.#processes.keys()) this.#endIfOver(process, now, mayFill);
    this.#tidy();
    if (this.#processes.size > 0) this.wait(LOOK_INTERVAL);
    else if (this.restored || this.#keeping.facts.abandoned) {
      if (this.#closeLink()) return true;
    }
    if (this.#patience !== Infinity) this.#poll.sleep(this.#patience);
    return false;
  }

  /**
   * Closes what came. Whoever still lacks pages would get zeros from then on, unless it is held: where this ends
   * early, because of a mistake or another's on its thread, they are marked.
   */
  [Symbol.dispose](): void {
    for (const process of [...this.#processes.keys()]) {
      for (let tries = 0; tries < MARKING_TRIES && !this.#mark(process); tries++) yieldProcessor();
      this.#release(process);
    }
    this.#connection[Symbol.dispose]();
    this.link?.[Symbol.dispose]();
  }

  /** See {@linkcode CriuTree.wait}. */
  wait(nanoseconds: number): void {
    if (nanoseconds < this.#patience) this.#patience = nanoseconds;
  }

  /** See {@linkcode CriuTree.again}. */
  again(): void {
    this.#poll.again();
  }

  /** See {@linkcode CriuTree.holdChildren}. */
  holdChildren(reader: FaultReader, count: number): void {
    this.#keeping.holdChildren(reader, count);
  }

  /** See {@linkcode CriuTree.forked}. */
  forked(parent: CriuProcess, uffd: number): void {
    this.again(); // its faults may be there already
    const { runs } = parent;
    const map = parent.map.fork(this.#keeping.facts.nextId++);
    const placed = PlacedPages.make(runs.pageCount, this.record !== undefined, parent.placed);
    this.#add({ uffd, map, runs, placed, pid: 0, parent: parent.id });
  }

  /** See {@linkcode CriuTree.held}. */
  held({ id }: CriuProcess, reason: string): void {
    if (this.#held.get(id) === reason) return; // it is tried again and again
    this.#held.set(id, reason);
    this.#tell({ kind: "held", id, reason });
  }

  /** Goes on with what a server before this one had. */
  #takeOver(): void {
    const keeping = this.#keeping;
    for (const map of keeping.maps) {
      const uffd = keeping.take(PouchKind.PROCESS, map.id);
      if (uffd === undefined) {
        keeping.missed(map);
        continue;
      }
      const runs = this.#runsOf(map.imageId);
      const fd = keeping.take(PouchKind.PLACED, map.id);
      // Without it pages are placed once more, which the kernel refuses.
      const placed = fd === undefined
        ? PlacedPages.make(runs.pageCount, false)
        : PlacedPages.take(fd, runs.pageCount);
      if (fd !== undefined) closeDescriptor(fd);
      const plan = this.#init.orders.get(map.imageId)?.plan;
      this.#add({ uffd, map, runs, placed, plan, pid: map.imageId }).wakeAll();
    }
    const { connected, restored, abandoned, missed } = keeping.facts;
    for (const pid of missed.values()) this.#tell({ kind: "missed", pid, reason: MISSED });
    const over = restored || abandoned;
    const connection = over ? undefined : keeping.take(PouchKind.CONNECTION, 0);
    keeping.dropRest();
    if (restored) this.#tell({ kind: "restored" });
    if (connection !== undefined) this.#connection.connect(connection);
    else if (connected && !over) this.#abandon("its connection was lost with the server before");
    else if (abandoned) this.#tell({ kind: "abandoned", reason: "so said the server before" });
  }

  #connected(fd: number): void {
    this.#keeping.connected(fd);
    this.#tell({ kind: "connected" });
  }

  #arrive(pid: number, socket: RestoreSocket): void {
    const uffd = socket.takeDescriptor();
    if (uffd === undefined) {
      const what = socket.lost
        ? "no descriptor is left: raise the limit with ulimit -n"
        : "no descriptor came with it";
      throw new MigrationError("BAD_PEER", `Process ${pid} cannot be served: ${what}`);
    }
    if (!this.#dumped.has(pid)) {
      closeDescriptor(uffd);
      throw new MigrationError(
        "BAD_PEER",
        `Process that has no image, pagemap-${pid}.img: give the directory that criu restore has`,
      );
    }
    // A server that was killed before the message had left the connection has kept it.
    if (this.#keeping.facts.arrived.has(pid)) return closeDescriptor(uffd);
    makeNonBlocking(uffd);
    const runs = this.#runsOf(pid);
    const map = new ProcessMap(this.#keeping.arrived(pid, uffd), pid, dumpedSegments(runs));
    const placed = PlacedPages.make(runs.pageCount, this.record !== undefined);
    const { plan } = this.#init.orders.get(pid) ?? {};
    this.#add({ uffd, map, runs, placed, plan, pid });
  }

  #runsOf(pid: number): PageRuns {
    return new PageRuns(this.#dumped.get(pid)!.runs);
  }

  #add({ uffd, map, runs, placed, plan, pid, parent }: NewProcess): CriuProcess {
    const { id } = map;
    if (placed.fd >= 0) this.#keeping.hold(PouchKind.PLACED, id, placed.fd);
    const { files, onLoss } = this.#init;
    const pages = new CriuPages(runs, files, onLoss, (message) => {
      if (message.kind !== "filled" && message.kind !== "read") this.#tell({ ...message, id });
    });
    const process = new CriuProcess({ uffd, map, runs, placed: placed.bitmap, plan }, pages, this);
    this.#processes.set(process, { pages, placed });
    this.#poll.watch(PROCESSES + id, uffd, PollEvents.IN);
    const { segments } = map.addresses;
    const count = segments.reduce((sum, segment) => sum + segment.pages, 0);
    const state = process.state.buffer;
    this.#tell({ kind: "process", id, pid, parent, pages: count, ranges: segments.length, state });
    const reason = this.#keeping.whyNot(id);
    if (reason !== undefined) this.#tell({ kind: "unheld", id, reason });
    return process;
  }

  #finish(): void {
    this.#keeping.restored();
    this.#tell({ kind: "restored" });
  }

  #abandon(reason: string): void {
    this.#keeping.abandoned();
    this.#tell({ kind: "abandoned", reason });
  }

  #tidy(): void {
    const processes = this.#processes;
    if (this.#keeping.tidy(() => [...processes.keys()].map(({ map }) => map))) return;
    if (!this.#keeps) return;
    this.#keeps = false;
    for (const { id } of processes.keys()) this.#tell({ kind: "unheld", id, reason: RECORD_FULL });
  }

  #takePages(): void {
    const { link } = this;
    if (link === undefined) return;
    link.step();
    if (link.lost !== undefined) this.#poll.watch(SERVER, -1, 0);
    // As long as what is here cannot be placed, more that comes would wake for nothing.
    else this.#poll.watch(SERVER, link.fd, link.blocked ? 0 : PollEvents.IN);
  }

  /** Gives each process a turn; returns whether there is more to do. */
  #fill(): boolean {
    let more = false;
    for (const process of this.#processes.keys()) more = process.fill() || more;
    return more;
  }

  #endIfOver(process: CriuProcess, now: number, mayFill: boolean): void {
    process.lookForDeath(now);
    const { id } = process;
    if (!process.gone) {
      if (!mayFill || !process.complete) return;
      this.#tell({ kind: "filled", id });
    }
    this.#end(process);
  }

  #end(process: CriuProcess): void {
    this.#keeping.over(process.map);
    this.#release(process);
    this.#keeping.forget(process.id);
  }

  #release(process: CriuProcess): void {
    const { placed } = this.#processes.get(process)!;
    this.#processes.delete(process);
    this.#poll.watch(PROCESSES + process.id, -1, 0);
    closeDescriptor(process.uffd);
    placed[Symbol.dispose]();
    this.#tell({ kind: "over", id: process.id });
  }

  /** Tells the page server how it ended; true when it has heard it. */
  #closeLink(): boolean {
    const { link } = this;
    if (link === undefined) return true;
    if (!this.restored) return true; // the owner tells it
    link.close();
    link.step();
    return link.closed;
  }

  /** It was told to end: whoever lacks pages must not get zeros. True when all is done that can be. */
  #leave(): boolean {
    const now = monotonicNanoseconds();
    this.#leaving ??= now;
    let marked = true;
    for (const process of this.#processes.keys()) marked = this.#mark(process) && marked;
    if (marked) return true;
    if (now - this.#leaving > LEAVE_PATIENCE) {
      for (const process of this.#processes.keys()) {
        this.held(
          process,
          "It changes its memory all the time: missing pages may read as zeros now",
        );
      }
      return true;
    }
    this.again();
    return false;
  }

  #mark(process: CriuProcess): boolean {
    if (!this.#state.alone && this.#keeping.holds(process.id)) return true; // the next server goes on
    try {
      process.read();
      process.settle();
      return process.poisonMissing();
    } catch (error) {
      this.held(process, `${(error as Error).message}: its missing pages read as zeros now`);
      return true;
    }
  }
}

/** What belongs to a process. */
interface Served {
  readonly pages: CriuPages;
  readonly placed: PlacedPages;
}

/** A process that is to be served; `pid` and `parent` are for messages. */
interface NewProcess extends Pick<CriuProcessInit, "uffd" | "map" | "runs" | "plan"> {
  readonly placed: PlacedPages;
  readonly pid: number;
  readonly parent?: number;
}

/** What is told of a process that is lost. */
const MISSED =
  "A child that was forked in the moment in which the server before was killed, or a process that it said not to be " +
  "held, is served by nobody, and reads zeros for what it lacks: end it";

/** The pages of a process where they were when it was dumped. */
function dumpedSegments(pages: PageRuns): readonly Omit<Segment, "epoch">[] {
  return pages.runs.map((run, index) => ({
    address: run.address,
    pages: run.pages,
    firstPage: pages.firstPageOf(index),
  }));
}

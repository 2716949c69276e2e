/** Memory that the daemon serves on demand: what `lazy` does, without a terminal. */

import { lazyProgressText, lazyText } from "../../client/command/lazy_report.ts";
import {
  LazyTree,
  type LazyTreeEvent,
  type LazyTreeOptions,
} from "../../client/lazy/criu/lazy_tree.ts";
import { Lazy, type LazyOptions } from "../../client/lazy/lazy.ts";
import type { DirtyPages } from "../../client/lazy/written_memory.ts";
import type { LazyHostStatistics, Session, SessionStatus, SessionView } from "./session.ts";
import {
  type Explanation,
  explanationOf,
  type RecordInit,
  SessionRecord,
  unsupported,
} from "./session_record.ts";

/** What a lazy session is made from. */
export interface LazyInit extends RecordInit {
  readonly options:
    | { readonly kind: "firecracker"; readonly socket: string; readonly lazy: LazyOptions }
    | { readonly kind: "criu"; readonly tree: LazyTreeOptions };
  /** Sees that there may be so much more memory; throws when not. */
  readonly admit: (bytes: number) => void;
}

/** What decides what may be done with it. */
interface Traits {
  /** Whether a holder has what was handed over, so that it may end at any time. */
  readonly held: () => boolean;
  /** Whether it is told what processes write to. */
  readonly dirty: boolean;
}

/** Bytes of a page of an image at a page server. */
const PAGE = 4096;

/** One server of memory: of any number of VMs, or of one tree of processes. */
export class LazyHostSession implements Session {
  readonly direction = "lazy";
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  readonly #record: SessionRecord;
  /** Undefined when it has ended: what it held is not kept with it. */
  #server: Lazy | LazyTree | undefined;
  readonly #traits: Traits;
  readonly #cancelled = Promise.withResolvers<void>();
  #final: LazyHostStatistics | undefined;

  private constructor(record: SessionRecord, server: Lazy | LazyTree, traits: Traits) {
    this.#record = record;
    this.#server = server;
    this.#traits = traits;
    // A mistake in one session ends that one, and not the daemon with all others.
    this.ended = this.#run().catch((error) => this.#record.end("failed", explanationOf(error)));
  }

  /**
   * Opens what is served, and listens.
   *
   * @throws as `Lazy.open` and `LazyTree.open`, and their `listen`
   */
  static async start(init: LazyInit): Promise<LazyHostSession> {
    const { options, events, id } = init;
    const criu = options.kind === "criu";
    const record = new SessionRecord(init, criu ? "" : `unix:${options.socket}`);
    const onEvent = (what: LazyTreeEvent) => {
      if (what.event === "note") record.note(what.text);
      else events.add({ event: "lazy", id, what, text: lazyText(what) });
    };
    if (criu) {
      const tree = await LazyTree.open({ ...options.tree, onEvent });
      record.peer = `unix:${tree.socket}`;
      return await LazyHostSession.#listen(
        record,
        tree,
        { held: () => tree.isHeld, dirty: false },
        () => tree.listen(),
      );
    }
    const lazy = await Lazy.open({ ...options.lazy, onEvent });
    const { holder, dirty = false } = options.lazy;
    return await LazyHostSession.#listen(
      record,
      lazy,
      { held: () => holder !== undefined, dirty },
      async () => {
        init.admit((lazy.remoteStatistics()?.pages ?? 0) * PAGE);
        await lazy.listen(options.socket);
      },
    );
  }

  static async #listen(
    record: SessionRecord,
    server: Lazy | LazyTree,
    traits: Traits,
    listen: () => Promise<void>,
  ): Promise<LazyHostSession> {
    try {
      await listen();
    } catch (error) {
      await server.close();
      throw error;
    }
    return new LazyHostSession(record, server, traits);
  }

  /** Its name. */
  get id(): string {
    return this.#record.id;
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#record.over;
  }

  /** What would be lost: nothing, where a holder has all that was handed over. */
  get atStake(): string | undefined {
    const server = this.#server;
    if (server === undefined || this.#traits.held() || server.processes === 0) return undefined;
    return `Processes need it, each stops at the next page that is missing: ${
      lazyProgressText(server.statistics(), ["process", "processes"])
    }`;
  }

  /** Bytes of memory that are still to come into this process. */
  get bytesToCome(): number {
    const image = this.over ? undefined : this.#statistics.image;
    return image === undefined ? 0 : (image.pages - image.received) * PAGE;
  }

  /** The session as it is now. */
  view(): SessionView {
    return this.#record.view(this.#final ?? this.#statistics);
  }

  /** Not of these. */
  pause(): Promise<void> {
    return Promise.reject(
      unsupported("lazy", "whoever lacks a page waits for it: nothing to pause"),
    );
  }

  /** Not of these. */
  recover(): Promise<void> {
    return Promise.reject(unsupported("lazy", "it connects again by itself"));
  }

  /** Not of these. */
  startPostcopy(): void {
    throw unsupported("lazy", "all of it is on demand");
  }

  /** Not of these. */
  setLimits(): void {
    throw unsupported("lazy", "nothing of it is limited");
  }

  /** Not known. */
  map(): undefined {
    return undefined;
  }

  /** See {@linkcode Session.cancel}. */
  async cancel(): Promise<void> {
    this.#cancelled.resolve();
    await this.ended;
  }

  /**
   * What each process has written to since it was restored.
   *
   * @throws {ServiceError} where that was not asked for at its start, or is never told
   */
  async dirtyPages(): Promise<DirtyPages[]> {
    if (this.#server instanceof Lazy && this.#traits.dirty && !this.over) {
      return await this.#server.dirtyPages();
    }
    throw unsupported("lazy", "what processes write to is told where dirty was given at the start");
  }

  /** Resolves when no process needs it any more, as none does that a holder keeps for the next, or it has ended. */
  async idle(): Promise<void> {
    const server = this.#server;
    if (server === undefined || this.#traits.held()) return;
    await Promise.race([this.ended, server instanceof Lazy ? server.idle() : server.done]);
  }

  get #statistics(): LazyHostStatistics {
    const server = this.#server!;
    const processes = server.statistics();
    const image = server instanceof Lazy ? server.remoteStatistics() : undefined;
    return { processes, ...image === undefined ? {} : { image } };
  }

  async #run(): Promise<void> {
    this.#record.set("active");
    const server = this.#server!;
    let end: SessionStatus = "cancelled";
    let why: Explanation = { reason: "Session was cancelled", code: "CANCELLED" };
    try {
      const done = server instanceof LazyTree
        ? server.done.then(() => {
          end = "completed";
          why = {};
        })
        : Promise.withResolvers<void>().promise;
      await Promise.race([this.#cancelled.promise, done]);
    } catch (error) {
      end = "failed";
      why = explanationOf(error);
    }
    this.#final = this.#statistics;
    await server.close();
    this.#server = undefined;
    this.#record.end(end, why);
  }
}

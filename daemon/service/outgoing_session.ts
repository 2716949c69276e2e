/** An outgoing migration of the daemon: what `serve` does, without a terminal. */

import { formatSocketAddress, parseSocketAddress } from "../../ffi/socket_address.ts";
import type { MemoryMap } from "../../migration/memory/memory_map.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { GuardedSource } from "../../server/command/guarded_source.ts";
import type { HandOverGuard } from "../../server/command/hand_over_guard.ts";
import { hugePagesArgument } from "../../server/command/huge_pages_argument.ts";
import { pausedLines } from "../../server/command/serve_report.ts";
import { checkCredentials } from "../../server/outgoing/encryption.ts";
import type { SourceStatistics, SourceStatus } from "../../server/outgoing/statistics.ts";
import { checkSourceOptions } from "../../server/source_options.ts";
import type { ServedAgain } from "../../server/outgoing/fate.ts";
import { type BeginningInit, waitToBegin } from "./outgoing_beginning.ts";
import { migrateCommand, servedAgain } from "./served_again.ts";
import { SessionKeeper } from "./session_keeper.ts";
import { statisticsBefore } from "./statistics_before.ts";
import { stakeThere } from "./at_stake.ts";
import {
  LAST_MAP_CELLS,
  type Session,
  type SessionLimits,
  type SessionStatus,
  type SessionView,
} from "./session.ts";
import {
  type Explanation,
  explanationOf,
  inState,
  type RecordInit,
  SessionRecord,
} from "./session_record.ts";
import type { KeptSession, StateStore } from "./state_store.ts";

/** What an outgoing session is made from. */
export interface OutgoingInit extends RecordInit, BeginningInit {
  /** What it was asked for with: of one that is gone on with, by whoever began it. */
  readonly original: KeptSession["request"];
  readonly key: string | undefined;
  readonly store: StateStore;
  /** Aborted when nobody wants it any more before it has begun. */
  readonly unwanted?: AbortSignal;
}

/** Why a session stands in setup that has no connection yet. */
const INDEXING = "Its image is read first, as it has no index yet: that may take minutes, once";

/** Where a migration stands that sends what its guest needs, or is about to. */
const SENDING: readonly SessionStatus[] = ["device", "postcopy-active", "postcopy-recover"];

/** One outgoing migration. */
export class OutgoingSession implements Session {
  readonly direction = "outgoing";
  /** Undefined when it has ended: what it held is not kept with it. */
  #init: OutgoingInit | undefined;
  readonly #record: SessionRecord;
  readonly #abort = new AbortController();
  readonly #again: ServedAgain;
  readonly #keeper: SessionKeeper;
  #guarded: GuardedSource | undefined;
  #final: SourceStatistics | undefined;
  #finalMap: MemoryMap | undefined;
  #left = false;
  /** Bytes a second; undefined until it was said. */
  #limit: number | undefined;
  #ended: Promise<void> = Promise.resolve();

  private constructor(init: OutgoingInit, record: SessionRecord) {
    this.#init = init;
    this.#record = record;
    this.#again = servedAgain(record, () => this.#left);
    this.#keeper = new SessionKeeper({ ...init, record });
  }

  /**
   * Begins a migration. When its image must be read first, which may take minutes, it stands in `setup` until
   * then, and what would keep it from starting becomes its end.
   *
   * @param init what of, where to, and how
   * @throws {ImageError} when the image cannot be used
   * @throws {HandedOverError} when the guest may run at a destination already
   * @throws {TlsError} for credentials that cannot be used
   * @throws {RangeError} for options that cannot be
   */
  static async start(init: OutgoingInit): Promise<OutgoingSession> {
    const { options, opening, request, original } = init;
    checkSourceOptions(options);
    checkCredentials(options);
    hugePagesArgument(request.hugePages?.join());
    const record = new SessionRecord(init, formatSocketAddress(options.to));
    const session = new OutgoingSession(init, record);
    const begun = session.#begin();
    // One that is gone on with is tried again until it has begun.
    const indexing = original === request ? opening.indexing : undefined;
    const isBegun = await Promise.race([
      begun.then(() => true),
      ...indexing === undefined ? [] : [indexing.then(() => false)],
    ]);
    if (!isBegun) record.explain({ reason: INDEXING });
    session.#ended = begun.then((guard) => session.#run(guard), (error) => session.#fail(error))
      // A mistake in one session ends that one, and not the daemon with all others.
      .catch((error) => record.end("failed", explanationOf(error)));
    return session;
  }

  /** Resolves when it has ended. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Its name. */
  get id(): string {
    return this.#record.id;
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#record.over;
  }

  /** Whether the next daemon is to go on with it: its guest may run at the destination, or does since before. */
  get isNeeded(): boolean {
    if (this.#guarded === undefined) return false;
    return this.#init?.request.recover === true || this.#guarded.source.guestMayRun;
  }

  /** Whether it is not connected, and does not send what its guest needs. */
  get isPaused(): boolean {
    return !SENDING.includes(this.#record.status);
  }

  /** What would be lost. */
  get atStake(): string | undefined {
    if (!this.isNeeded) return undefined;
    const { remaining, "page-size": pageSize } = this.#statistics.ram;
    return stakeThere(remaining / pageSize);
  }

  /** The session as it is now. */
  view(): SessionView {
    return this.#record.view(this.#statistics);
  }

  /** See {@linkcode Session.pause}. */
  pause(): Promise<void> {
    return Promise.try(() => inState(() => this.#source.pause()));
  }

  /** See {@linkcode Session.recover}. */
  recover(to?: string): Promise<void> {
    return Promise.try(() => {
      const address = to === undefined ? undefined : parseSocketAddress(to);
      inState(() => this.#source.recover(address));
      if (address === undefined) return;
      this.#record.peer = formatSocketAddress(address);
      return this.#keep();
    });
  }

  /** See {@linkcode Session.startPostcopy}. */
  startPostcopy(): void {
    inState(() => this.#source.startPostcopy());
  }

  /** See {@linkcode Session.setLimits}. */
  setLimits({ maxPostcopyBandwidth }: SessionLimits): void {
    inState(() => this.#source.setMaxPostcopyBandwidth(maxPostcopyBandwidth));
  }

  /** Gives it its part of the bandwidth that all share; one that has ended needs none. */
  limitTo(bytesPerSecond: number): void {
    this.#limit = bytesPerSecond;
    this.#guarded?.source.setMaxPostcopyBandwidth(bytesPerSecond);
  }

  /** See {@linkcode Session.map}. */
  map(cells: number): MemoryMap | undefined {
    return this.#guarded?.source.memoryMap(cells) ?? this.#finalMap;
  }

  /** See {@linkcode Session.cancel}. */
  async cancel(): Promise<void> {
    this.#abort.abort(new MigrationError("CANCELLED", "Migration was cancelled"));
    await this.ended;
  }

  /** Ends it, and leaves what the next daemon needs to go on with it. */
  async leave(): Promise<void> {
    this.#left = true;
    await this.cancel();
  }

  get #source(): GuardedSource["source"] {
    if (this.#guarded !== undefined) return this.#guarded.source;
    const { over, status } = this.#record;
    throw new MigrationError(
      "UNSUPPORTED",
      over ? `Migration has ended: ${status}` : "Migration has not begun: its image is being read",
    );
  }

  get #statistics(): SourceStatistics {
    return this.#final ?? this.#guarded?.source.statistics() ?? statisticsBefore("setup");
  }

  #hear(status: SourceStatus, reason: Error | undefined): void {
    // The ends are told when all that belongs to them is done.
    if (status === "completed" || status === "failed" || status === "cancelled") return;
    this.#record.set(status, status === "postcopy-paused" ? this.#paused(reason) : {});
  }

  #paused(reason: Error | undefined): Explanation {
    const to = parseSocketAddress(this.#record.peer);
    const ending = `by postcopy cancel ${this.id} --force`;
    const lines = pausedLines(reason, this.#statistics, to, this.#again.recover, ending);
    const [first = ""] = lines;
    const remedy = lines.slice(first.startsWith("Paused: ") ? 1 : 0);
    if (lines.some((line) => line.includes("migrate_recover "))) {
      remedy.push(
        `If it listens at another address then: postcopy recover ${this.id} --to ADDRESS`,
      );
    }
    return {
      ...reason === undefined ? {} : explanationOf(reason),
      remedy: remedy.join("\n"),
      recover: `migrate_recover ${this.#record.peer}`,
    };
  }

  async #begin(): Promise<HandOverGuard> {
    const record = this.#record;
    const { signal } = this.#abort;
    const { unwanted } = this.#init!;
    const ending = unwanted === undefined ? signal : AbortSignal.any([signal, unwanted]);
    const { image, guard, keeper, notes } = await waitToBegin(this.#init!, record.peer, ending);
    try {
      this.#guarded = new GuardedSource(
        image,
        {
          ...this.#init!.options,
          again: this.#again,
          signal,
          beforeRun: () => this.#keep(),
          onNote: (text) => record.note(text),
          onStatus: (status, reason) => this.#hear(status, reason),
        },
        guard,
        keeper,
        (lines) => lines.forEach((line) => record.note(line)),
      );
    } catch (error) {
      guard[Symbol.dispose]();
      throw error;
    }
    if (this.#limit !== undefined) this.limitTo(this.#limit);
    for (const note of notes) record.note(note);
    record.set("setup"); // what it waited for is there
    return guard;
  }

  /** It was announced, and could not begin. */
  #fail(error: unknown): void {
    const end = this.#abort.signal.aborted ? "cancelled" : "failed";
    this.#init!.opening[Symbol.dispose]();
    this.#init = undefined;
    this.#final = statisticsBefore(end);
    this.#record.end(end, explanationOf(error));
  }

  async #run(guard: HandOverGuard): Promise<void> {
    const { request, opening } = this.#init!;
    const guarded = this.#guarded!;
    let end: SourceStatus = "completed";
    let why: Explanation = {};
    try {
      if (request.recover) await this.#keep();
      await guarded.run();
    } catch (error) {
      const { status } = guarded.source;
      end = status === "cancelled" ? status : "failed";
      why = explanationOf(error);
    }
    // Whatever was thought when it was left: whoever may run there may lack pages.
    const goesOn = this.#left && end !== "completed" && !guarded.source.ranNowhere;
    await guarded.source.close();
    this.#final = guarded.source.statistics();
    this.#finalMap = guarded.source.memoryMap(LAST_MAP_CELLS);
    this.#guarded = undefined;
    guard[Symbol.dispose]();
    opening[Symbol.dispose]();
    if (!goesOn) await this.#keeper.forget();
    this.#init = undefined;
    this.#record.end(end, why);
  }

  /** The guest may run from now on: the next daemon must know, should this one be killed. */
  async #keep(): Promise<void> {
    const { original } = this.#init!;
    const { peer, image } = this.#record;
    const isThere = original.direction === "outgoing" && peer === original.to;
    const command = `${migrateCommand(image, peer)} --recover`;
    await this.#keeper.keep(isThere ? {} : { to: peer }, command);
  }
}

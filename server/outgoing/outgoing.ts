/** One outgoing migration, whatever it is that moves: its links, one after the other, and what outlives them. */

import type { Eventfd } from "../../ffi/eventfd.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { isTlsFailure, MigrationError } from "../../migration/migration_error.ts";
import { untilAborted } from "./answers.ts";
import { allowsPostcopy } from "../multifd/multifd_rules.ts";
import { Carriers } from "./carriers.ts";
import { DestinationPlace } from "./destination_place.ts";
import type { CompressionStatistics } from "../compression/compression_statistics.ts";
import type { MultifdStatistics } from "../multifd/multifd_statistics.ts";
import { Link } from "./link.ts";
import { type LinkInit, newLinkInit } from "./link_init.ts";
import type { OutgoingMemory, OutgoingOptions } from "./outgoing_options.ts";
import { preemptClosed } from "./preempt_connection.ts";
import { nobodyListens, notConnected, RecoveryWaits } from "./recovery_waits.ts";
import type { ChannelMoment } from "./second_channel.ts";
import type { Mode } from "../sending/mode.ts";
import { SourceState } from "../sending/source_state.ts";
import {
  newSourceTimes,
  type SourceStatus,
  type SourceTimes,
  type ThreadStatistics,
  threadStatistics,
} from "./statistics.ts";

/**
 * One outgoing migration. Until the guest may run at the destination, whatever fails first ends it. From
 * then on it holds: a link that broke leaves it paused, with all of its memory, until another one is made.
 */
export class Outgoing implements AsyncDisposable {
  /** Who sends requested pages. */
  readonly mode: Mode;
  /** Shared with the tasks. */
  readonly state = new SourceState();
  /** Pages that no sender has claimed. */
  readonly dirty: PageBitmap;
  /** When what happened. */
  readonly times: SourceTimes = newSourceTimes();
  /** Ends the migration; aborted with the reason. */
  readonly signal: AbortSignal;
  readonly #memory: OutgoingMemory;
  readonly #options: OutgoingOptions;
  readonly #linkInit: LinkInit;
  readonly #carriers: Carriers;
  readonly #abort = new AbortController();
  readonly #others: { readonly thread: { join(): Promise<void> }; readonly wake: Eventfd }[] = [];
  readonly #waits: RecoveryWaits;
  readonly #place: DestinationPlace;
  #link: Link;
  #status: SourceStatus = "setup";
  #pauseReason: Error | undefined;
  /** Whether the first connection was closed from the other side. */
  #left = false;
  #closed: Promise<void> | undefined;

  /**
   * Makes all that is needed, but starts no thread.
   *
   * @param memory what moves
   * @param options where to, and how
   * @throws {RangeError} for a compression or a time that cannot be
   * @throws {TlsError} for credentials that cannot be used
   */
  constructor(memory: OutgoingMemory, options: OutgoingOptions) {
    this.#memory = memory;
    this.#options = options;
    this.#place = new DestinationPlace(options);
    this.#waits = new RecoveryWaits(options.recoverTimeout);
    this.#carriers = new Carriers(memory, options, this.state, (e) => this.#failUnlessSwitched(e));
    this.signal = options.signal === undefined
      ? this.#abort.signal
      : AbortSignal.any([this.#abort.signal, options.signal]);
    this.#linkInit = newLinkInit(memory, options, this);
    this.mode = this.#linkInit.mode;
    this.dirty = this.#linkInit.dirty;
    this.state.endsPreempt = this.#linkInit.rules.endOfSection;
    this.#link = new Link(this.#linkInit, this.#carriers);
  }

  /** The connection that there is, or was last. */
  get link(): Link {
    return this.#link;
  }

  /** The blocks. */
  get layout(): RamLayout {
    return this.#memory.layout;
  }

  /** Where the migration stands. */
  get status(): SourceStatus {
    return this.#status;
  }

  /** Why it is paused, or could not go on; undefined when it is not paused. */
  get pauseReason(): Error | undefined {
    return this.#pauseReason;
  }

  /** Figures of compression; undefined when no threads compress. */
  get compression(): CompressionStatistics | undefined {
    return this.#carriers.compressionStatistics;
  }

  /** Figures of multifd; undefined without. */
  get multifd(): MultifdStatistics | undefined {
    return this.#carriers.multifdStatistics;
  }

  /** Processor time that threads took for this migration. */
  get threads(): ThreadStatistics[] {
    return threadStatistics(this.state, this.#memory.live, this.#carriers.times);
  }

  /** Whether the destination is known not to run the guest, now and ever. */
  get runsNowhere(): boolean {
    const { guestLoaded, peerClosed, peerFailed } = this.state;
    return (peerClosed && peerFailed) || (!guestLoaded && this.#place.gone);
  }

  /** True once `close` was called. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Says where the migration stands, to whoever wants to hear it. */
  setStatus(status: SourceStatus, reason?: Error): void {
    this.#status = status;
    this.#pauseReason = reason;
    this.#options.onStatus?.(status, reason);
  }

  /** Connects the first link. */
  async connect(): Promise<void> {
    const ready = [this.#link.prepare(), this.#carriers.prepare()];
    await untilAborted(Promise.all(ready), this.signal);
    this.#carriers.compression?.ended.catch((error) => this.#failUnlessSwitched(error));
    await this.#link.connect(this.#place.address);
    await this.#link.connectMultifd(this.#place.address);
  }

  /** {@linkcode Link.openPreempt}, of the first link. */
  async openPreempt(moment: ChannelMoment): Promise<void> {
    // With multifd whatever connects before all of its channels are there is taken for one of them.
    if (this.#carriers.multifd !== undefined && moment === "connected") return;
    await this.#link.openPreempt(this.#place.address, moment);
  }

  /**
   * Sees that the destination understands what will be sent to it beyond QEMU's protocol, once it was
   * greeted.
   *
   * @param postcopy whether there may be a switch to postcopy
   * @returns the extensions that the stream uses
   */
  async agree(postcopy: boolean): Promise<readonly string[]> {
    return await this.#carriers.agree(postcopy && this.mode !== "vanilla", this.#link);
  }

  /**
   * Whether pages may go on demand behind those on multifd channels, once {@linkcode Outgoing.agree} has
   * returned; true without such channels.
   */
  get mayPostcopy(): boolean {
    if (this.#carriers.multifd === undefined) return true;
    return this.#link.answers.extensions.length > 0 || allowsPostcopy(this.#memory.machine);
  }

  /** Whether a section that is sent where the channels have a mark must have one too. */
  get marksRecords(): boolean {
    return this.#carriers.multifd?.rules.marks === "records";
  }

  /**
   * Hands the guest over and sends what is left, over as many links as it takes. Ends when the destination
   * has confirmed that it has everything.
   *
   * @param handOver sends the last that comes before the pages; from its first byte on the guest may run there
   * @throws what ended the migration: before the guest ran there, or because its owner wants it
   */
  async postcopy(handOver: () => Promise<void>): Promise<void> {
    this.state.setSwitched();
    try {
      await handOver();
      this.setStatus("postcopy-active");
      await this.#link.stream();
    } catch (error) {
      await this.#hold(error);
      return await this.resume(error);
    }
    // It confirms the end also when a page that it asked for never came.
    if (this.#link.lostUrgentPages) throw preemptClosed();
  }

  /**
   * Sends the end of a migration without postcopy, and waits until the destination has confirmed it: from
   * its last byte on the guest may run there.
   *
   * @throws what ended the migration: the destination does not run the guest, or its owner wants it
   */
  async sendEnd(bytes: Uint8Array): Promise<void> {
    this.state.setSwitched();
    try {
      await this.#link.sendEnd(bytes);
      await this.#link.heard;
    } catch (error) {
      await this.#hold(error);
      // It may have said so before the connection broke; else it is asked.
      if (!this.state.guestLoaded) await this.resume(error);
    }
  }

  /**
   * Goes on with a destination that is paused, again and again until it has confirmed the end.
   *
   * @param reason why the migration is paused; undefined for one that another source began
   * @throws what ended the migration
   */
  async resume(reason?: unknown): Promise<void> {
    if (this.#linkInit.caller !== undefined) return await this.#resumeCalled(reason);
    if (this.#waits.none) {
      this.#place.gone = this.#left; // nobody is asked: what the connection looked like decides
      throw reason ?? notConnected();
    }
    this.#waits.begin();
    // A destination that left before it had loaded the guest mostly refused it, and is gone: that is seen at
    // the first try, and no news of a pause then.
    let quiet = this.#left && !this.state.guestLoaded && !this.#waits.held;
    for (let why = reason;; quiet = false) {
      if (!quiet) this.#setPaused(why as Error);
      try {
        await this.#waits.next(this.signal);
      } catch (error) {
        throw this.signal.aborted ? error : why ?? notConnected();
      }
      try {
        this.#memory.check?.();
      } catch (error) {
        why = error;
        continue;
      }
      try {
        if (await this.#recover()) await this.#link.stream();
        return;
      } catch (error) {
        why = await this.#keptReason(error, why);
      }
    }
  }

  /** The destination calls again by itself, and another source answers: here is only what it called for. */
  async #resumeCalled(reason: unknown): Promise<void> {
    if (reason !== undefined) throw reason;
    if (await this.#recover()) await this.#link.stream();
  }

  /** Breaks the link of a migration that has switched to postcopy; it waits to be told to go on. */
  pause(): void {
    if (this.#status !== "postcopy-active" && this.#status !== "postcopy-recover") {
      throw new MigrationError(
        "UNSUPPORTED",
        `Only a migration in postcopy can be paused, and this one is: ${this.#status}`,
      );
    }
    this.#waits.hold();
    this.#link.fail(new MigrationError("PAUSED", "Migration was paused at this end"));
  }

  /**
   * Has a paused migration go on now.
   *
   * @param to where the destination listens, if no longer where it did
   */
  recover(to?: SocketAddress): void {
    if (this.#status !== "postcopy-paused" && this.#status !== "postcopy-recover") {
      throw new MigrationError(
        "UNSUPPORTED",
        `Only a paused migration can be recovered, and this one is: ${this.#status}`,
      );
    }
    this.#place.address = to ?? this.#place.address;
    this.#waits.goOn();
  }

  /** Ends the migration. */
  fail(error: unknown): void {
    this.#abort.abort(error);
  }

  /** Ends another task of this migration with it: it stops when the state says so. */
  join(thread: { join(): Promise<void> }, wake: Eventfd): void {
    this.#others.push({ thread, wake });
  }

  /**
   * Ends all tasks and connections.
   *
   * @param finished settles when nobody uses them any more; aborted waits make it so
   */
  close(finished: Promise<unknown> | undefined): Promise<void> {
    this.#closed ??= this.#close(finished);
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close(undefined);
  }

  /**
   * Returns when the guest may run at the destination, or does, and the migration can go on.
   *
   * @throws the reason why the link failed, when the migration ends with it
   */
  async #hold(error: unknown): Promise<void> {
    await this.#endBroken(error);
    this.#left = this.state.peerClosed;
    if (this.#isLost) throw error;
  }

  /**
   * Ends a link that failed: the destination is heard to its end, for what it had said decides.
   *
   * @throws the error, when the whole migration is ended
   */
  async #endBroken(error: unknown): Promise<void> {
    if (this.signal.aborted) throw error;
    await this.#endLink();
    if (this.signal.aborted) throw error;
  }

  /** Whether the destination says that it failed, or does not run the guest: nothing can go on there. */
  get #isLost(): boolean {
    return this.state.peerFailed || this.runsNowhere;
  }

  /** Says that it is paused, where that is news. */
  #setPaused(reason: Error | undefined): void {
    if (this.#status === "postcopy-paused" && reason?.message === this.#pauseReason?.message) {
      return;
    }
    this.setStatus("postcopy-paused", reason);
  }

  /** Makes another link. Returns false when the destination says that it has everything. */
  async #recover(): Promise<boolean> {
    await this.#endLink(); // one that was never connected, where another source began
    this.signal.throwIfAborted(); // closed meanwhile: nobody would close another one
    if (await this.#place.listensAgain(this.signal)) return false;
    // Whether it can decompress is known of the destination that was asked; pages as they are can all take.
    this.#link = new Link(this.#linkInit);
    const connected = () => this.setStatus("postcopy-recover");
    if (!await this.#link.recover(this.#place.address, connected)) return false;
    this.#waits.begin();
    this.setStatus("postcopy-active");
    return true;
  }

  /**
   * A link of a paused migration failed: says why it is paused from here on.
   *
   * @throws what ends it: that the destination does not run the guest answers why it was asked
   */
  async #keptReason(error: unknown, before: unknown): Promise<unknown> {
    const hadConnected = this.#status !== "postcopy-paused";
    await this.#endBroken(error);
    // What closed the connection may have been a firewall or a tunnel between. A destination listens for as
    // long as it is there: when nobody does, it was the destination.
    this.#place.gone ||= this.#left && nobodyListens(error);
    if (this.#isLost) throw before ?? error;
    // That nobody listens there yet is no news; that one end does not accept the other is.
    return hadConnected || isTlsFailure(error) ? error : before;
  }

  async #endLink(finished?: Promise<unknown>): Promise<void> {
    this.state.stop();
    this.#carriers.stop();
    for (const { wake } of this.#others) wake.signal();
    await this.#link.close(finished, this.#others.map(({ thread }) => thread.join()));
  }

  /**
   * A library that fails, or a thread that compresses, ends the migration, unless that would cost the guest:
   * it needs its pages, which are sent as they are.
   */
  #failUnlessSwitched(error: unknown): void {
    if (!this.state.switched) this.fail(error);
  }

  async #close(finished: Promise<unknown> | undefined): Promise<void> {
    this.#abort.abort(new MigrationError("CANCELLED", "Source was closed"));
    await this.#endLink(finished);
    await this.#link.close(); // another may have been made meanwhile
    await this.#carriers.close();
    this.#linkInit.encryption?.close();
  }
}

/** An incoming migration of the daemon: what `receive` does, without a terminal. */

import { ConnectionNews, connectionText } from "../../client/command/connection_news.ts";
import { resumeCommand } from "../../client/command/receive_report.ts";
import { resumption } from "../../client/receive/fate.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import type { ImageReceiverOptions } from "../../client/receive/image_receiver_options.ts";
import type { ReceiveStatistics } from "../../client/receive/receive_statistics.ts";
import {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
} from "../../ffi/socket_address.ts";
import type { MemoryMap } from "../../migration/memory/memory_map.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import {
  LAST_MAP_CELLS,
  type Refusals,
  type Session,
  type SessionStatus,
  type SessionView,
} from "./session.ts";
import {
  type Explanation,
  explanationOf,
  type RecordInit,
  SessionRecord,
  unsupported,
} from "./session_record.ts";
import { stakeHere } from "./at_stake.ts";
import { receiveCommand, receivedAgain } from "./received_again.ts";
import { SessionKeeper } from "./session_keeper.ts";
import { ServiceError } from "./service_error.ts";
import type { KeptSession, StateStore } from "./state_store.ts";

/** Milliseconds between two looks at where a receiver stands, which tells it to nobody. */
const LOOK = 100;

/** What an incoming session is made from. */
export interface IncomingInit extends RecordInit {
  readonly listen: SocketAddress;
  readonly options: ImageReceiverOptions;
  /** Reads where one that is paused is to listen too. */
  readonly address: (text: string) => Promise<SocketAddress>;
  /** What it was asked for with: of one that is gone on with, by whoever began it. */
  readonly original: KeptSession["request"];
  /** Whether a daemon before this one has kept it. */
  readonly isKept: boolean;
  readonly key: string | undefined;
  readonly store: StateStore;
}

/** One incoming migration. */
export class IncomingSession implements Session {
  readonly direction = "incoming";
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  readonly #init: IncomingInit;
  readonly #record: SessionRecord;
  readonly #abort: AbortController;
  readonly #keeper: SessionKeeper;
  #receiver: ImageReceiver | undefined;
  #final: ReceiveStatistics | undefined;
  #finalMap: MemoryMap | undefined;
  #refusals: Refusals = { tls: 0, network: 0, silent: 0 };
  /** Settles when the next daemon knows of it; undefined before it must. */
  #kept: Promise<unknown> | undefined;
  #left = false;

  private constructor(
    init: IncomingInit,
    record: SessionRecord,
    receiver: ImageReceiver,
    abort: AbortController,
  ) {
    this.#init = init;
    this.#record = record;
    this.#receiver = receiver;
    this.#abort = abort;
    this.#keeper = new SessionKeeper({ ...init, record });
    if (init.isKept) this.#kept = Promise.resolve();
    // A mistake in one session ends that one, and not the daemon with all others.
    this.ended = this.#run(receiver).catch((error) =>
      this.#record.end("failed", explanationOf(error))
    );
  }

  /**
   * Makes the file, and listens.
   *
   * @throws as the constructor of {@linkcode ImageReceiver}, and its `listen`
   */
  static async start(init: IncomingInit): Promise<IncomingSession> {
    const abort = new AbortController();
    const record = new SessionRecord(init, "");
    const { tls } = init.options;
    let session: IncomingSession | undefined;
    const receiver = new ImageReceiver({
      ...init.options,
      again: receivedAgain(init.image, () => session?.leftTo),
      ...tls === undefined
        ? {}
        : { tls: { ...tls, onWarning: (text: string) => record.note(text) } },
      signal: abort.signal,
    });
    try {
      record.peer = formatSocketAddress(await receiver.listen(init.listen));
    } catch (error) {
      await receiver.close();
      throw error;
    }
    return session = new IncomingSession(init, record, receiver, abort);
  }

  /** Its name. */
  get id(): string {
    return this.#record.id;
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#record.over;
  }

  /** What would be lost. */
  get atStake(): string | undefined {
    const receiver = this.#receiver;
    if (receiver?.holdsGuest !== true) return undefined;
    return stakeHere(receiver.fate, receiver.statistics());
  }

  /** The session as it is now. */
  view(): SessionView {
    this.#look();
    const view = this.#record.view(this.#final ?? this.#receiver!.statistics());
    return { ...view, refusals: this.#refusals };
  }

  /** See {@linkcode Session.pause}. */
  async pause(): Promise<void> {
    await refusing(this.#running.pause());
  }

  /** See {@linkcode Session.recover}. */
  async recover(to?: string): Promise<void> {
    const receiver = this.#running;
    const address = to === undefined ? undefined : await this.#init.address(to);
    if (receiver.status !== "postcopy-paused") {
      throw new ServiceError(
        "WRONG_STATE",
        `Only a paused migration can be recovered, and this one is: ${receiver.status}`,
      );
    }
    const listening = await receiver.recover(address);
    if (address === undefined) return; // it waits where it did
    this.#record.peer = formatSocketAddress(listening);
    // The next daemon is to wait where the source is told to come; one that has ended is forgotten.
    if (this.#kept === undefined || this.#receiver !== receiver) return;
    this.#kept = this.#kept.then(() => this.#keep(receiver.partialPath));
    await this.#kept;
  }

  /** Not of these: the source decides. */
  startPostcopy(): void {
    throw unsupported("incoming", "the source switches: migrate_start_postcopy there");
  }

  /** Not of these: the source decides. */
  setLimits(): void {
    throw unsupported("incoming", "the source limits what it sends");
  }

  /** See {@linkcode Session.map}. */
  map(cells: number): MemoryMap | undefined {
    return this.#receiver?.memoryMap(cells) ?? this.#finalMap;
  }

  /** See {@linkcode Session.cancel}. */
  async cancel(): Promise<void> {
    this.#abort.abort(new MigrationError("CANCELLED", "Migration was cancelled"));
    await this.ended;
  }

  /** Whether its source is gone, or was told to stop, and what it holds waits for it. */
  get isPaused(): boolean {
    return this.#receiver?.status === "postcopy-paused";
  }

  /** Ends it, and leaves what the next daemon needs to go on with it. */
  async leave(): Promise<void> {
    this.#left = true;
    await this.cancel();
  }

  /** What is typed at the source where the next daemon goes on with it; undefined where none does. */
  get leftTo(): string | undefined {
    return this.#left && this.#kept !== undefined ? this.#resume : undefined;
  }

  get #resume(): string {
    return resumeCommand(parseSocketAddress(this.#record.peer));
  }

  get #running(): ImageReceiver {
    if (this.#receiver !== undefined) return this.#receiver;
    throw new ServiceError("WRONG_STATE", `Migration has ended: ${this.#record.status}`);
  }

  async #run(receiver: ImageReceiver): Promise<void> {
    const connections = new ConnectionNews();
    const timer = setInterval(() => {
      this.#look();
      for (const news of connections.look(receiver, performance.now())) {
        this.#record.note(connectionText(news));
      }
    }, LOOK);
    let end: SessionStatus = "completed";
    let why: Explanation = {};
    try {
      await receiver.finished;
    } catch (error) {
      end = (error as MigrationError).code === "CANCELLED" ? "cancelled" : "failed";
      why = explanationOf(error);
    }
    clearInterval(timer);
    this.#final = receiver.statistics();
    this.#finalMap = receiver.memoryMap(LAST_MAP_CELLS);
    await receiver.close();
    this.#receiver = undefined;
    await this.#kept;
    if (this.#kept !== undefined && (!this.#left || end === "completed")) {
      await this.#keeper.forget();
    }
    this.#record.end(end, why);
  }

  /** Notes where the receiver stands. */
  #look(): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    const { status, refusedConnections, unallowedConnections, silentConnections } = receiver;
    this.#refusals = {
      tls: refusedConnections.count,
      network: unallowedConnections.count,
      silent: silentConnections.count,
    };
    if (receiver.holdsGuest) this.#kept ??= this.#keep(receiver.partialPath);
    if (status !== "completed" && status !== "failed") {
      this.#record.set(status, this.#why(receiver));
    }
  }

  /** The source cannot take the guest back: the next daemon must know, should this one be killed. */
  #keep(partialPath: string): Promise<void> {
    const partial = partialPath.slice(partialPath.lastIndexOf("/") + 1);
    // Where the source was told to resume.
    const { peer: to, image } = this.#record;
    return this.#keeper.keep({ partial, to }, receiveCommand(image, partialPath));
  }

  #why(receiver: ImageReceiver): Explanation {
    const { pauseReason, waitReason, fate } = receiver;
    if (pauseReason !== undefined) {
      const resume = this.#resume;
      return {
        ...explanationOf(pauseReason),
        remedy: resumption(fate, resume, receiver.statistics()),
        recover: resume,
      };
    }
    return waitReason === undefined ? {} : { reason: waitReason };
  }
}

/** Turns what the module refuses into a refusal of the service. */
async function refusing(done: Promise<void>): Promise<void> {
  try {
    await done;
  } catch (error) {
    throw new ServiceError("WRONG_STATE", (error as Error).message);
  }
}

/** Attends a QEMU that an image is served to: has it listen again when a connection broke, and asks how it ended. */

import type {
  Attendant,
  DestinationReport,
  ServedOutcome,
} from "../../server/command/attendant.ts";
import { untilAborted } from "../../server/outgoing/answers.ts";
import type { MigrationEvents } from "./migration_events.ts";
import { destinationText, listeningAt, type MigrationInfo } from "./migration_info.ts";
import type { Monitor } from "./monitor.ts";
import { MonitorError } from "./monitor_error.ts";
import type { Place, WaitingPlace } from "./waiting_place.ts";

/** What an attendant is made from. */
export interface RestoreAttendantInit {
  readonly monitor: Monitor;
  readonly events: MigrationEvents;
  readonly place: WaitingPlace;
  /** Where it is connected to first. */
  readonly first: Place;
  /**
   * Whether QEMU's connection was made from here: one that QEMU believes in is broken then when it is gone here.
   * Of another that it has nobody here knows.
   */
  readonly connectsFirst: boolean;
  /** Milliseconds for which an answer is waited for. */
  readonly timeout: number;
  /** The words that go on with the guest. */
  readonly recoverCommand: string;
}

/** Times that QEMU is told to listen, in a row, before it is tried to connect all the same. */
const MOST_TRIES = 5;
/** From which of these times on it is told another port than the one that it holds. */
const ELSEWHERE = 2;
/** Milliseconds between two of them. */
const AGAIN = 100;
/** States in which a destination still believes in a connection that is gone here. */
const BELIEVING: readonly string[] = ["active", "device", "postcopy-active", "postcopy-recover"];
/** What a paused one says: a 7.2 says `setup` once it was told to listen, whether it can or not. */
const PAUSED: readonly string[] = ["postcopy-paused", "setup"];
const ENDS: readonly string[] = ["completed", "failed"];

/** The attendant of one QEMU. */
export class RestoreAttendant implements Attendant {
  readonly #init: RestoreAttendantInit;
  #uri: string;
  #ours: boolean;
  #tell: (...lines: string[]) => void = () => {};
  #told = "";

  constructor(init: RestoreAttendantInit) {
    this.#init = init;
    this.#uri = init.first.uri;
    this.#ours = init.connectsFirst;
  }

  begin(tell: (...lines: string[]) => void): void {
    this.#tell = tell;
    this.#init.events.onNews = (text) => tell(text);
  }

  askedLines(): readonly string[] {
    return [`Having QEMU listen again, by its monitor at ${this.#init.monitor.name}`];
  }

  readonly listenAgain = async (
    signal: AbortSignal,
  ): ReturnType<Attendant["listenAgain"]> => {
    try {
      await this.#connected();
      let refused: MonitorError | undefined;
      for (let tries = 0; tries < MOST_TRIES; tries++) {
        const place = this.#init.place.again(tries >= ELSEWHERE);
        refused = await this.#recover(place);
        if (refused === undefined) return place.to;
        const end = await this.#whyRefused(refused, signal);
        if (end !== undefined) return end;
      }
      this.#cannot(refused!);
      return "not-yet"; // whoever connects to a port that it has left, and holds, is heard by nobody
    } catch (error) {
      if (!signal.aborted) this.#cannot(error as Error);
      // One that can be spoken to and does not listen is not to be connected to: it may have another connection.
      if (error instanceof MonitorError && error.code === "REFUSED") return "not-yet";
    }
    return undefined;
  };

  async ended(outcome: ServedOutcome): Promise<DestinationReport> {
    const info = await this.#finalInfo(outcome);
    const destination = info instanceof Error ? this.#lastWord(outcome) : info;
    const json = {
      ...destination === undefined ? {} : { destination },
      "destination-events": this.#init.events.kept,
    };
    return { json, lines: this.#finalLines(outcome, info) };
  }

  /** Connects again where the monitor's connection broke: its events tell no more then. */
  async #connected(): Promise<void> {
    const { monitor, events } = this.#init;
    if (!monitor.ended) return;
    await monitor.reconnect();
    events.begin();
  }

  /** Has QEMU listen. Returns why it does not. */
  async #recover({ uri }: Place): Promise<MonitorError | undefined> {
    try {
      await this.#init.monitor.executeOutOfBand("migrate-recover", { uri });
      this.#uri = uri;
      this.#ours = true;
      this.#told = "";
      return undefined;
    } catch (error) {
      if (error instanceof MonitorError && error.code === "REFUSED") return error;
      throw error;
    }
  }

  /**
   * QEMU refuses to listen as long as it is not paused: it may not have noticed yet that the connection is gone.
   *
   * @returns undefined when it is to be told once more
   * @throws when that helps no more
   */
  async #whyRefused(
    refused: MonitorError,
    signal: AbortSignal,
  ): Promise<"completed" | "failed" | undefined> {
    const { monitor, events, timeout } = this.#init;
    let status = events.status ?? (await this.#info()).status;
    if (BELIEVING.includes(status ?? "")) {
      if (!this.#ours) throw served(status!);
      // One that is about to end has no use for it, and says so.
      await monitor.executeOutOfBand("migrate-pause").catch(() => {});
      status = await events.reached(["postcopy-paused", ...ENDS], timeout, signal) ??
        (await this.#info()).status;
    }
    if (status === "completed" || status === "failed") return status;
    if (!PAUSED.includes(status ?? "")) throw refused;
    // The port that it has listened at before is free only a moment after it was told to leave it.
    await untilAborted(new Promise((resolve) => setTimeout(resolve, AGAIN)), signal);
    return undefined;
  }

  async #info(): Promise<MigrationInfo> {
    return await this.#init.monitor.execute<MigrationInfo>("query-migrate");
  }

  /** QEMU cannot be told: its user can. Said once, as long as it stays so. */
  #cannot({ message }: Error): void {
    if (this.#told === message) return;
    this.#told = message;
    const words = { "exec-oob": "migrate-recover", arguments: { uri: this.#uri }, id: 1 };
    this.#tell(
      `QEMU could not be told to listen again: ${message}`,
      "This tries again. If QEMU is there, and query-migrate says postcopy-paused, have it listen by another " +
        "monitor of it:",
      '  {"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}',
      `  ${JSON.stringify(words)}`,
    );
  }

  async #finalInfo(outcome: ServedOutcome): Promise<MigrationInfo | Error> {
    const { monitor, events, timeout } = this.#init;
    try {
      // A destination says that it has everything a moment before it is done.
      const { status = "none" } = await this.#info();
      if (outcome !== "handed-over" && BELIEVING.includes(status)) {
        await events.reached(ENDS, timeout);
      }
      return await this.#info();
    } catch (error) {
      // One that is silent answers the same question no sooner when it is asked again.
      if (outcome !== "completed" || !monitor.ended) return error as Error;
    }
    try {
      await this.#connected();
      return await monitor.execute<MigrationInfo>("query-migrate");
    } catch (error) {
      return error as Error;
    }
  }

  /** What a QEMU that cannot be asked any more has said by itself of a guest that it has; undefined: nothing. */
  #lastWord(outcome: ServedOutcome): MigrationInfo | undefined {
    const { status } = this.#init.events;
    return outcome === "completed" && status === "completed" ? { status } : undefined;
  }

  #finalLines(outcome: ServedOutcome, info: MigrationInfo | Error): readonly string[] {
    const { monitor, place, recoverCommand } = this.#init;
    if (outcome === "handed-over") return ["To go on with the guest:", `  ${recoverCommand}`];
    if (info instanceof Error) {
      // A QEMU 11.1 says so, and then its main loop waits for what its guest has asked for: a break in that moment
      // leaves it waiting for ever.
      if (this.#lastWord(outcome) !== undefined) {
        return [
          `QEMU says: completed, and could not be asked more: ${info.message}: see that its guest goes on: if ` +
          "it stands still for good, end it, put the disks back to the snapshot that belongs to the image, " +
          "and restore it again",
        ];
      }
      return [
        outcome === "nowhere" && monitor.ended
          ? "QEMU has ended, or closed its monitor: its own log says why: start it again"
          : `QEMU could not be asked how it went there: ${info.message}`,
      ];
    }
    if (outcome === "completed") return [destinationText(info)];
    if (
      listeningAt(info) !== undefined && !BELIEVING.concat(ENDS).includes(info.status ?? "none")
    ) {
      place.keep();
      return [`QEMU still waits, at ${this.#uri}: the same command goes on with it`];
    }
    return [`${destinationText(info)}: end it (quit), and start it again`];
  }
}

/** Nobody breaks a connection that may be another's. */
function served(status: string): MonitorError {
  return new MonitorError(
    "REFUSED",
    `QEMU believes that it is being served, query-migrate says: ${status}: if it is, let that go on, and end this; ` +
      'if nobody does, because its host is down, have QEMU give that up: {"exec-oob": "migrate-pause", "id": 1}',
  );
}

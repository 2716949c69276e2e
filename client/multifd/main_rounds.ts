/** The main channel among those of multifd: where it has to wait for them. */

import { connectionLost, FROM_SOURCE } from "../../channel/role.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { MAIN, Rounds } from "./rounds.ts";

/**
 * Finds the marks in the main channel. A source with a machine type of 8.1 or later puts a record there; an older
 * one takes each end of a ram section for one. Which it is, the first section tells: it has the record, or has
 * none.
 */
export class MainRounds {
  readonly #rounds: Rounds;
  #records: boolean | undefined;

  /** @param rounds of this migration */
  constructor(rounds: Rounds) {
    this.#rounds = rounds;
  }

  /** A record that is a mark has come. */
  flushed(): void {
    this.#records = true;
  }

  /** The end of a ram section has come; returns whether it is a mark. */
  sectionEnded(): boolean {
    this.#records ??= false;
    return !this.#records;
  }

  /** Whether a round has ended behind the first section: pages may have come on other channels alone. */
  get begun(): boolean {
    return this.#rounds.reached(MAIN) > 1;
  }

  /** All that came before the mark is in place. */
  reach(): void {
    this.#rounds.reach(MAIN);
  }

  /**
   * Whether the main channel may go on behind its last mark; its eventfd is signalled when that changes.
   *
   * @throws {MigrationError} when it never will, for a channel has ended
   */
  get open(): boolean {
    if (this.#rounds.mayGoOn(MAIN)) return true;
    if (this.#rounds.missing(MAIN) > 0) throw endedEarly();
    return false;
  }

  /** Pages come on demand from here on: on no channel. To be called before the guest may use its memory. */
  listen(): void {
    this.#rounds.listen();
  }

  /**
   * The memory has ended with the main channel's last mark.
   *
   * @throws {MigrationError} when a channel has one more: what comes behind that would never be taken
   */
  requireEnd(): void {
    if (this.#rounds.ahead(MAIN) === 0) return;
    throw new MigrationError(
      "BAD_PEER",
      "Source marks the end of more rounds on its multifd channels than on its main one: it is no QEMU, or " +
        "another than one source has connected",
    );
  }
}

/** The rounds as a main channel's task has them, if there are other channels. */
export function mainRounds(
  shared: { readonly buffer: SharedArrayBuffer; readonly channels: number } | undefined,
): MainRounds | undefined {
  if (shared === undefined) return undefined;
  return new MainRounds(new Rounds(shared.channels, shared.buffer));
}

/** The error for one that waits for a channel that has ended. */
export function endedEarly(): MigrationError {
  return connectionLost(
    FROM_SOURCE.MULTIFD,
    "it closed the connection before the others had ended",
  );
}

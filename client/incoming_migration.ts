/** What every end that receives tells of itself, and of those who connected and are not its source. */

import type { MemoryMap } from "../migration/memory/memory_map.ts";
import type { StatusBoard } from "./status_board.ts";
import type { DestinationStatus } from "./statistics.ts";
import type { Access, RefusedConnections } from "./connecting/access.ts";
import type { SilentConnections } from "./connecting/sent_away.ts";

/** An incoming migration, whatever it ends in. */
export abstract class IncomingMigration {
  readonly #access: Access;
  readonly #board: StatusBoard;

  /**
   * @param access who may connect
   * @param board where the migration stands
   * @internal
   */
  constructor(access: Access, board: StatusBoard) {
    this.#access = access;
    this.#board = board;
  }

  /** Where the migration stands. */
  get status(): DestinationStatus {
    return this.#board.status;
  }

  /** The source's machine type, once it has said so. */
  get machine(): string | undefined {
    return this.#board.machine;
  }

  /**
   * Where the pages of an image are that is being received, in so many parts of its memory.
   *
   * @param cells 1 to 65536
   * @returns undefined before its blocks are known, for one that is taken up, and for a guest's
   * @throws {RangeError} for less than one cell, or more than 65536
   */
  memoryMap(cells: number): MemoryMap | undefined {
    return this.#board.drawMap?.(cells);
  }

  /**
   * Connections that said nothing for too long, or were too many, and were sent away: a port scanner, a health
   * check.
   */
  get silentConnections(): SilentConnections {
    return this.#access.silentConnections;
  }

  /** Connections from networks that are not allowed, and were turned away; the last one's host. */
  get unallowedConnections(): SilentConnections {
    return this.#access.unallowedConnections;
  }

  /** Connections that TLS refused: somebody without a certificate, or with a wrong one. */
  get refusedConnections(): RefusedConnections {
    return this.#access.refusedConnections;
  }
}

/** What is measured of a pair of ends, by repetition. */

import type { Waits } from "../migrate/move.ts";
import type { Kind, Pair } from "./kind.ts";

/** The background stream alone, beside a guest at rest. */
export interface StreamFigures {
  /** Bytes of the guest's memory a second, from the begin of the stream until all is there. */
  readonly rate: number;
  /** Milliseconds before that: connecting, handshakes, what is said before the first page. */
  readonly setup: number;
  /** CPU seconds a GB of the source's process, without its start. */
  readonly sourceCpu: number;
  /** The same of the destination's. */
  readonly destinationCpu: number;
}

/** Everything about a pair in one repetition. */
export interface MoveFigures {
  readonly stream: StreamFigures;
  /** Accesses that waited for their page while the stream was held off; undefined where it cannot be. */
  readonly alone?: Waits | undefined;
  /** The same beside the stream, with both ends on one CPU. */
  readonly beside?: Waits | undefined;
}

/** Two plain processes in one repetition. */
export interface LibraryFigures {
  /** Version and cipher; undefined in clear. */
  readonly cipher: string | undefined;
  /** Bytes a second of a stream of 64 KiB writes. */
  readonly rate: number;
  /** CPU seconds a GB. */
  readonly sourceCpu: number;
  /** CPU seconds a GB. */
  readonly destinationCpu: number;
  /** A small request and 4 KiB back, both ends on one CPU. */
  readonly roundTrip: Waits;
}

/** One pair, protected in one way. */
export interface MoveRow {
  readonly pair: Pair;
  readonly kind: Kind;
  readonly runs: readonly MoveFigures[];
}

/** The library, or nothing, between two plain processes. */
export interface LibraryRow {
  readonly kind: Kind;
  readonly runs: readonly LibraryFigures[];
}

/** All that a run found. */
export interface Measured {
  readonly library: readonly LibraryRow[];
  readonly moves: readonly MoveRow[];
}

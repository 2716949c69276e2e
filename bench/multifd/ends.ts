/** The two ends of a move, whoever they are. */

/** How a source saw the move. */
export interface Departure {
  /** ms from the first page until the destination has confirmed the end. */
  readonly milliseconds: number;
  /** Bytes sent. */
  readonly transferred: number;
  /** Pages that the guest wrote a second meanwhile; absent for one at rest, or where it was too short to tell. */
  readonly written?: number;
}

/** An end of a move: a process. */
export interface End extends AsyncDisposable {
  /** CPU seconds that it took so far. */
  cpu(): Promise<number>;
  /** A digest of the guest's memory, once the move is over; undefined where it may differ from what was sent. */
  digest(): Promise<string | undefined>;
}

/** Where the memory comes from. */
export interface SourceEnd extends End {
  /**
   * Moves it.
   *
   * @param to `tcp:HOST:PORT`
   */
  move(to: string): Promise<Departure>;
}

/** Where it goes. */
export interface DestinationEnd extends End {
  /** Where it listens, `tcp:HOST:PORT`. */
  readonly address: string;
  /** Resolves when all of it is there. */
  arrived(): Promise<void>;
}

/** Where the two ends of a benchmark stand, and how they reach each other. */

/** One end. */
export interface LinkEnd {
  /** Words before a command so that it runs at this end. */
  readonly prefix: readonly string[];
  /** The address by which the other end reaches it. */
  readonly host: string;
}

/** Two ends. */
export interface Link {
  /** For tables. */
  readonly name: string;
  /** Where the memory comes from. */
  readonly source: LinkEnd;
  /** Where it goes. */
  readonly destination: LinkEnd;
}

/** Both ends on this host. */
export const LOOPBACK: Link = {
  name: "loopback",
  source: { prefix: [], host: "127.0.0.1" },
  destination: { prefix: [], host: "127.0.0.1" },
};

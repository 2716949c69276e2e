/** A guest that misses no round of a precopy, however little its own threads get to run. */

/** What is written just before the source looks what was written. */
export interface Writes {
  /** Rounds before whose end something is; default all. */
  readonly rounds?: number;
  /** One page in so many is written to; default 64. */
  readonly every?: number;
}

/** The precopy thread that writes so, for the constructor of a LiveSource. */
export function writingPrecopy({ rounds = Infinity, every = 64 }: Writes): URL {
  const query = new URLSearchParams({ rounds: `${rounds}`, every: `${every}` });
  return new URL(`./writing_precopy_worker.ts?${query}`, import.meta.url);
}

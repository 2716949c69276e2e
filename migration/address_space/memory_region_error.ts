/** What cannot be built from memory regions. */

/** Machine-readable reasons why a {@linkcode MemoryRegionError} was thrown. */
export type MemoryRegionErrorCode =
  /** A size, offset, address or priority is no whole number of the range allowed. */
  | "BAD_NUMBER"
  /** A region reaches past the end of what it is put in, or an alias past the end of its target. */
  | "PAST_END"
  /** A region would contain itself, through containers and aliases. */
  | "CYCLE"
  /** A region is put in a second place. */
  | "PLACED_TWICE"
  /** A region is taken out of, or moved in, a container that it is not in. */
  | "NOT_PLACED"
  /** Something is put in a region that is no container. */
  | "NOT_A_CONTAINER"
  /** Regions or address spaces of two memory cores are mixed. */
  | "OTHER_CORE"
  /** An I/O event that the region cannot have, has already, or does not have. */
  | "BAD_EVENT"
  /** A flat view would need too many looks at regions: aliases multiply what they show. */
  | "TOO_MANY_REGIONS"
  /** Listeners changed the memory again in every call. */
  | "LISTENER_LOOP"
  /** A transaction was given an asynchronous function. */
  | "ASYNCHRONOUS"
  /** The address space was closed. */
  | "CLOSED";

/** A change to memory regions, or a use of them, that cannot be. */
export class MemoryRegionError extends Error {
  /** The class's name. */
  override readonly name = "MemoryRegionError";
  /** Machine-readable reason. */
  readonly code: MemoryRegionErrorCode;
  /** Names of the regions or address spaces concerned, the one acted on first. */
  readonly regions: readonly string[];

  /**
   * Makes the error.
   *
   * @param code machine-readable reason
   * @param message what is wrong and what to do about it
   * @param regions names of the regions or address spaces concerned
   */
  constructor(code: MemoryRegionErrorCode, message: string, regions: readonly string[] = []) {
    super(message);
    this.code = code;
    this.regions = regions;
  }
}

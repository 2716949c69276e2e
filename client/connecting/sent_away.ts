/** Telling the user of connections that said nothing and were sent away. */

/** Bytes of a host's address as text, the longest of IPv6 with room to spare. */
const HOST_BYTES = 60;
const COUNT = 0;
const encoder = new TextEncoder();

/** Connections that said nothing, and were sent away. */
export interface SilentConnections {
  /** How many so far. */
  readonly count: number;
  /** Host of the last one; empty for a unix socket. */
  readonly last: string;
}

/** A piece of shared memory to count in. */
export interface SharedSentAway {
  readonly buffer: SharedArrayBuffer;
  /** Its first byte there, a multiple of 4. */
  readonly offset: number;
}

/**
 * Counts them, on whatever thread they are met: first the control plane accepts connections, then a task
 * does. What each says last may be cut in two by the other, which nobody minds.
 */
export class SentAway {
  /** Bytes of shared memory, a multiple of 4. */
  static readonly BYTES: number = 4 + HOST_BYTES;
  /** For another thread. */
  readonly shared: SharedSentAway;
  readonly #count: Int32Array;
  readonly #host: Uint8Array;

  /**
   * @param shared where another thread counts too; without it, new memory
   */
  constructor(
    { buffer, offset }: SharedSentAway = {
      buffer: new SharedArrayBuffer(SentAway.BYTES),
      offset: 0,
    },
  ) {
    this.shared = { buffer, offset };
    this.#count = new Int32Array(buffer, offset, 1);
    this.#host = new Uint8Array(buffer, offset + 4, HOST_BYTES);
  }

  /** Adds one. */
  add(host: string): void {
    this.#host.fill(0);
    this.#host.set(encoder.encode(host).subarray(0, HOST_BYTES));
    Atomics.add(this.#count, COUNT, 1);
  }

  /** What there were so far. */
  get soFar(): SilentConnections {
    const count = Atomics.load(this.#count, COUNT);
    const text = new TextDecoder().decode(this.#host.slice()); // of shared memory nothing is decoded
    return { count, last: text.replaceAll("\0", "") };
  }
}

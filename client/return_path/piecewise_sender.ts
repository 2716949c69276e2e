/** Answers that are longer than a socket takes at once. */

import type { SendingEnd } from "../../channel/sending_end.ts";

/** Sends one piece after the other, as the socket takes them. */
export class PiecewiseSender {
  readonly #end: SendingEnd;
  readonly #next: () => Uint8Array;
  #piece: Uint8Array = new Uint8Array();
  #sent = 0;

  /**
   * @param end of the connection
   * @param next gives the next piece, which stays as it is until the one behind it is asked for; empty when there
   * is none
   */
  constructor(end: SendingEnd, next: () => Uint8Array) {
    this.#end = end;
    this.#next = next;
  }

  /** Whether a piece waits for room. */
  get waits(): boolean {
    return this.#sent < this.#piece.length;
  }

  /**
   * Gives the socket what it takes now.
   *
   * @returns false while something waits for room
   * @throws {MigrationError} when the peer is gone
   */
  flush(): boolean {
    do {
      while (this.#sent < this.#piece.length) {
        const rest = this.#piece.subarray(this.#sent);
        const count = this.#end.offer(rest, rest.length);
        if (count === 0) return false;
        this.#sent += count;
      }
      this.#sent = 0;
      this.#piece = this.#next();
    } while (this.#piece.length > 0);
    return true;
  }

  /** Forgets the rest of a piece: its connection is no more. */
  forget(): void {
    this.#piece = new Uint8Array();
    this.#sent = 0;
  }
}

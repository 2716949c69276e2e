/** What a destination's control plane says on the return path. */

import type { Eventfd } from "../ffi/eventfd.ts";
import type { Socket } from "../ffi/socket.ts";
import { ReturnPathEncoder } from "../migration/protocol/return_path_encoder.ts";
import type { DestinationState } from "./destination_state.ts";
import { ReturnPathMessage, returnPathRing } from "./return_path_ring.ts";

/** Milliseconds for a source to take its last message. */
const PATIENCE = 2_000;

/**
 * Answers the source: through the fault worker once that owns the return path, and before directly,
 * when nothing was asked for and nobody else has anything to say.
 */
export class ControlAnswers {
  readonly #ring = returnPathRing();
  readonly #state: DestinationState;
  readonly #faultWake: Eventfd;
  #given = 0;
  #handedOver = false;
  #heard = false;

  /**
   * @param state tells how many answers the socket has taken
   * @param faultWake ends the fault worker's waits
   */
  constructor(state: DestinationState, faultWake: Eventfd) {
    this.#state = state;
    this.#faultWake = faultWake;
  }

  /** The source listens to the return path. */
  open(): void {
    this.#heard = true;
  }

  /** True when the source listens to the return path. */
  get heard(): boolean {
    return this.#heard;
  }

  /** From here on the fault worker owns the return path; returns what it takes answers from. */
  handOver(): SharedArrayBuffer {
    this.#handedOver = true;
    return this.#ring.buffer;
  }

  /** Answers a PING of the package. */
  pong(value: number): void {
    this.#answer(ReturnPathMessage.PONG, value);
  }

  /** Says how it ended: 0 for well. Resolves when the socket has taken that, or the source is gone. */
  async shut(main: Socket, value: number): Promise<void> {
    if (this.#handedOver) {
      this.#answer(ReturnPathMessage.SHUT, value);
      return await this.taken();
    }
    if (!this.#heard) return;
    const encoder = new ReturnPathEncoder();
    encoder.shut(value);
    await main.sendAll(encoder.take(), { timeout: PATIENCE });
  }

  /** Waits until the socket has taken all answers, or the source is gone. */
  async taken(): Promise<void> {
    await this.#state.answered(this.#given);
  }

  #answer(kind: number, value: number): void {
    this.#ring.push(kind, value);
    this.#given++;
    this.#faultWake.signal();
  }
}

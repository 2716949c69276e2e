/** What a destination's control plane says on the return path. */

import type { Eventfd } from "../../ffi/eventfd.ts";
import type { SendingEnd } from "../../channel/sending_end.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { ReturnPathMessage, returnPathRing } from "./return_path_ring.ts";

/** Milliseconds for a source to take its last message. */
const PATIENCE = 2_000;

/**
 * Answers the source: through the fault server once that owns the return path, and before directly,
 * when nothing was asked for and nobody else has anything to say.
 */
export class ControlAnswers {
  readonly #ring = returnPathRing();
  readonly #faultWake: Eventfd;
  #given = 0;
  #taken = 0;
  #wait: PromiseWithResolvers<void> | undefined;
  #handedOver = false;
  #heard = false;

  /** @param faultWake ends the fault server's waits */
  constructor(faultWake: Eventfd) {
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

  /** What the fault server takes answers from. */
  get buffer(): SharedArrayBuffer {
    return this.#ring.buffer;
  }

  /** From here on the fault server owns the return path (LISTEN). */
  handOver(): void {
    this.#handedOver = true;
  }

  /** Answers a PING of the package. */
  pong(value: number): void {
    this.#answer(ReturnPathMessage.PONG, value);
  }

  /** Says how it ended: 0 for well. Resolves when the socket has taken that, or the source is gone. */
  async shut(returnPath: SendingEnd, value: number): Promise<void> {
    if (this.#handedOver) {
      this.#answer(ReturnPathMessage.SHUT, value);
      return await this.taken();
    }
    if (!this.#heard) return;
    const encoder = new ReturnPathEncoder();
    encoder.shut(value);
    await returnPath.sendAll(encoder.take(), { timeout: PATIENCE });
  }

  /** Waits until the socket has taken all answers, or the source is gone. */
  async taken(): Promise<void> {
    if (this.#taken >= this.#given) return;
    this.#wait = Promise.withResolvers();
    await this.#wait.promise;
  }

  /**
   * The fault server says that the socket has taken so many. By message: V8 tells of an `Atomics.notify`
   * only when something else wakes Deno's event loop, which took 40 ms of the downtime.
   */
  onTaken(count: number): void {
    this.#taken = count;
    if (count >= this.#given) this.#wait?.resolve();
  }

  /** The source is gone: nobody will take what was not taken. */
  giveUp(): void {
    this.onTaken(Infinity);
  }

  #answer(kind: number, value: number): void {
    this.#ring.push(kind, value);
    this.#given++;
    this.#faultWake.signal();
  }
}

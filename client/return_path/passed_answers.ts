/** Answers of other threads, passed on by the one that owns the return path. */

import type { Ring } from "../../migration/threads/ring.ts";
import { returnPathRing } from "./return_path_ring.ts";
import type { ReturnPathWriter } from "./return_path_writer.ts";

/** Index of the ring of the control plane's answers. */
const CONTROL_PLANE = 1;

/** Takes what the main channel's task and the control plane answer: a ring has one producer. */
export class PassedAnswers {
  readonly #rings: readonly Ring[];
  readonly #returnPath: ReturnPathWriter;
  #answered = 0;
  #told = 0;

  /**
   * @param main shared memory of the ring of the main channel's task
   * @param controlPlane shared memory of the control plane's ring
   * @param returnPath where the answers go
   */
  constructor(
    main: SharedArrayBuffer,
    controlPlane: SharedArrayBuffer,
    returnPath: ReturnPathWriter,
  ) {
    this.#rings = [returnPathRing(main), returnPathRing(controlPlane)];
    this.#returnPath = returnPath;
  }

  /**
   * Passes on what there is.
   *
   * @returns how many answers of the control plane the socket has taken until now, once when that has
   * changed; else -1
   */
  pass(): number {
    for (const ring of this.#rings) {
      while (!ring.empty) {
        this.#returnPath.answer(ring.peek(0), ring.peek(1));
        ring.drop();
        if (ring === this.#rings[CONTROL_PLANE]) this.#answered++;
      }
    }
    this.#returnPath.flush();
    if (this.#returnPath.pending || this.#told === this.#answered) return -1;
    this.#told = this.#answered;
    return this.#answered;
  }

  /** Forgets what is there: a source that comes again has not asked for it. */
  drop(): void {
    for (const ring of this.#rings) while (!ring.empty) ring.drop();
  }
}

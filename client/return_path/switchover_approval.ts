/** Telling a source that the guest may be handed over: QEMU's capability switchover-ack, at the destination. */

import { EXTENSION_COOKIE } from "../../migration/protocol/extensions.ts";
import {
  expectsApproval,
  type SwitchoverAckInit,
} from "../../migration/protocol/switchover_ack.ts";

/**
 * Knows whether one migration's source waits for an approval. Exactly one is said, where one is waited for: a QEMU
 * fails of one too many, and one that gets none sends its memory again and again (11.1, both seen).
 *
 * It is said when the memory is there to take the pages. QEMU says it when the return path is open, or when devices
 * that asked for it are ready; here no device asks.
 */
export class SwitchoverApproval {
  readonly #init: SwitchoverAckInit | undefined;
  #ours = false;

  /** @param init undefined when the capability is off */
  constructor(init: SwitchoverAckInit | undefined) {
    this.#init = init;
  }

  /** Whether a source of ours, which asks, is told that one will be said. */
  get on(): boolean {
    return this.#init !== undefined;
  }

  /** A PING has come: its value tells whose source it is. */
  asked(value: number): void {
    if (value === EXTENSION_COOKIE) this.#ours = true;
  }

  /**
   * Whether it is to be said, once the memory is there.
   *
   * @param machine the machine type
   */
  isDue(machine: string): boolean {
    if (this.#init === undefined) return false;
    return this.#ours || expectsApproval(machine, this.#init);
  }
}

/** Waiting for what a destination answers. */

import { PING } from "../sending/control_stream.ts";
import type { ReturnPathMessage } from "../sending/request_server.ts";

/** What was heard so far, and who waits for a PONG. */
export class Answers {
  readonly #heard = new Set<number>();
  #extensions: readonly string[] = [];
  #waiting: { readonly value: number; readonly resolve: () => void } | undefined;
  /** Called when the destination has loaded the device state. */
  onLoaded: () => void = () => {};

  /** What the destination understands beyond QEMU's protocol; complete with its first PONG. */
  get extensions(): readonly string[] {
    return this.#extensions;
  }

  /** Takes a message. */
  add(message: ReturnPathMessage): void {
    if (message.kind === "extensions") {
      this.#extensions = message.names;
      return;
    }
    const { value } = message;
    this.#heard.add(value);
    if (value === PING.LOADED) this.onLoaded();
    if (this.#waiting?.value === value) this.#waiting.resolve();
  }

  /**
   * Waits for a PONG, but no longer than the given milliseconds.
   *
   * @returns false when it did not come
   */
  async pong(value: number, milliseconds: number, signal: AbortSignal): Promise<boolean> {
    if (this.#heard.has(value)) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), milliseconds);
    this.#waiting = { value, resolve: () => resolve(true) };
    try {
      return await untilAborted(promise, signal);
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }
}

/** Settles as the promise does, or rejects with the signal's reason when that comes first. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  promise.catch(() => {}); // nobody may be left to hear of it
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

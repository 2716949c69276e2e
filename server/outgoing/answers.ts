/** Waiting for what a destination answers. */

import { MigrationError } from "../../migration/migration_error.ts";
import { PING } from "../sending/control_stream.ts";
import type { ReturnPathMessage } from "../sending/request_server.ts";

/** What can be waited for: the PONG of a PING, the approval of the switchover, or a word of a recovery. */
export type Answer = number | "approved" | "bitmaps" | "resumed";

/** What was heard so far, and who waits for an answer. */
export class Answers {
  readonly #heard = new Set<Answer>();
  #extensions: readonly string[] = [];
  readonly #waiting = new Map<Answer, Set<() => void>>();
  /** Called when the destination has loaded the device state. */
  onLoaded: () => void = () => {};

  /** What the destination understands beyond QEMU's protocol; complete with its first PONG. */
  get extensions(): readonly string[] {
    return this.#extensions;
  }

  /** Reports whether an answer was heard. */
  has(answer: Answer): boolean {
    return this.#heard.has(answer);
  }

  /** Takes a message. */
  add(message: ReturnPathMessage): void {
    switch (message.kind) {
      case "extensions":
        this.#extensions = message.names;
        return;
      case "pong":
        if (message.value === PING.LOADED) this.onLoaded();
        return this.#add(message.value);
      default:
        return this.#add(message.kind);
    }
  }

  /**
   * Waits for an answer, but no longer than the given milliseconds.
   *
   * @returns false when it did not come
   */
  async heard(answer: Answer, milliseconds: number, signal: AbortSignal): Promise<boolean> {
    if (this.#heard.has(answer)) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = milliseconds === Infinity
      ? undefined
      : setTimeout(() => resolve(false), milliseconds);
    const hear = () => resolve(true);
    const waiting = this.#waiting.get(answer) ?? new Set();
    this.#waiting.set(answer, waiting.add(hear));
    try {
      return await untilAborted(promise, signal);
    } finally {
      clearTimeout(timer);
      waiting.delete(hear);
    }
  }

  #add(answer: Answer): void {
    this.#heard.add(answer);
    for (const hear of this.#waiting.get(answer) ?? []) hear();
  }
}

/** The error for an answer that did not come in so many milliseconds. */
export function notAnswered(answer: Answer, milliseconds: number): MigrationError {
  return new MigrationError(
    "STALLED",
    `Destination has not answered ${questionOf(answer)} for ${
      milliseconds / 1000
    } s: see whether it still runs`,
  );
}

/** What an answer is given to. */
function questionOf(answer: Answer): string {
  if (answer === PING.RETURN_PATH) return "the greeting";
  return typeof answer === "number" ? `PING ${answer}` : "a recovery";
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

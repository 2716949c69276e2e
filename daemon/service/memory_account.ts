/** How much memory the process has of its own, and whether there may be more. */

import { formatBytes } from "../../migration/report/units.ts";
import { ServiceError } from "./service_error.ts";

/** Bytes that a session takes whatever it does: bitmaps of a few GiB, threads' buffers, what Deno needs for it. */
export const SESSION_BYTES = 1 << 20;

/** Keeps a limit. */
export class MemoryAccount {
  readonly #limit: () => number;
  readonly #toCome: () => number;

  /**
   * @param limit bytes; Infinity for none
   * @param toCome bytes that sessions which run have yet to take
   */
  constructor(limit: () => number, toCome: () => number) {
    this.#limit = limit;
    this.#toCome = toCome;
  }

  /**
   * Sees that there may be so much more.
   *
   * @throws {ServiceError} `TOO_MUCH_MEMORY`
   */
  admit(bytes: number): void {
    const limit = this.#limit();
    if (limit === Infinity) return;
    const used = ownMemory() + this.#toCome();
    if (used + bytes <= limit) return;
    throw new ServiceError(
      "TOO_MUCH_MEMORY",
      `Not enough memory for another session: ${formatBytes(used)} of ${
        formatBytes(limit)
      } are taken, and ` +
        `it may need ${formatBytes(bytes)}`,
      "wait until others have ended, or raise limits.memory",
    );
  }
}

/** Bytes of this process that no file holds: what others map too, images above all, does not count. */
export function ownMemory(): number {
  const text = Deno.readTextFileSync("/proc/self/status");
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
  return (kilobytes("RssAnon") + kilobytes("RssShmem")) * 1024;
}

/** Waiting for a descriptor without standing in the way of the event loop. */

import { Eventfd } from "./eventfd.ts";
import { PollEvents, PollSet } from "./poll.ts";

/** How long and for whom to wait. */
export interface WaitOptions {
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal;
  /** The longest wait, in milliseconds; without it there is no limit. */
  readonly timeout?: number;
}

/**
 * Waits on Deno's pool until the descriptor is ready, and returns the events found; the abort signal
 * reaches the poll as an eventfd.
 */
export async function waitReady(
  fd: number,
  events: number,
  what: string,
  options: WaitOptions,
): Promise<number> {
  options.signal?.throwIfAborted();
  using abort = new Eventfd();
  const onAbort = () => abort.signal();
  options.signal?.addEventListener("abort", onAbort);
  try {
    const set = new PollSet(2);
    set.watch(0, fd, events);
    set.watch(1, abort.fd, PollEvents.IN);
    const ready = await set.waitAsync(options.timeout ?? -1);
    options.signal?.throwIfAborted();
    if (ready === 0 && options.timeout !== undefined) {
      throw new DOMException(`No answer within ${options.timeout} ms: ${what}`, "TimeoutError");
    }
    return set.ready(0);
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
  }
}

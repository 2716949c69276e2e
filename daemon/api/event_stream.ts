/** Events as a stream (server-sent events): each reader at its own pace, from a log that waits for nobody. */

import type { EventLog } from "../service/event_log.ts";

/** Milliseconds of silence after which a comment is sent: so a reader that is gone is noticed. */
const KEEP_ALIVE = 15_000;
/** Events that are given to a connection at once. */
const BATCH = 64;

/**
 * Makes a stream of what happens. It is read only as the connection takes it: of what the log forgets meanwhile
 * the reader is told how much that was (`event: missed`).
 *
 * @param log what happens
 * @param after number of the event that was read last
 * @param ending ends all streams
 * @param keepAlive milliseconds
 */
export function eventStream(
  log: EventLog,
  after: number,
  ending: AbortSignal,
  keepAlive: number = KEEP_ALIVE,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  const gone = new AbortController();
  let last = Math.min(after, log.last);
  let begun = false;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      if (!begun) {
        begun = true;
        // The answer's head goes out with its first bytes: whoever connects knows at once that it is.
        return controller.enqueue(encoder.encode(": events\n\n"));
      }
      const timeout = new AbortController();
      const timer = setTimeout(() => timeout.abort(), keepAlive);
      try {
        await log.news(last, AbortSignal.any([gone.signal, ending, timeout.signal]));
      } finally {
        clearTimeout(timer);
      }
      if (gone.signal.aborted) return;
      if (ending.aborted) return controller.close();
      const { missed, events } = log.read(last, BATCH);
      const text = events.map(({ id, time, event }) =>
        `id: ${id}\nevent: ${event.event}\ndata: ${JSON.stringify({ time, ...event })}\n\n`
      );
      if (missed > 0) text.unshift(`event: missed\ndata: ${JSON.stringify({ missed })}\n\n`);
      last = events.at(-1)?.id ?? last;
      controller.enqueue(encoder.encode(text.length === 0 ? ": alive\n\n" : text.join("")));
    },
    cancel() {
      gone.abort();
    },
  }, { highWaterMark: 0 });
}

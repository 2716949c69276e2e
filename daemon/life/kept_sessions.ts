/** Going on, at a start, with what a daemon before had begun and not finished. */

import type { Logger } from "../npm/logtape.ts";
import type { Service } from "../service/service.ts";
import type { KeptSession } from "../service/state_store.ts";
import { literal } from "./log_events.ts";

/** Milliseconds after which a session is tried again that cannot be gone on with yet. */
const AGAIN = 5_000;
/** Milliseconds for which those who ask are let wait until all have been tried once. */
const PATIENCE = 10_000;

/**
 * Goes on with every session that is kept. What cannot be gone on with yet, because its image is not there, is tried
 * again until it can, or the service takes no more sessions.
 *
 * @returns how many there are, when each has begun or could not yet, or after a few seconds
 */
export async function takeUpKept(
  service: Service,
  logger: Pick<Logger, "info" | "warning" | "error">,
): Promise<number> {
  const { kept, problems } = await service.store.read();
  for (const problem of problems) {
    logger.error(
      `${
        literal(problem)
      }: its file is left where it is; remove it when its guest needs nothing more`,
    );
  }
  const oldest = kept.toSorted((one, other) => one.startedAt < other.startedAt ? -1 : 1);
  const tried = oldest.map((session) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    takeUp(service, session, logger, resolve).finally(resolve);
    return promise;
  });
  // An image whose index is gone may take minutes.
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, PATIENCE);
  await Promise.race([Promise.all(tried), late]);
  clearTimeout(timer);
  return kept.length;
}

async function takeUp(
  service: Service,
  session: KeptSession,
  logger: Pick<Logger, "info" | "warning" | "error">,
  onTried: () => void,
): Promise<void> {
  const { id, request } = session;
  const peer = request.direction === "incoming" ? request.listen : session.to ?? request.to;
  const names = { session: id, image: request.image, peer };
  logger.info("Session of a daemon before this one is gone on with", names);
  let told = "";
  try {
    await service.takeUp(session, async ({ message }) => {
      if (message !== told) {
        logger.error(
          `Session of a daemon before this one cannot be gone on with yet, and is tried again every ${
            AGAIN / 1000
          } s: ${literal(message)}`,
          names,
        );
      }
      told = message;
      onTried();
      await untilLater(service);
    });
  } catch (error) {
    logger.error(`Session cannot be gone on with: ${literal(String(error))}`, names);
  }
}

/** Waits for a while, or until the service takes no more sessions. */
async function untilLater(service: Service): Promise<void> {
  const later = new AbortController();
  const timer = setTimeout(() => later.abort(), AGAIN);
  try {
    while (!service.draining && !later.signal.aborted) {
      await service.events.news(service.events.last, later.signal);
    }
  } finally {
    clearTimeout(timer);
  }
}

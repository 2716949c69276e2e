/** Going on, at a start, with what a daemon before had begun and not finished. */

import type { Logger } from "../npm/logtape.ts";
import type { Service } from "../service/service.ts";
import { literal } from "./log_events.ts";

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
  logger: Pick<Logger, "info" | "error">,
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
    const { id, request } = session;
    const peer = request.direction === "incoming" ? request.listen : session.to ?? request.to;
    const names = { session: id, image: request.image, peer };
    logger.info("Session of a daemon before this one is gone on with", names);
    return service.takeUp(session);
  });
  // An image whose index is gone may take minutes.
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, PATIENCE);
  await Promise.race([Promise.all(tried), late]);
  clearTimeout(timer);
  return kept.length;
}

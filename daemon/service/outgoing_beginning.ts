/** What an outgoing migration of the daemon waits for before it begins. */

import type { Image } from "../../image/image.ts";
import { compressionNote } from "../../server/command/compress_arguments.ts";
import { HandOverGuard } from "../../server/command/hand_over_guard.ts";
import { hugePagesArgument, withHugeBlocks } from "../../server/command/huge_pages_argument.ts";
import { imageNotes } from "../../server/command/image_notes.ts";
import type { OrderArguments } from "../../server/command/order_arguments.ts";
import { OrderKeeper } from "../../server/command/order_keeper.ts";
import { untilAborted } from "../../server/outgoing/answers.ts";
import type { SourceOptions } from "../../server/source_options.ts";
import type { ImageOpening } from "./image_catalog.ts";
import type { OutgoingRequest } from "./requests.ts";
import { migrateCommand } from "./served_again.ts";

/** What was asked for. */
export interface BeginningInit {
  readonly request: OutgoingRequest;
  readonly options: SourceOptions;
  readonly order: OrderArguments;
  /** The image, which need not be open yet; the session lets go of it. */
  readonly opening: ImageOpening;
  /** The session's name. */
  readonly id: string;
}

/** What it has then. */
export interface Beginning {
  readonly image: Image;
  /** Whoever gets it disposes of it. */
  readonly guard: HandOverGuard;
  readonly keeper: OrderKeeper;
  /** What the user should know. */
  readonly notes: readonly string[];
}

/**
 * Waits for the image, and sees that its guest may be started.
 *
 * @param to where, as it is written
 * @param signal ends the wait
 * @throws {ImageError} when the image cannot be used
 * @throws {HandedOverError} when the guest may run at a destination already
 * @throws the signal's reason
 */
export async function waitToBegin(
  { options, opening, request, order, id }: BeginningInit,
  to: string,
  signal: AbortSignal,
): Promise<Beginning> {
  const opened = await untilAborted(opening.image, signal);
  const intent = request.recover ? "recover" : request.startAnew ? "start-anew" : "start";
  const command = migrateCommand(request.image, to);
  const guard = await HandOverGuard.look(opened, options.to, intent, command, id);
  try {
    const keeper = await OrderKeeper.open(opened, order);
    const image = withHugeBlocks(opened, hugePagesArgument(request.hugePages?.join()));
    signal.throwIfAborted();
    const notes = [
      compressionNote(options.compress),
      ...imageNotes(opened, options),
      ...guard.notes,
      ...keeper.notes,
    ].filter((note) => note !== undefined);
    return { image, guard, keeper, notes };
  } catch (error) {
    guard[Symbol.dispose]();
    throw error;
  }
}

/** An order for a guest that nobody has seen restored. */

import { knownHot } from "../../image/hot/known_hot.ts";
import type { Image } from "../../image/image.ts";
import { nameRuns, type PageRun } from "./page_run.ts";

/**
 * Names the pages that a guest at rest touches as soon as it runs, as its device state tells: code, stack, tables
 * and data of its processors, and the rings of its virtio devices; for the option `order` of a first restore. Of
 * a guest that is no x86 PC, or whose stream does not describe its devices, it names fewer, or none. Reads at
 * most 1024 pages of the image: those that are surely touched however slow its disk is, for others at most 30 ms.
 *
 * @param image an open image
 * @returns at most 1024 pages, the surest in front
 */
export function hotPages(image: Image): Iterable<Required<PageRun>> {
  return nameRuns(image.layout, knownHot(image));
}

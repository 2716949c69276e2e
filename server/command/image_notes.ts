/** What a user should know of an image before it is served. */

import { formatCount } from "../../migration/report/units.ts";
import type { Image } from "../../image/image.ts";
import type { SourceOptions } from "../source.ts";

/**
 * Says what is unexpected about an image, and how it will be served, a sentence each.
 *
 * @param image an open image
 * @param options how it will be served
 */
export function imageNotes(
  image: Image,
  { multifd, postcopyAfter, recover }: SourceOptions,
): string[] {
  const notes: string[] = [];
  if (multifd !== undefined && postcopyAfter === undefined && recover !== true) {
    notes.push(
      "The machine runs there once all of this has come: no page goes on demand behind multifd, unless " +
        "--postcopy-after says when to begin with that (QEMU from 10.1 on)",
    );
  }
  if (image.libvirt?.running === false) {
    notes.push(
      "libvirt would leave this domain paused, but here it runs, unless the destination was started " +
        "to wait (QEMU: -S)",
    );
  }
  if (image.index?.state === "temporary") {
    notes.push(`Index is not kept beside the image: ${image.index.reason ?? "unknown reason"}`);
  }
  const missing = image.counts?.reduce((sum, { missing }) => sum + missing, 0) ?? 0;
  if (missing > 0) {
    notes.push(
      `${
        formatCount(missing)
      } pages never occur in the image: they are zeros, sent to whoever asks for them`,
    );
  }
  return notes;
}

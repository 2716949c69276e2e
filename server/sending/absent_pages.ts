/** Telling a destination which pages it never gets, because the image does not hold them. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import { MAX_ABSENT_RUNS } from "../../migration/protocol/absent_pages.ts";
import { EXTENSION } from "../../migration/protocol/extensions.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";

/** By which a destination is told of pages that the image does not hold, also when others came before. */
const ABSENT_EXTENSIONS = [EXTENSION.ABSENT_PAGES, EXTENSION.ABSENT_BEHIND_PAGES];

/** Those of them that a destination has listed; undefined when it cannot be told. */
export function absentExtensions(listed: readonly string[]): readonly string[] | undefined {
  if (!listed.includes(EXTENSION.ABSENT_PAGES)) return undefined;
  return ABSENT_EXTENSIONS.filter((name) => listed.includes(name));
}

/** Encodes what a stream uses of what the destination listed, for before its first page. */
export function encodeExtensions(names: readonly string[]): Uint8Array {
  const stream = new StreamEncoder();
  stream.command({ kind: "extensions", names });
  return stream.take();
}

/**
 * Encodes the names of all pages that an image does not hold, and takes them from those that are to be sent:
 * from here on they are the destination's. A huge page of which the image holds a part is not among them.
 *
 * @param layout the blocks
 * @param present the pages that the image holds
 * @param dirty pages that are to be sent; no sender takes any meanwhile
 * @param extensions that the stream uses from here on; none where it was told before its first page
 * @returns pieces of the main channel's stream below 64 KiB, for a destination that listed `absent-pages`
 */
export function* nameAbsentPages(
  layout: RamLayout,
  present: PageBitmap,
  dirty: PageBitmap,
  extensions: readonly string[] = [EXTENSION.ABSENT_PAGES],
): Generator<Uint8Array> {
  const stream = new StreamEncoder(layout.targetPageSize);
  if (extensions.length > 0) stream.command({ kind: "extensions", names: extensions });
  for (const block of layout.blocks) {
    for (const runs of absentRuns(block, present)) {
      for (let at = 0; at < runs.length; at += 2) {
        dirty.clear(block.firstPage + runs[at]!, runs[at + 1]!);
      }
      stream.command({ kind: "absent-pages", block: block.name, runs });
      yield stream.take();
    }
  }
}

/** Finds the runs of a block, as many as one command takes at a time: first page and pages of each. */
function* absentRuns(block: RamBlock, present: PageBitmap): Generator<number[]> {
  const { firstPage, pageCount, pagesPerHostPage } = block;
  const end = firstPage + pageCount;
  let runs: number[] = [];
  for (let page = present.nextClear(firstPage, end); page >= 0;) {
    const next = present.next(page, end);
    const behind = next < 0 ? end : next;
    const first = Math.ceil((page - firstPage) / pagesPerHostPage) * pagesPerHostPage;
    const last = Math.floor((behind - firstPage) / pagesPerHostPage) * pagesPerHostPage;
    if (last > first) runs.push(first, last - first);
    if (runs.length === 2 * MAX_ABSENT_RUNS) {
      yield runs;
      runs = [];
    }
    page = next < 0 ? -1 : present.nextClear(next, end);
  }
  if (runs.length > 0) yield runs;
}

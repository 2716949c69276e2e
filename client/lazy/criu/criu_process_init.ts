/** What a process that CRIU restores is served with. */

import type { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import type { PageRuns } from "./page_runs.ts";
import type { ProcessMap } from "./process_map.ts";

/** How a process is made. */
export interface CriuProcessInit {
  /** Owned elsewhere. */
  readonly uffd: number;
  /** Where its pages are: the process's from here on. */
  readonly map: ProcessMap;
  readonly runs: PageRuns;
  /** Pages in place: the process's, in memory owned elsewhere. */
  readonly placed: PageBitmap;
  /** Shared memory of pages that are filled first, if there are any. */
  readonly plan?: SharedArrayBuffer | undefined;
}

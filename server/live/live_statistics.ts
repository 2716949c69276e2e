/** What a live source reports, in the names of QEMU's `query-migrate`. */

import type { LiveState } from "./live_state.ts";
import {
  type RamStatistics,
  type SourceFigures,
  type SourceStatistics,
  sourceStatistics,
  type SourceStatus,
} from "../outgoing/statistics.ts";

/** Memory statistics of a live source. */
export interface LiveRamStatistics extends RamStatistics {
  /** Pages a second that the guest wrote for the first time in the last round. */
  readonly "dirty-pages-rate": number;
  /** Rounds: how often the memory, or what was written since, was gone through. */
  readonly "dirty-sync-count": number;
  /** Pages a second that the destination takes. */
  readonly "pages-per-second": number;
  /** Bytes sent while the guest ran here: pages, and which of them are out of date. */
  readonly "precopy-bytes": number;
  /** Bytes sent while the guest ran nowhere, without the device state. */
  readonly "downtime-bytes": number;
}

/** What a downtime was spent on, seen from the source, in milliseconds; they add up to it. */
export interface DowntimeParts {
  /** Stopping the guest. */
  readonly stop: number;
  /** Saving the state beside its memory. */
  readonly save: number;
  /**
   * Sending that, after what was left of the memory or which pages to forget, and waiting until the
   * destination has loaded it; how long it loads, the destination says.
   */
  readonly transfer: number;
}

/** What {@linkcode LiveSource.statistics} returns. */
export interface LiveStatistics extends SourceStatistics {
  /** Milliseconds from the guest's stop until the destination had loaded it; absent before. */
  readonly downtime?: number;
  /** What the downtime was spent on, in milliseconds; absent with it. */
  readonly "downtime-parts"?: DowntimeParts;
  /** Milliseconds that it would take if the guest stopped now. */
  readonly "expected-downtime": number;
  /** Memory. */
  readonly ram: LiveRamStatistics;
}

/**
 * Puts a live source's figures together.
 *
 * @param remaining pages to be sent
 * @param now monotonic nanoseconds
 */
export function liveStatistics(
  status: SourceStatus,
  figures: SourceFigures,
  live: LiveState,
  remaining: number,
  now: number,
): LiveStatistics {
  const { layout, times } = figures;
  const { ram, ...source } = sourceStatistics(status, figures, remaining, now);
  const end = times.ended || now;
  const seconds = times.connected === 0 ? 0 : (end - times.connected) / 1e9;
  const postcopyBytes = times.switched === 0
    ? 0
    : ram.transferred - live.precopyBytes - live.downtimeBytes;
  return {
    ...source,
    ...times.stopped === 0 || times.loaded === 0 ? {} : {
      downtime: (times.loaded - times.stopped) / 1e6,
      "downtime-parts": {
        stop: (times.paused - times.stopped) / 1e6,
        save: (times.saved - times.paused) / 1e6,
        transfer: (times.loaded - times.saved) / 1e6,
      },
    },
    "expected-downtime": live.expectedDowntime,
    ram: {
      ...ram,
      mbps: seconds === 0 ? 0 : ram.transferred * 8 / 1e6 / seconds,
      "postcopy-bytes": Math.max(0, postcopyBytes),
      "dirty-pages-rate": live.dirtyRate,
      "dirty-sync-count": live.rounds,
      "pages-per-second": live.bandwidth / (layout.targetPageSize + 8),
      "precopy-bytes": live.precopyBytes,
      "downtime-bytes": live.downtimeBytes,
    },
  };
}

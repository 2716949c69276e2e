/** A live migration's figures as people read them. */

import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
} from "../../migration/report/units.ts";
import type { LiveStatistics } from "../live/live_statistics.ts";
import { sentPagesText } from "./sent_pages_text.ts";

/** Tells the figures so far on one line. */
export function liveProgressText({ status, ram, ...times }: LiveStatistics): string {
  const pageSize = ram["page-size"];
  if (status === "postcopy-active") {
    return [
      status,
      `${formatBytes(ram.remaining)} left`,
      `${formatCount(ram["postcopy-requests"])} pages requested`,
      formatRate(ram.mbps * 1e6 / 8),
    ].join(", ");
  }
  return [
    status,
    `round ${ram["dirty-sync-count"]}`,
    `${formatBytes(ram.remaining)} left`,
    `${formatRate(ram["dirty-pages-rate"] * pageSize)} written`,
    `${formatRate(ram["pages-per-second"] * pageSize)} sent`,
    `downtime ${formatDuration(times["expected-downtime"] * 1e6)} expected`,
  ].join(", ");
}

function downtimeText(downtime: number, parts: LiveStatistics["downtime-parts"]): string {
  const split = Object.entries(parts ?? {})
    .map(([part, milliseconds]) => `${part} ${formatDuration(milliseconds * 1e6)}`);
  return `downtime ${formatDuration(downtime * 1e6)} (${split.join(", ")})`;
}

/** Tells the outcome on one line. */
export function liveSummaryText(statistics: LiveStatistics): string {
  const { downtime, ram, ...times } = statistics;
  return [
    `Completed in ${formatDuration(times["total-time"] * 1e6)}`,
    ...downtime === undefined ? [] : [downtimeText(downtime, times["downtime-parts"])],
    ram["dirty-sync-count"] === 1 ? "1 round" : `${formatCount(ram["dirty-sync-count"])} rounds`,
    sentPagesText(statistics),
    `${formatCount(ram["postcopy-requests"])} requested`,
    formatRate(ram.mbps * 1e6 / 8),
  ].join(", ");
}

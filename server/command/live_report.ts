/** A live migration's figures as people read them. */

import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
} from "../../migration/report/units.ts";
import type { LiveStatistics } from "../live/live_statistics.ts";
import { writtenFirstText } from "./order_text.ts";
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
  const rounds = ram["dirty-sync-count"];
  const sent = ram["pages-per-second"];
  return [
    status,
    ...rounds === 0 ? [] : [`round ${rounds}`],
    `${formatBytes(ram.remaining)} left`,
    // What is written, and how long the rest would take, is known when a round has ended.
    ...rounds < 2 ? [] : [`${formatRate(ram["dirty-pages-rate"] * pageSize)} written`],
    ...sent === 0 ? [] : [`${formatRate(sent * pageSize)} sent`],
    ...rounds < 2 ? [] : [`downtime ${formatDuration(times["expected-downtime"] * 1e6)} expected`],
  ].join(", ");
}

function downtimeText(downtime: number, parts: LiveStatistics["downtime-parts"]): string {
  const split = Object.entries(parts ?? {})
    .map(([part, milliseconds]) => `${part} ${formatDuration(milliseconds * 1e6)}`);
  return `downtime ${formatDuration(downtime * 1e6)} (${split.join(", ")})`;
}

/** Tells the outcome on one line. */
export function liveSummaryText(statistics: LiveStatistics): string {
  const { downtime, ram, order, ...times } = statistics;
  return [
    `Completed in ${formatDuration(times["total-time"] * 1e6)}`,
    ...downtime === undefined ? [] : [downtimeText(downtime, times["downtime-parts"])],
    ram["dirty-sync-count"] === 1 ? "1 round" : `${formatCount(ram["dirty-sync-count"])} rounds`,
    sentPagesText(statistics),
    ...order === undefined ? [] : [writtenFirstText(order)],
    `${formatCount(ram["postcopy-requests"])} requested`,
    formatRate(ram.mbps * 1e6 / 8),
  ].join(", ");
}

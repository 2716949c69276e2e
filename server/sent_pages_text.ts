/** What was sent, as people read it. */

import { formatCount, formatShare } from "../migration/report/units.ts";
import type { SourceStatistics } from "./statistics.ts";

/** Tells how many pages of each kind were sent, and what compression made of its share. */
export function sentPagesText({ ram, compression }: SourceStatistics): string {
  const kinds = [
    `${formatCount(ram.normal)} pages`,
    ...compression === undefined
      ? []
      : [`${formatCount(compression.pages)} ${compression.method} pages`],
  ];
  const failed = compression?.failed ?? 0;
  const sent = `${kinds.join(", ")} and ${formatCount(ram.duplicate)} zero pages sent`;
  if (failed > 0) return `${sent} (${formatCount(failed)} could not be compressed)`;
  if (compression === undefined || compression.pages === 0) return sent;
  const size = formatShare(1, compression["compression-rate"]);
  return `${sent} (${compression.method} to ${size})`;
}

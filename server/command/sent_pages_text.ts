/** What was sent, as people read it. */

import { formatBytes, formatCount, formatShare } from "../../migration/report/units.ts";
import type { CompressionStatistics } from "../compression/compression_statistics.ts";
import type { MultifdStatistics } from "../multifd/multifd_statistics.ts";
import type { SourceStatistics } from "../outgoing/statistics.ts";

/** Tells how many pages of each kind were sent, what compression brought, and what went on other channels. */
export function sentPagesText({ ram, compression, multifd }: SourceStatistics): string {
  const zero = `${formatCount(ram.duplicate)} zero pages sent`;
  const normal = `${formatCount(ram.normal)} pages`;
  if (compression === undefined) return `${normal} and ${zero}${multifdText(multifd)}`;
  const { method, pages } = compression;
  const brought = compressionText(compression);
  return `${normal}, ${formatCount(pages)} ${method} pages and ${zero}${brought}`;
}

/** What went on channels of multifd, and how. */
function multifdText(multifd: MultifdStatistics | undefined): string {
  if (multifd === undefined) return "";
  const { channels, compression, bytes } = multifd;
  const how = compression === "none" ? "" : ` by ${compression}`;
  return ` (${formatBytes(bytes)} on ${formatCount(channels)} multifd channels${how})`;
}

/** To what share pages were compressed, and why others were not. */
function compressionText(compression: CompressionStatistics): string {
  const { method, pages, busy, incompressible, failed } = compression;
  const parts = [
    ...pages === 0 ? [] : [`${method} to ${formatShare(1, compression["compression-rate"])}`],
    ...busy === 0 ? [] : [`${formatCount(busy)} as they are because all threads were busy`],
    ...incompressible === 0
      ? []
      : [`${formatCount(incompressible)} as they are because they hardly shrink`],
    ...failed === 0 ? [] : [`${formatCount(failed)} that could not be compressed`],
  ];
  return parts.length === 0 ? "" : ` (${parts.join("; ")})`;
}

/** The figures of a session that all directions have, for tables. */

import type { LazyHostStatistics, SessionView } from "../service/session.ts";

/** What a table shows; undefined for what is not known, or not yet. */
export interface SessionFigures {
  /** Pages that the other end, or the image, still lacks. */
  readonly left: number | undefined;
  /** Pages of all blocks. */
  readonly pages: number | undefined;
  /** Pages that were asked for, so far. */
  readonly faults: number | undefined;
  /** Nanoseconds from a request to its page on the way, mean. */
  readonly latency: number | undefined;
  /** Bytes moved so far. */
  readonly bytes: number;
}

/** A page of every host that is served here. */
const PAGE = 4096;

/** Takes them from a session. */
export function figuresOf({ statistics }: Pick<SessionView, "statistics">): SessionFigures {
  if ("ram" in statistics) {
    const { ram } = statistics;
    const size = ram["page-size"] || PAGE;
    const known = ram.total > 0; // its image is open
    return {
      left: known ? ram.remaining / size : undefined,
      pages: known ? ram.total / size : undefined,
      faults: ram["postcopy-requests"],
      latency: statistics["requests-served"] === 0 ? undefined : statistics["request-service-time"],
      bytes: ram.transferred,
    };
  }
  if ("processes" in statistics) return lazyFigures(statistics);
  const { pages, received } = statistics;
  return {
    left: pages === 0 ? undefined : pages - received,
    pages: pages === 0 ? undefined : pages,
    faults: undefined,
    latency: undefined,
    bytes: statistics["main-bytes"] + statistics["preempt-bytes"] +
      (statistics["multifd-bytes"] ?? 0),
  };
}

/** Of an image at a page server it is what has come of that, else what its processes have. */
function lazyFigures({ processes, image }: LazyHostStatistics): SessionFigures {
  const sum = (of: (each: typeof processes[number]) => number) =>
    processes.reduce((all, each) => all + of(each), 0);
  const faults = sum((each) => each.faults);
  if (image !== undefined) {
    const { pages, received, bytes } = image;
    return { left: pages - received, pages, faults, latency: undefined, bytes };
  }
  const placed = sum(({ urgent, background }) => urgent + background);
  const pages = sum(({ total }) => total) / PAGE;
  return {
    left: pages === 0 ? undefined : Math.max(0, pages - placed),
    pages: pages === 0 ? undefined : pages,
    faults,
    latency: undefined,
    bytes: placed * PAGE,
  };
}

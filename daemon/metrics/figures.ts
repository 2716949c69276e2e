/** The figures of a session that Prometheus gets: their names, and how they are read. */

import type { LazyHostStatistics, SessionView } from "../service/session.ts";
import type { ReceiveStatistics } from "../../client/receive/receive_statistics.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import { BASE_PAGE } from "../../client/lazy/region.ts";

/** A figure, whose name follows `postcopy_session_`, and of what has a total `postcopy_` too. */
export interface Figure {
  readonly name: string;
  readonly help: string;
  /** Counters and histograms have a total over all sessions that ever were. */
  readonly type: "counter" | "gauge" | "histogram";
  /** The label that tells its values apart, where it has several. */
  readonly label?: string;
}

/** All of them. Names are of https://prometheus.io/docs/practices/naming/: base units, `_total` of counters. */
export const FIGURES = {
  transferred: {
    name: "transferred_bytes_total",
    help:
      "Bytes of the migration's channels, by path: background (unasked, main channel), urgent " +
      "(asked for, preempt channel), multifd.",
    type: "counter",
    label: "path",
  },
  pages: {
    name: "pages_total",
    help: "Pages sent, or received, by content: data, zero.",
    type: "counter",
    label: "content",
  },
  faults: {
    name: "faults_total",
    help: "Pages that were asked for because the guest, or a process, waited for them.",
    type: "counter",
  },
  service: {
    name: "fault_service_seconds",
    help: "From a request read to its page given to the socket (outgoing, mode preempt-full).",
    type: "histogram",
  },
  early: {
    name: "prefetch_early_pages_total",
    help: "Pages of the order of first touch that were sent before the guest ran.",
    type: "counter",
  },
  late: {
    name: "prefetch_late_pages_total",
    help: "Pages of the order that were asked for all the same: they came too late.",
    type: "counter",
  },
  planned: {
    name: "prefetch_planned_pages",
    help: "Pages in the order of first touch.",
    type: "gauge",
  },
  unasked: {
    name: "prefetch_unasked_pages",
    help: "Pages of the order that nobody asked for: sent in time, or in vain.",
    type: "gauge",
  },
  processor: {
    name: "cpu_seconds_total",
    help: "Processor time of the session's own steps, by work.",
    type: "counter",
    label: "work",
  },
  pauses: {
    name: "pauses_total",
    help: "How often the session came to postcopy-paused.",
    type: "counter",
  },
  recoveries: {
    name: "recoveries_total",
    help: "How often a paused session went on.",
    type: "counter",
  },
  refused: {
    name: "handshakes_refused_total",
    help: "Connections that were turned away, by reason: tls, network (not allowed), silent.",
    type: "counter",
    label: "reason",
  },
  memory: {
    name: "memory_bytes",
    help: "Memory that is migrated, or served.",
    type: "gauge",
  },
  remaining: {
    name: "remaining_bytes",
    help: "Memory that has not been sent, or received.",
    type: "gauge",
  },
  waiting: {
    name: "waiting_faults",
    help: "Faults of a lazy session's processes that wait now.",
    type: "gauge",
  },
} as const satisfies Readonly<Record<string, Figure>>;

/** A key of {@linkcode FIGURES}. */
export type FigureKey = keyof typeof FIGURES;

/** Values of a session, by figure and then by the value of its label, which is empty where it has none. */
export type Readings = Map<FigureKey, Map<string, number>>;

/** The label's value under which the seconds of a histogram are; a bucket's are under its number. */
export const SUM = "sum";

/** Adds a value. */
export function addReading(readings: Readings, key: FigureKey, value: number, label = ""): void {
  let values = readings.get(key);
  if (values === undefined) readings.set(key, values = new Map());
  values.set(label, (values.get(label) ?? 0) + value);
}

/** Of a session that has no parts. */
const WHOLE = "";

/**
 * Reads what a session's statistics say.
 *
 * @returns the values of each of its parts: of a lazy session one a process, of others one. A part that is not there
 * the next time is gone, and what it counted stays counted.
 */
export function readFigures(view: SessionView): Map<string, Readings> {
  const { direction, statistics } = view;
  if (direction === "lazy") return readLazy(statistics as LazyHostStatistics);
  const readings: Readings = new Map();
  if (direction === "outgoing") readOutgoing(readings, statistics as SourceStatistics);
  else readIncoming(readings, statistics as ReceiveStatistics);
  const { tls, network, silent } = view.refusals ?? {};
  if (tls !== undefined) addReading(readings, "refused", tls, "tls");
  if (network !== undefined) addReading(readings, "refused", network, "network");
  if (silent !== undefined) addReading(readings, "refused", silent, "silent");
  return new Map([[WHOLE, readings]]);
}

function readOutgoing(readings: Readings, statistics: SourceStatistics): void {
  const { ram, multifd, order, threads } = statistics;
  const channels = multifd?.bytes ?? 0;
  const urgent = ram["postcopy-bytes"];
  const background = Math.max(0, ram.transferred - urgent - channels);
  addPaths(readings, background, urgent, multifd?.bytes);
  addReading(readings, "pages", ram.normal, "data");
  addReading(readings, "pages", ram.duplicate, "zero");
  addReading(readings, "faults", ram["postcopy-requests"]);
  statistics["request-service-dist"].forEach((count, bucket) =>
    addReading(readings, "service", count, String(bucket))
  );
  const nanoseconds = statistics["request-service-time"] * statistics["requests-served"];
  addReading(readings, "service", nanoseconds / 1e9, SUM);
  addReading(readings, "memory", ram.total);
  addReading(readings, "remaining", ram.remaining);
  for (const { name, "cpu-time": milliseconds } of threads) {
    // Of compress-0 and on there may be many, and nobody asks which of them it was.
    addReading(readings, "processor", milliseconds / 1e3, name.replace(/-\d+$/, ""));
  }
  if (order === undefined) return;
  for (const key of ["planned", "early", "late", "unasked"] as const) {
    addReading(readings, key, order[key]);
  }
}

function readIncoming(readings: Readings, statistics: ReceiveStatistics): void {
  const { pages, received, unnamed, normal, duplicate, status } = statistics;
  const size = statistics["page-size"];
  addPaths(
    readings,
    statistics["main-bytes"],
    statistics["preempt-bytes"],
    statistics["multifd-bytes"],
  );
  addReading(readings, "pages", normal, "data");
  addReading(readings, "pages", duplicate, "zero");
  addReading(readings, "memory", pages * size);
  // What nobody named is zero once all is over.
  const left = pages - received - (status === "completed" ? unnamed : 0);
  addReading(readings, "remaining", left * size);
}

function readLazy({ processes }: LazyHostStatistics): Map<string, Readings> {
  const parts = new Map<string, Readings>();
  processes.forEach(({ pid, total, faults, urgent, background, waiting }, index) => {
    const readings: Readings = new Map();
    addPaths(readings, background * BASE_PAGE, urgent * BASE_PAGE, undefined);
    addReading(readings, "faults", faults);
    addReading(readings, "memory", total);
    addReading(readings, "remaining", Math.max(0, total - (urgent + background) * BASE_PAGE));
    addReading(readings, "waiting", waiting);
    // Several may be out of sight, with no number.
    parts.set(pid === 0 ? `unseen ${index}` : String(pid), readings);
  });
  return parts;
}

function addPaths(
  readings: Readings,
  background: number,
  urgent: number,
  multifd: number | undefined,
): void {
  addReading(readings, "transferred", background, "background");
  addReading(readings, "transferred", urgent, "urgent");
  if (multifd !== undefined) addReading(readings, "transferred", multifd, "multifd");
}

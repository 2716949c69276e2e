/** Series as prom-client writes them. */

import { cumulative } from "./buckets.ts";
import { type Figure, type FigureKey, FIGURES, SUM } from "./figures.ts";

/** One value. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** Name of the series, where it is not the family's. */
  readonly metricName?: string;
}

/** All series of a name. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly values: readonly Sample[];
}

/**
 * Makes the series of a figure.
 *
 * @param values by the value of the figure's label; undefined when there are none
 * @param labels of whom they are
 */
export function samplesOf(
  key: FigureKey,
  values: ReadonlyMap<string, number> | undefined,
  labels: Readonly<Record<string, string>>,
): Sample[] {
  if (values === undefined) return [];
  const { label, type }: Figure = FIGURES[key];
  if (type === "histogram") return histogram(nameOf(key, labels), values, labels);
  return Array.from(values, ([each, value]) => ({
    labels: label === undefined ? labels : { ...labels, [label]: each },
    value,
  }));
}

/** The name of a figure's family: of a session's, or of the totals. */
function nameOf(key: FigureKey, labels: Readonly<Record<string, string>>): string {
  return `postcopy_${"session" in labels ? "session_" : ""}${FIGURES[key].name}`;
}

function histogram(
  name: string,
  values: ReadonlyMap<string, number>,
  labels: Readonly<Record<string, string>>,
): Sample[] {
  const counts: number[] = [];
  for (const [label, value] of values) if (label !== SUM) counts[Number(label)] = value;
  const buckets = cumulative(counts);
  return [
    ...buckets.map(({ le, count }) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le },
      value: count,
    })),
    { metricName: `${name}_sum`, labels, value: values.get(SUM) ?? 0 },
    // Not the statistics' own count, which may be a latency ahead of the buckets.
    { metricName: `${name}_count`, labels, value: buckets.at(-1)!.count },
  ];
}

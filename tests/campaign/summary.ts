/** What a campaign found, as text. */

import type { Holdings } from "./campaign.ts";
import type { RunResult } from "./run.ts";

const OUTCOMES = ["moved", "stayed", "held", "failed"] as const;

/** Writes tables in Markdown. */
export function summarize(
  results: readonly RunResult[],
  before: Holdings,
  after: Holdings,
): string {
  const seeds = results.map(({ seed }) => seed);
  const longest = results.reduce((one, other) =>
    other.milliseconds > one.milliseconds ? other : one
  );
  const seconds = results.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / 1000;
  const pauses = results.reduce((sum, result) => sum + result.pauses, 0);
  const kinds = (result: RunResult) => [`${result.plan.source} to ${result.plan.destination}`];
  const faults = ({ struck }: RunResult) =>
    struck.length === 0 ? ["none struck"] : [...new Set(struck.map(({ act }) => act.kind))];
  return [
    `${results.length} runs, seeds ${Math.min(...seeds)} to ${Math.max(...seeds)}, ` +
    `${seconds.toFixed(0)} s; ${pauses} pauses; the longest run took ` +
    `${(longest.milliseconds / 1000).toFixed(1)} s (seed ${longest.seed})`,
    `Resident ${before.residentMiB} to ${after.residentMiB} MiB, threads ${before.threads} to ` +
    `${after.threads}`,
    "",
    table("Ends", results, kinds),
    table("Mode", results, ({ plan }) => [plan.mode]),
    table("TLS", results, ({ plan }) => [plan.tls ?? "in clear"]),
    table("Compression", results, ({ plan }) => [plan.compress ?? "none"]),
    table("Faults that struck", results, faults),
  ].join("\n");
}

function table(
  name: string,
  results: readonly RunResult[],
  namesOf: (result: RunResult) => readonly string[],
): string {
  const rows = new Map<string, number[]>();
  for (const result of results) {
    for (const row of namesOf(result)) {
      const counts = rows.get(row) ?? OUTCOMES.map(() => 0);
      counts[OUTCOMES.indexOf(result.outcome)]!++;
      rows.set(row, counts);
    }
  }
  const lines = [...rows].sort(([one], [other]) => one < other ? -1 : 1)
    .map(([row, counts]) => `| ${row} | ${counts.join(" | ")} |`);
  return [
    `| ${name} | ${OUTCOMES.join(" | ")} |`,
    `| --- | ${OUTCOMES.map(() => "--:").join(" | ")} |`,
    ...lines,
    "",
  ].join("\n");
}

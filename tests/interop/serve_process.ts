/** The `serve` command as a user runs it. */

import { assertEquals } from "@std/assert";
import type { Image } from "../../image/image.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";

const MAIN = new URL("../../server/main.ts", import.meta.url).pathname;

/** How a `serve` ended. */
export interface Served {
  /** Its exit code. */
  readonly code: number;
  /** What it said to people. */
  readonly stderr: string;
  /** Its figures. */
  readonly statistics: SourceStatistics;
}

/** Runs `serve IMAGE --to ADDRESS --json` with further arguments, to its end. */
export async function serve(image: string, to: string, ...args: string[]): Promise<Served> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MAIN, "serve", image, "--to", to, "--json", ...args],
    stdin: "null",
  }).output();
  const [json, messages] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (json === "") throw new Error(`serve printed no figures, exit code ${code}: ${messages}`);
  return { code, stderr: messages!, statistics: JSON.parse(json!) as SourceStatistics };
}

/**
 * Sees that a source sent a QEMU each page that the image holds once, of the others all or those that it asked
 * for, and that its figures agree.
 */
export function assertEveryPageSentOnce(statistics: SourceStatistics, image: Image): void {
  const { ram } = statistics;
  const pages = { data: 0, zero: 0, absent: 0 };
  for (const { data, zero, missing } of image.counts!) {
    pages.data += data;
    // A mapped-ram file holds no zero page.
    if (image.kind === "mapped-ram") pages.absent += zero;
    else pages.zero += zero;
    pages.absent += missing;
  }
  assertEquals(statistics.status, "completed");
  assertEquals(ram.remaining, 0);
  assertEquals(ram.total, image.layout.pageCount * image.targetPageSize);
  assertEquals(ram.normal, pages.data);
  const asked = ram.duplicate - pages.zero;
  const most = Math.min(pages.absent, ram["postcopy-requests"]);
  const right = asked === pages.absent || (asked >= 0 && asked <= most);
  assertEquals(right, true, `${asked} of ${JSON.stringify(pages)}`);
  assertEquals(ram["normal-bytes"], ram.normal * image.targetPageSize);
  // A record has 8 bytes before a page and 9 in place of a zero page; names and sections are few.
  const least = ram["normal-bytes"] + 8 * ram.normal + 9 * ram.duplicate;
  assertEquals(ram.transferred >= least && ram.transferred < 1.01 * least, true);
  const served = statistics["request-service-dist"].reduce((sum, count) => sum + count, 0);
  assertEquals(served, statistics["requests-served"]);
  assertEquals(served <= ram["postcopy-requests"], true);
  if (statistics.mode !== "preempt-full") assertEquals(served, 0);
}

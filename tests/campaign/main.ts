// deno-lint-ignore-file no-console -- a command
/**
 * The fault campaign: random guests are migrated, at random moments something fails, and each run ends with
 * every byte compared or the guest where it was: `deno task campaign --runs 1000 [--seed 1] [--tls none|x509|psk]`.
 *
 * @module
 */

import "../support/native.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Campaign, holdings } from "./campaign.ts";
import { summarize } from "./summary.ts";
import type { TlsKind } from "./draw.ts";
import type { RunResult } from "./run.ts";

/** Milliseconds for which threads stay between two runs. */
const LINGER = 2_000;

function option(name: string, fallback: string): string {
  const at = Deno.args.indexOf(`--${name}`);
  return at < 0 ? fallback : Deno.args[at + 1] ?? fallback;
}

function count(name: string, fallback: number): number {
  const given = Number(option(name, String(fallback)));
  if (Number.isSafeInteger(given) && given >= 0) return given;
  console.error(`postcopy: --${name} is a whole number: ${option(name, "")}`);
  Deno.exit(2);
}

function tlsOption(): TlsKind | "none" | undefined {
  const given = option("tls", "drawn");
  if (given === "x509" || given === "psk" || given === "none") return given;
  if (given === "drawn") return undefined;
  console.error(`postcopy: --tls is none, x509, psk or drawn: ${given}`);
  Deno.exit(2);
}

async function main(): Promise<number> {
  const runs = count("runs", 100);
  const first = count("seed", 1);
  const tls = tlsOption();
  const results: RunResult[] = [];
  ThreadPool.shared.linger = LINGER;
  const began = holdings();
  {
    await using campaign = new Campaign({
      betweenLooks: count("look", 10),
      ...tls === undefined ? {} : { tls },
    });
    for (let seed = first; seed < first + runs; seed++) {
      const result = await campaign.run(seed);
      results.push(result);
      const { outcome, milliseconds, struck, plan, pauses } = result;
      const faults = struck.map(({ act }) => act.kind).join(",") || "none";
      console.error(
        `${seed} ${plan.source}>${plan.destination} ${plan.mode} ${
          plan.tls ?? "clear"
        } ${outcome} ` +
          `${milliseconds.toFixed(0)} ms, faults ${faults}, pauses ${pauses}`,
      );
      if (outcome === "failed" || runs === 1) console.error(result.report);
    }
    await campaign.look();
  }
  const summary = summarize(results, began, holdings());
  console.log(summary);
  const json = option("json", "");
  if (json !== "") {
    const rows = results.map((
      { report: _, plan: { source, destination, mode, tls }, ...rest },
    ) => ({
      ...rest,
      ...{ source, destination, mode, tls },
    }));
    Deno.writeTextFileSync(json, `${JSON.stringify(rows)}\n`);
  }
  const failed = results.filter(({ outcome }) => outcome === "failed");
  const again = tls === undefined ? "" : ` --tls ${tls}`;
  for (const { seed } of failed) console.log(`deno task campaign --runs 1 --seed ${seed}${again}`);
  return failed.length === 0 ? 0 : 1;
}

Deno.exit(await main());

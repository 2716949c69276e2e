/** Runs one after the other, and what they have in common. */

import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { until } from "../support/deadline.ts";
import { openDescriptors } from "../support/descriptors.ts";
import type { Encryption } from "../support/migrate.ts";
import { type BothEnds, certificates, preSharedKey } from "../tls/credentials.ts";
import { runOne, type RunResult } from "./run.ts";
import { drawPlan, MOST_TOUCHERS, type TlsKind } from "./draw.ts";
import { TouchThreads } from "./touching.ts";

/** What a process holds. */
export interface Holdings {
  readonly descriptors: Readonly<Record<string, number>>;
  readonly threads: number;
  readonly residentMiB: number;
}

/** Counts it. */
export function holdings(): Holdings {
  const status = Deno.readTextFileSync("/proc/self/status");
  const figure = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(status)?.[1]);
  return {
    descriptors: openDescriptors(),
    threads: figure("Threads"),
    residentMiB: Math.round(figure("VmRSS") / 1024),
  };
}

/** How a campaign goes. */
export interface CampaignOptions {
  /** Runs between two looks at what is left behind; default 10. */
  readonly betweenLooks?: number;
  /** What protects the connections of every run; default what is drawn for it. */
  readonly tls?: TlsKind | "none";
}

/** Runs of the campaign in this process. */
export class Campaign implements AsyncDisposable {
  readonly #threads = new TouchThreads();
  #before: Record<string, number> | undefined;
  #sinceLook = 0;
  readonly #betweenLooks: number;
  readonly #tls: TlsKind | "none" | undefined;
  /** Made for the first run that needs them, and for all. */
  readonly #credentials: Partial<Record<TlsKind, Promise<BothEnds>>> = {};

  constructor({ betweenLooks = 10, tls }: CampaignOptions = {}) {
    this.#betweenLooks = betweenLooks;
    this.#tls = tls;
  }

  /** Runs one; it has failed too when it, or one since the last look, has left descriptors behind. */
  async run(seed: number): Promise<RunResult> {
    await this.#threads.prepare(MOST_TOUCHERS);
    const plan = drawPlan(seed, this.#tls);
    const result = await runOne(plan, await this.#encryption(plan.tls), this.#threads);
    let failed: Partial<RunResult> = {};
    // Signals, workers and the first session open some that stay with the process.
    if (this.#before === undefined) {
      await ThreadPool.shared.close();
      this.#before = openDescriptors();
    }
    if (++this.#sinceLook >= this.#betweenLooks) {
      await this.look().catch((error) => {
        failed = { outcome: "failed", report: `${result.report}\n${error.message}` };
      });
    }
    return { ...result, ...failed };
  }

  /** Sees that no descriptor was left open. */
  async look(): Promise<void> {
    this.#sinceLook = 0;
    await ThreadPool.shared.close();
    const left = () =>
      Object.entries(openDescriptors())
        .filter(([kind, count]) => count > (this.#before?.[kind] ?? 0));
    await until("no descriptor left open", () => left().length === 0, 10_000).catch(() => {
      throw new Error(`Descriptors left open: ${JSON.stringify(left())}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await ThreadPool.shared.close();
    this.#threads[Symbol.dispose]();
    for (const made of Object.values(this.#credentials)) await (await made)[Symbol.asyncDispose]();
  }

  async #encryption(kind: TlsKind | undefined): Promise<Encryption | undefined> {
    if (kind === undefined) return undefined;
    this.#credentials[kind] ??= kind === "psk" ? preSharedKey() : certificates();
    return (await this.#credentials[kind]).encryption;
  }
}

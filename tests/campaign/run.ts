/** One run of the campaign, from its seed to its verdict. */

import { survivingFileLimit } from "../../ffi/file_limit.ts";
import { openImage } from "../../image/open_image.ts";
import { within } from "../support/deadline.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import type { Encryption } from "../support/migrate.ts";
import { StatusLog } from "../support/status_log.ts";
import { drawContent, writeImage } from "./content.ts";
import { destinationEnd, type Expected } from "./destination_ends.ts";
import type { Plan } from "./draw.ts";
import { ImageEnd } from "./image_end.ts";
import { LiveEnd } from "./live_end.ts";
import { describeError, RunLog } from "./run_log.ts";
import { ScriptEnd } from "./script_end.ts";
import type { SourceEnd } from "./source_ends.ts";
import { type Scene, strikeAll, type Struck } from "./strike.ts";
import type { TouchThreads } from "./touching.ts";
import { judge, keepsGuest, type Outcome } from "./verdict.ts";

/** How a run went. */
export interface RunResult {
  readonly seed: number;
  readonly plan: Plan;
  readonly outcome: Outcome | "failed";
  /** Faults that struck. */
  readonly struck: readonly Struck[];
  readonly milliseconds: number;
  /** Times that the source and the destination were paused. */
  readonly pauses: number;
  /** Of a failure: why, and what happened. */
  readonly report: string;
}

/** Milliseconds: far more than any run takes. */
const DEADLINE = 60_000;

/** Milliseconds in which a source that lost its connection asks what became of the guest. */
const ASKS_WITHIN = 1_500;

/** Runs one; `encryption` is what its ends are given for TLS, if the plan has it. */
export async function runOne(
  plan: Plan,
  encryption: Encryption | undefined,
  threads: TouchThreads,
): Promise<RunResult> {
  const log = new RunLog();
  const struck: Struck[] = [];
  const statuses = new StatusLog();
  let outcome: RunResult["outcome"] = "failed";
  const directory = await Deno.makeTempDir({ prefix: "postcopy-campaign-" });
  try {
    outcome = await run(plan, encryption, log, statuses, struck, directory, threads);
    log.add(outcome);
  } catch (error) {
    log.add(`FAILED: ${describeError(error)}`);
    const cause = (error as Error).stack;
    if (cause !== undefined) log.add(cause);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
  return {
    seed: plan.seed,
    plan,
    outcome,
    struck,
    milliseconds: log.milliseconds,
    pauses: statuses.items.filter(({ status }) => status === "postcopy-paused").length,
    report: [JSON.stringify(plan), ...log.lines].join("\n"),
  };
}

async function run(
  plan: Plan,
  encryption: Encryption | undefined,
  log: RunLog,
  statuses: StatusLog,
  struck: Struck[],
  directory: string,
  threads: TouchThreads,
): Promise<Outcome> {
  using _ = survivingFileLimit();
  await using stack = new AsyncDisposableStack();
  const content = drawContent(plan);
  const add = statuses.add;
  const source = stack.use(
    await makeSource(plan, encryption?.source, directory, content, {
      ...statuses,
      items: statuses.items,
      add: (status: string, reason?: Error) => {
        log.add(`source: ${status}${reason === undefined ? "" : `: ${describeError(reason)}`}`);
        add(status, reason);
      },
    } as StatusLog),
  );
  const destination = stack.use(
    destinationEnd(plan, encryption?.destination, directory, () => source.expected, threads),
  );
  const relay = stack.use(await FaultRelay.start(await destination.listen(), { resets: true }));
  let over = false;
  const isOver = () => over;
  const scene: Scene = {
    ...{ plan, log, relay, source, destination, directory, content, isOver },
    later: [],
  };
  source.start(relay.address);
  const following = follow(scene);
  const striking = strikeAll(scene, struck);
  try {
    await within("both ends to come to an end", bothEnded(scene), DEADLINE);
    over = true;
    await within("the faults to be over", striking, DEADLINE);
    return await judge(plan, source, destination, struck);
  } finally {
    over = true;
    log.add(`source: ${source.figures}`);
    log.add(`destination: ${destination.figures}`);
    await Promise.all([following, ...scene.later]);
  }
}

async function makeSource(
  plan: Plan,
  tls: Encryption["source"] | undefined,
  directory: string,
  content: Uint8Array<SharedArrayBuffer>,
  statuses: StatusLog,
): Promise<SourceEnd> {
  switch (plan.source) {
    case "live":
      return new LiveEnd(plan, tls, content, statuses);
    case "script":
      return new ScriptEnd(plan, statuses);
    case "image": {
      const path = await writeImage(directory, plan, content);
      using image = await openImage(path);
      // The guest there writes to its own.
      const memory = new Uint8Array(new SharedArrayBuffer(content.length));
      memory.set(content);
      const expected: Expected = { memory, deviceState: image.deviceState.slice() };
      return new ImageEnd(plan, tls, path, expected, statuses);
    }
  }
}

/** Waits until neither end can go on, or is done. */
async function bothEnded({ plan, source, destination, relay, log }: Scene): Promise<void> {
  const first = await Promise.race([
    source.ended.then((error) => ({ end: "source", error })),
    destination.ended.then((error) => ({ end: "destination", error })),
  ]);
  log.add(`${first.end} ended: ${describeError(first.error)}`);
  if (first.end === "source") {
    // That the source is gone is heard now, however silent the network was.
    if (first.error !== undefined) { for (const each of relay.connections) each.cut(); }
    if (destination.status === "setup") return; // nobody ever came
    if (first.error !== undefined && destination.hasGuest) return; // the verdict says what that means
    log.add(`destination ended: ${describeError(await destination.ended)}`);
  } else {
    // An owner does not keep a file that failed. A guest's stays: the source may ask what became of it.
    if (first.error !== undefined && plan.destination === "file") {
      const { promise: soon, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, ASKS_WITHIN);
      await Promise.race([source.ended, soon]);
      clearTimeout(timer);
      await destination.close();
      // It is for the user to say what becomes of it: see the verdict.
      if (keepsGuest(first.error)) return;
    }
    log.add(`source ended: ${describeError(await source.ended)}`);
  }
}

/** Logs the destination's statuses. */
async function follow({ destination, log, isOver }: Scene): Promise<void> {
  let last = "";
  while (true) {
    const { status, pauseReason } = destination;
    const now = `destination: ${status}${
      pauseReason === undefined ? "" : `: ${pauseReason.message}`
    }`;
    if (now !== last) log.add(last = now);
    if (isOver()) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

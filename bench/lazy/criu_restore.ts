/** One lazy restore by CRIU, with its own server of pages or ours. */

import { TextLineStream } from "@std/streams";
import { Criu } from "../../criu/criu.ts";
import { denoCommand } from "../support/bench_process.ts";
import { TemporaryDirectory } from "../support/temporary_directory.ts";
import { readTouches, type Touches, wallClock } from "./programs.ts";

/** Who serves. */
export type LazyServerName = "criu" | "lazy";

/** What came of it. */
export interface RestoreTimes {
  /** Milliseconds from the start of `criu restore` until all memory is there. */
  readonly total: number;
  /** Milliseconds from when CRIU says that the process runs until all memory is there. */
  readonly running: number;
  /** Milliseconds in which the restored process read all of its memory. */
  readonly touching: number;
  readonly touches: Touches;
}

const PATIENCE = 60_000;

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + PATIENCE;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`Not within 60 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Dumps a process that reads its memory at random with some threads, and restores it. */
export async function restoreOnce(
  program: string,
  server: LazyServerName,
  mebibytes: number,
  threads: number,
): Promise<RestoreTimes> {
  using directory = new TemporaryDirectory();
  using criu = new Criu();
  const images = `${directory.path}/images`;
  Deno.mkdirSync(images);
  const io = { stdin: "null", stdout: "null", stderr: "null" } as const;
  const args = ["criu", directory.path, `${mebibytes}`, `${threads}`];
  const task = new Deno.Command(program, { args, ...io }).spawn();
  await until("the process is ready", () => exists(`${directory.path}/ready`));
  await criu.dump(task.pid, images);
  await task.status;
  const serving = server === "criu"
    ? (await criu.start("lazy-pages", images)).ended.then(wallClock)
    : startOurs(images);
  await until("it listens", () => exists(`${images}/lazy-pages.socket`));
  Deno.writeTextFileSync(`${directory.path}/go`, "");
  const begin = wallClock();
  const restoring = await criu.restoreLazily(images);
  const end = await serving;
  await restoring.ended;
  const touches = readTouches(Deno.readTextFileSync(`${directory.path}/result`));
  return {
    total: end - begin,
    running: end - begin - resumedAt(`${images}/restore.log`),
    touching: touches.end - touches.begin,
    touches,
  };
}

/** Milliseconds from CRIU's start until the restored process runs, as its log says. */
function resumedAt(log: string): number {
  const match = /^\((\d+\.\d+)\) Restore finished successfully/m.exec(Deno.readTextFileSync(log));
  if (match === null) throw new Error(`Log that does not say when the process ran: ${log}`);
  return Number(match[1]) * 1000;
}

/** Resolves with the time at which all memory is there. */
async function startOurs(images: string): Promise<number> {
  const script = new URL("../../client/main.ts", import.meta.url);
  const [program, ...args] = denoCommand(script, ["lazy", "--criu", images, "--json"]);
  const io = { stdin: "null", stdout: "piped", stderr: "inherit" } as const;
  const child = new Deno.Command(program!, { args, ...io }).spawn();
  let filled = NaN;
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  for await (const line of lines) {
    const { event } = JSON.parse(line);
    // A process that has read all of its memory may have ended before it is seen to be filled.
    if (event === "filled" || event === "ended" && Number.isNaN(filled)) filled = wallClock();
  }
  const { success } = await child.status;
  if (!success) throw new Error("lazy --criu failed");
  return filled;
}

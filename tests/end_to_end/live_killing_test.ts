import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { within } from "../support/deadline.ts";
import { LiveWorkloadProcess, WorkloadProcess } from "../support/processes.ts";
import { Random } from "../support/random.ts";
import { assertRight, childrenLeft, type Ending, endOfDestination, guestRuns } from "./killed.ts";

const KILLS = 12;
const AT_ONCE = 2;

/** When one end is killed, and how the migration must end then. */
const MOMENTS = {
  /** It may be over by then. */
  any: { args: ["--max-bandwidth", "200M", "--max-postcopy-bandwidth", "200M"], ending: undefined },
  /** In the first round, which takes a minute. */
  copying: { args: ["--max-bandwidth", "1M"], ending: "failed" },
  /** While the guest runs there, and lacks most of its memory. */
  running: { args: ["--max-postcopy-bandwidth", "1"], ending: "paused" },
} as const;
type Moment = keyof typeof MOMENTS;

/** Kills one end, checks what the guest wrote, and says how far it came. */
async function killOne(random: Random, when: Moment): Promise<Ending> {
  const killSource = random.oneIn(2);
  const policy = when === "running"
    ? "now"
    : random.pick(when === "any" ? ["never", "auto", "now", "1"] : ["never", "auto", "1"]);
  await using destination = new WorkloadProcess("tcp:127.0.0.1:0", [
    ...["--backing", random.pick(["anonymous", "memfd"]), "--write"],
    ...["--threads", "2", "--rate", when === "any" ? "4000" : "100", "--accesses", "1000"],
  ]);
  const to = await destination.address();
  await using source = new LiveWorkloadProcess(to, [
    ...["--postcopy", policy, "--threads", "2", "--rate", "2000", ...MOMENTS[when].args],
    ...[
      "--downtime-limit",
      random.pick(["1", "100"]),
      "--stall-timeout",
      "5",
      "--recover-timeout",
      "0",
    ],
  ]);
  await source.line("the start", (line) => line.includes('"started"') ? true : undefined);
  if (when === "running") await guestRuns(destination);
  if (when === "copying") {
    await source.progress("pages sent", ({ ram }) => ram["precopy-bytes"] > 0);
  }
  // This time is the case under test, nothing waits for it.
  await new Promise((resolve) => setTimeout(resolve, random.below(600)));
  if (killSource) {
    source.kill();
    await within("the killed source", source.ended);
    return await endOfDestination(destination);
  }
  destination.kill();
  await within("the killed destination", destination.ended);
  assertRight(destination);
  const { code, errors } = await within("the source left alone", source.ended);
  assert(!errors.includes("Uncaught"), errors);
  if (code === 0) return "completed";
  assert(code === 1 || code === 4, `workload exited with ${code}: ${errors}`);
  const { check, workload, "error-desc": reason } = source.result;
  assertEquals(workload.failures, []);
  if (check === undefined) {
    assert(/the guest was loaded at the destination|nobody can say/.test(reason ?? ""), reason);
    return "paused";
  }
  // It goes on here, with every byte and every write.
  assertEquals([check.wrongPages, check.writes?.found], [0, check.writes?.expected]);
  return code === 4 ? "before" : "failed";
}

Deno.test(`Killing either end of a live migration at ${KILLS} random moments loses and doubles nothing`, async () => {
  const random = new Random(3);
  const seeds = Array.from({ length: KILLS }, () => random.u32());
  const work = async () => {
    for (let seed = seeds.pop(); seed !== undefined; seed = seeds.pop()) {
      try {
        const when = (["any", "any", "copying", "running"] as const)[seeds.length % 4]!;
        const ending = await killOne(new Random(seed), when);
        assertEquals(ending, MOMENTS[when].ending ?? ending, when);
      } catch (cause) {
        throw new Error(`With the random numbers of seed ${seed}`, { cause });
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  assertEquals(childrenLeft(), []);
});

import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { MODES } from "../../server/sending/mode.ts";
import { within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { Random } from "../support/random.ts";
import { ServeProcess, WorkloadProcess } from "../support/processes.ts";
import { assertRight, childrenLeft, type Ending, endOfDestination, guestRuns } from "./killed.ts";

const KILLS = 30;
const AT_ONCE = 3;
const MIB = 1 << 20;

/** When one end is killed. */
type Moment = "any" | "running";

/**
 * Kills one end, checks what the guest read, and says how far it came.
 *
 * @param when at any moment of a migration, which may be over by then; or while the guest runs and
 * lacks most of its memory, for certain
 */
async function killOne(image: string, random: Random, when: Moment): Promise<Ending> {
  const mode = random.pick(MODES);
  const write = random.oneIn(2) ? ["--write"] : [];
  const killSource = random.oneIn(2);
  const moment = random.below(400);
  const [rate, bandwidth] = when === "any" ? ["4000", 64 * MIB] : ["100", 1];
  await using destination = new WorkloadProcess("tcp:127.0.0.1:0", [
    ...["--backing", random.pick(["anonymous", "memfd"]), "--threads", "2", "--rate", rate],
    ...write,
  ]);
  const to = await destination.address();
  await using source = new ServeProcess(image, to, [
    ...[
      "--mode",
      mode,
      "--max-postcopy-bandwidth",
      String(bandwidth),
      "--stall-timeout",
      "5",
      "--recover-timeout",
      "0",
      "--start-anew", // the others' guests are other guests
    ],
  ]);
  if (when === "running") await guestRuns(destination);
  // This time is the case under test, nothing waits for it.
  await new Promise((resolve) => setTimeout(resolve, moment));
  if (killSource) {
    source.kill();
    await within("the killed source", source.ended);
    const ending = await endOfDestination(destination);
    assertEquals((await source.ended).left.concat((await destination.ended).left), []);
    return ending;
  }
  destination.kill();
  await within("the killed destination", destination.ended);
  assertRight(destination);
  const { code, errors, left } = await within("the source left alone", source.ended);
  assertEquals(left.concat((await destination.ended).left), []);
  assert([0, 1, 4].includes(code), `serve exited with ${code}: ${errors}`);
  assert(!errors.includes("Uncaught"), errors);
  if (code !== 0) assertMatch(errors, /^postcopy: (?:Destination |connect failed )/m);
  return code === 0 ? "completed" : code === 1 ? "failed" : "before";
}

Deno.test(`Killing either end at ${KILLS} random moments leaves no wrong byte, no hang and nothing behind`, async () => {
  using image = await TestImage.make({ ram: 4000, rom: 96 });
  const random = new Random(50);
  const seeds = Array.from({ length: KILLS }, () => random.u32());
  // Those while it runs end in one way each: both are among them.
  const running: Ending[] = [];
  const work = async () => {
    for (let seed = seeds.pop(); seed !== undefined; seed = seeds.pop()) {
      try {
        const when = seeds.length % 5 === 0 ? "running" : "any";
        const ending = await killOne(image.path, new Random(seed), when);
        if (when === "running") running.push(ending);
      } catch (cause) {
        throw new Error(`With the random numbers of seed ${seed}`, { cause });
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  assert(image.marks.length > 0); // of guests that ran when one end was killed
  image.assertUntouched(image.marks.length);
  assertEquals(childrenLeft(), []);
  assertEquals(running.length, KILLS / 5);
  assertEquals([...new Set(running)].sort(), ["failed", "paused"]);
});

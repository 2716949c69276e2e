/** Destinations that are killed, with sessions on them, beside those of the same source that live. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { childrenLeft } from "../end_to_end/killed.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { ScriptProcess } from "../support/processes.ts";
import { Random } from "../support/random.ts";
import type { DestinationsStep } from "./destinations_process.ts";

const ROUNDS = 3;
/** Processes that are killed, and those that are not, in each round. */
const KILLED = 2;
const SPARED = 1;
/** Sessions of a process. */
const SESSIONS = 10;
const PAGES = 64;
const MIB = 1 << 20;
const LOST = /^(Destination |connect failed with ECONN(REFUSED|RESET))/;

const CODES = ["CONNECTION_LOST", "PEER_FAILED", "ECONNREFUSED", "ECONNRESET"];

/** Destinations in a process of their own. */
class Destinations extends ScriptProcess {
  constructor(image: string) {
    super("tests/sessions/destinations_process.ts", [`${SESSIONS}`, image]);
  }

  /** Waits for a step that `finds` knows. */
  step<T>(what: string, finds: (step: DestinationsStep) => T | undefined): Promise<T | undefined> {
    return this.line(what, (line) => finds(JSON.parse(line) as DestinationsStep));
  }

  /** All steps of a kind so far. */
  all<K extends DestinationsStep["step"]>(kind: K): Extract<DestinationsStep, { step: K }>[] {
    const steps = this.lines.map((line) => JSON.parse(line) as DestinationsStep);
    return steps.filter((step): step is Extract<DestinationsStep, { step: K }> =>
      step.step === kind
    );
  }
}

async function round(image: TestImage, random: Random): Promise<void> {
  await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
  using opened = await openImage(image.path);
  await using stack = new AsyncDisposableStack();
  const processes = Array.from(
    { length: KILLED + SPARED },
    () => stack.use(new Destinations(image.path)),
  );
  const endings = await Promise.all(processes.map(async (process, number) => {
    const listening = await process.step(
      "the addresses",
      (step) => step.step === "listening" ? step.addresses : undefined,
    );
    const killed = number < KILLED;
    const sources = listening!.map((to, index) =>
      stack.use(
        new Source(opened, {
          to,
          pool,
          recoverTimeout: 0, // those that are killed never come back
          mode: MODES[index % MODES.length]!,
          // The last of those that are killed is in the midst of it for certain, whenever that is.
          maxPostcopyBandwidth: killed && index === SESSIONS - 1
            ? 1
            : random.pick([0, MIB, MIB / 4]),
        }),
      )
    );
    const ended = sources.map((source) =>
      source.run().then(
        () => ({ code: "completed", message: "" }),
        ({ code, message }) => ({ code, message }),
      )
    );
    if (killed) {
      // At its so-many-eth step: while they connect, run or complete.
      let left = random.between(1, 3 * SESSIONS - 3);
      await process.step("a step", () => --left === 0 ? true : undefined);
      process.kill();
    }
    return await within(`the sources of ${number}`, Promise.all(ended));
  }));
  for (const [number, process] of processes.entries()) {
    if (number < KILLED) {
      const failed = endings[number]!.filter(({ code }) => code !== "completed");
      assertGreater(failed.length, 0);
      for (const { code, message } of failed) {
        assertMatch(message, LOST);
        assert(CODES.includes(code), `${code}: ${message}`);
      }
      continue;
    }
    assertEquals(endings[number], Array(SESSIONS).fill({ code: "completed", message: "" }));
    await process.step(
      "all to complete",
      () => process.all("completed").length === SESSIONS ? true : undefined,
    );
    process.kill("SIGTERM");
  }
  for (const process of processes) {
    await within("the process to end", process.ended);
    for (const { wrong } of process.all("completed")) assertEquals(wrong, false);
    assertEquals(process.all("lost"), []);
  }
}

Deno.test(
  "Source fails alone when its destination's process is killed at any moment, whatever else is served",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make({ ram: PAGES });
    const random = new Random(60);
    for (let number = 0; number < ROUNDS; number++) {
      const seed = random.u32();
      try {
        await round(image, new Random(seed));
      } catch (cause) {
        throw new Error(`With the random numbers of seed ${seed}`, { cause });
      }
    }
    image.assertUntouched();
    assertEquals(childrenLeft(), []);
  }),
);

import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { within } from "../support/deadline.ts";
import { ScriptProcess } from "../support/processes.ts";
import type { Dying, HeldStep, Waiting } from "./held_process.ts";
import { HostileSource } from "./scripted_source.ts";

/** How a source can leave a destination with a thread waiting for page 40. */
const LEAVING: Record<string, (source: HostileSource) => Promise<void>> = {
  "vanishes": (source) => Promise.resolve(source[Symbol.dispose]()),
  "sends garbage": (source) => source.flush(new Uint8Array(64).fill(0xee)),
  "ends with the page missing": async (source) => {
    source.encodePages([0, 1, 2, 39, 41]);
    source.encodeEnd();
    await source.flush();
  },
  "loses the preempt channel": async (source) => {
    const preempt = await source.connectPreempt();
    source.encodeUrgent([39, 41]);
    await source.flushPreempt();
    preempt.close();
  },
};

/** One way to a thread that waits for good. */
interface Case {
  readonly what: string;
  readonly leave?: (source: HostileSource) => Promise<void>;
  readonly dying: Dying;
  readonly waiting: Waiting;
}

const CASES: readonly Case[] = [
  ...Object.entries(LEAVING).map(([what, leave]) => ({
    what: `the source ${what}`,
    leave,
    dying: "none" as const,
    waiting: "running" as const,
  })),
  ...(["fault thread", "main channel's thread"] as const).flatMap((dying) =>
    (["running", "loading"] as const).map((waiting) => ({
      what: `its ${dying} dies while the guest is ${waiting}`,
      dying,
      waiting,
    }))
  ),
];

for (
  const { backing, what, leave, dying, waiting } of ["anonymous", "memfd"].flatMap((backing) =>
    CASES.map((each) => ({ backing, ...each }))
  )
) {
  // A guest that does not run yet is not lost: the source has it.
  const [before, after] = waiting === "loading"
    ? ["device", "failed"]
    : ["postcopy-active", "postcopy-paused"];
  const name =
    `Destination with ${backing} memory holds a waiting thread for good, never on zeros, when ${what}`;
  Deno.test(name, async () => {
    const args = [backing, dying, waiting];
    await using process = new ScriptProcess("tests/hostile/held_process.ts", args);
    const step = <S extends HeldStep["step"]>(name: S) =>
      process.line(name, (line) => {
        const step = JSON.parse(line) as HeldStep;
        return step.step === name ? step as Extract<HeldStep, { step: S }> : undefined;
      });
    const listening = await step("listening");
    const to = { transport: "tcp", host: "127.0.0.1", port: listening!.port } as const;
    using source = new HostileSource(to, { ram: 64 });
    await source.connect();
    await source.switchOver();
    await within("the request", source.hear(({ requests }) => requests.length > 0));
    assertEquals(source.heard.requests, [{ block: "ram", start: 40 * 4096, length: 4096 }]);
    const held = { waiting: 1, thread: 1, found: 0 };
    assertEquals(await step("touching"), { step: "touching", status: before, ...held });
    await leave?.(source);
    assertEquals(await step("gave up"), { step: "gave up", status: after, ...held });
    // Not even closing lets it go: it would run on zeros.
    assertEquals(await step("closed"), { step: "closed", status: "failed", ...held });
    assertEquals(process.over, false);
    process.kill("SIGTERM");
    assertEquals((await within("the process to end", process.ended)).signal, "SIGTERM");
  });
}

import { assertEquals, assertRejects } from "@std/assert";
import type { Figures } from "../../bench/disruption/figures.ts";
import type { Sides } from "../../bench/disruption/sides.ts";
import { measureTurns, type TurnsSetup } from "../../bench/disruption/turns.ts";

const SETUP: TurnsSetup = {
  guest: "random",
  placement: "scheduler",
  limits: [0, 100],
  window: 3000,
  turns: 2,
  idleWait: 0,
};

/** Sides that keep a list of who ran, each run with a number of its own as work done. */
function listedSides(fails: (name: string) => boolean = () => false): {
  readonly sides: Sides;
  readonly ran: string[];
} {
  const ran: string[] = [];
  const run = (name: string): Promise<Figures> => {
    const done = ran.push(name);
    if (fails(name)) return Promise.reject(new Error(`${name} failed`));
    return Promise.resolve({ seen: { done, pace: 1 } });
  };
  const sides: Sides = {
    floor: () => run("floor"),
    qemu: (limit) => run(`qemu ${limit}`),
    serve: (limit) => run(`serve ${limit}`),
  };
  return { sides, ran };
}

const refuse = (text: string): void => {
  throw new Error(`A note: ${text}`);
};

Deno.test("measureTurns runs every side in turn, every other turn in reverse", async () => {
  const { sides, ran } = listedSides();
  const rows = await measureTurns(sides, SETUP, refuse);
  const turn = ["floor", "qemu 0", "serve 0", "qemu 100", "serve 100"];
  assertEquals(ran, [...turn, ...turn.toReversed()]);
  const done = (runs: readonly Figures[]) => runs.map(({ seen }) => "done" in seen && seen.done);
  assertEquals(
    rows.map(({ limit, qemu, serve, floor }) => [limit, done(qemu), done(serve), done(floor)]),
    [[0, [2, 9], [3, 8], [1, 10]], [100, [4, 7], [5, 6], [1, 10]]],
  );
});

Deno.test("measureTurns runs QEMU's again when it fails, and says so", async () => {
  let failures = 2;
  const { sides, ran } = listedSides((name) => name === "qemu 0" && failures-- > 0);
  const notes: string[] = [];
  const setup = { ...SETUP, limits: [0], turns: 1 };
  const [row] = await measureTurns(sides, setup, (text) => notes.push(text));
  assertEquals(ran, ["floor", "qemu 0", "qemu 0", "qemu 0", "serve 0"]);
  assertEquals(row!.qemu.length, 1);
  assertEquals(notes, new Array(2).fill("qemu, free, not counted: qemu 0 failed"));
});

Deno.test("measureTurns ends when serve fails once, or QEMU always", async () => {
  for (const side of ["serve 0", "qemu 0"]) {
    const { sides } = listedSides((name) => name === side);
    await assertRejects(() => measureTurns(sides, SETUP, () => {}), Error, `${side} failed`);
  }
});

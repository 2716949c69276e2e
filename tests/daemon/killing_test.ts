/** Daemons that are killed at any moment: no guest that ran is lost, and none runs twice. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import type { SessionView } from "../../daemon/service/session.ts";
import { until, within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { Random } from "../support/random.ts";
import { DaemonPlace, type DaemonProcess } from "./daemon_process.ts";
import { Waiting } from "./destinations.ts";
import { letGo } from "./held_off.ts";

const ROUNDS = 3;
/** Guests of a round, and daemons that are killed in it. */
const GUESTS = 5;
const KILLED = 2;
const PAGES = { ram: 1500 };

/** Where a session stays that is held off, or whose destination is gone. */
const RESTING = ["postcopy-active", "postcopy-paused"];

/** Kills a daemon once it has told so much of its sessions, or so many have begun and no more is to be told. */
async function killAt(daemon: DaemonProcess, begun: number, lines: number): Promise<void> {
  await until("lines of its log, or rest", async () => {
    const told = daemon.errorLines.filter((line) => line.includes('"session"')).length;
    if (told >= lines) return true;
    const { migrations } = await daemon.client.ask<{ migrations: SessionView[] }>("/migrations");
    return migrations.length >= begun &&
      migrations.every(({ endedAt, status }) => endedAt !== undefined || RESTING.includes(status));
  });
  await daemon.end("SIGKILL");
}

async function round(random: Random): Promise<void> {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  const guests = await Promise.all(Array.from({ length: GUESTS }, () => Waiting.start()));
  try {
    const first = await place.start();
    const begun = guests.map(({ to }) =>
      first.migrate("vm", to, { maxPostcopyBandwidth: random.pick([0, 1 << 20, 1]) })
    );
    for (const start of begun) start.catch(() => {}); // its answer may be lost
    await killAt(first, GUESTS, random.between(2 * GUESTS, 6 * GUESTS));
    for (let killed = 1; killed < KILLED; killed++) {
      await killAt(await place.start(), 0, random.between(GUESTS, 5 * GUESTS));
    }
    const last = await place.start();
    const { migrations } = await last.client.ask<{ migrations: SessionView[] }>("/migrations");
    for (const { id, endedAt } of migrations) {
      if (endedAt === undefined) await letGo(last, id);
    }
    const nowhere = new Set<string>();
    for (const { guest, destination, to } of guests) {
      const settled = () =>
        guest.calls.includes("start") || ["setup", "failed"].includes(destination.status);
      await until("the guest to run, or not to", settled);
      if (!guest.calls.includes("start")) {
        nowhere.add(to);
        continue;
      }
      await within(`the guest of ${to} to be complete`, destination.finished);
      image.assertEqualMemory(guest.blocks);
      assertEquals(guest.calls, ["load", "start"]);
      assertEquals(destination.statistics().duplicates, 0);
    }
    // Who is gone on with, and never comes, is one of those that ran nowhere; all others are forgotten.
    await until("those that are complete to be forgotten", async () => {
      const { migrations } = await last.client.ask<{ migrations: SessionView[] }>("/migrations");
      return migrations.every(({ endedAt, peer }) => endedAt !== undefined || nowhere.has(peer));
    });
    for (const name of place.kept) {
      const text = await Deno.readTextFile(`${place.stateDirectory}/${name}`);
      assertEquals(nowhere.has((JSON.parse(text) as { request: { to: string } }).request.to), true);
    }
  } finally {
    for (const { destination } of guests) await destination.close();
  }
}

Deno.test("daemon that is killed at any moment, again and again, leaves no guest that ran without its pages", async () => {
  const random = new Random(16);
  for (let number = 0; number < ROUNDS; number++) {
    const seed = random.u32();
    try {
      await round(new Random(seed));
    } catch (cause) {
      throw new Error(`With the random numbers of seed ${seed}`, { cause });
    }
  }
});

/** What a daemon knows of sessions that ended under the one before it. */
import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import type { SessionView } from "../../daemon/service/session.ts";
import { until } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { DaemonPlace, type DaemonProcess } from "./daemon_process.ts";
import { restore, Waiting } from "./destinations.ts";

const KEY = "restore-7";

/** Asks for a restore with a key, as a script that heard no answer does again. */
async function ask(daemon: DaemonProcess, to: string): Promise<SessionView> {
  return await daemon.client.ask<SessionView>("/migrations", {
    method: "POST",
    body: restore("vm", to),
    headers: { "idempotency-key": KEY },
  });
}

/** Names of the files of what has ended. */
function keptOf(place: DaemonPlace): string[] {
  return [...Deno.readDirSync(place.stateDirectory)].map(({ name }) => name)
    .filter((name) => name.endsWith(".ended.json"));
}

async function list(daemon: DaemonProcess): Promise<SessionView[]> {
  return (await daemon.client.ask<{ migrations: SessionView[] }>("/migrations")).migrations;
}

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  Deno.test(`daemon starts nothing for a key of a restore that ended before it was started anew, behind ${signal}`, async () => {
    using image = await TestImage.make({ ram: 200 });
    await using place = new DaemonPlace();
    place.configure({ vm: image.path });
    await using waiting = await Waiting.start();
    const first = await place.start();
    const { id } = await ask(first, waiting.to);
    const ended = await first.reaches(id, "ended");
    await waiting.hasAll(image);
    assertEquals(ended.status, "completed");
    if (signal === "SIGKILL") await until("it to be kept", () => keptOf(place).length === 1);
    await first.end(signal);
    const second = await place.start();
    assertEquals(await ask(second, waiting.to), ended);
    assertEquals(await list(second), [ended]);
    // Nothing but to look at it can be done.
    await assertRejects(
      () => second.client.ask(`/migrations/${id}/pause`, { method: "POST" }),
      Error,
      "Session has ended: completed",
    );
    // One that is forgotten is not known to the next one either.
    await second.client.ask(`/migrations/${id}`, { method: "DELETE" });
    await second.end();
    assertEquals(await list(await place.start()), []);
  });
}

Deno.test("daemon forgets what ended more than a day ago, and what of it cannot be read", async () => {
  using image = await TestImage.make({ ram: 200 });
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const first = await place.start();
  const { id } = await ask(first, waiting.to);
  await first.reaches(id, "ended");
  await first.end();
  const path = `${place.stateDirectory}/${id}.ended.json`;
  const record = JSON.parse(await Deno.readTextFile(path));
  const old = new Date(Date.now() - 25 * 3_600_000).toISOString();
  await Deno.writeTextFile(
    path,
    JSON.stringify({ ...record, view: { ...record.view, endedAt: old } }),
  );
  for (const [number, text] of ["{", "{}", "null"].entries()) {
    await Deno.writeTextFile(`${place.stateDirectory}/x${number}.ended.json`, text);
  }
  const second = await place.start();
  assertEquals(await list(second), []);
  await second.end();
  assertEquals(keptOf(place), []);
});

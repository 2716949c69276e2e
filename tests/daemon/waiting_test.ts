/** Sessions of a daemon before this one that cannot be gone on with yet: they are seen, and can be ended. */
import "../support/native.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ApiError } from "../../daemon/command/api_error.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { run } from "../command/command_lines.ts";
import { within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { DaemonPlace, type DaemonProcess } from "./daemon_process.ts";
import { Waiting } from "./destinations.ts";
import { completes, HELD_OFF, PAGES } from "./held_off.ts";
import { keptIn } from "./one_image.ts";
import { TestDaemon } from "./test_daemon.ts";

/** What a test finds: a guest that is paused, and a daemon that lacks the image of its session. */
interface Left {
  readonly id: string;
  readonly place: DaemonPlace;
  readonly daemon: DaemonProcess;
  readonly image: TestImage;
  readonly waiting: Waiting;
  /** Puts the image where it was. */
  readonly mount: () => Promise<void>;
}

/** Kills a daemon in postcopy, and starts the next one without the image. */
async function withoutImage(test: (left: Left) => Promise<void>, sections = {}): Promise<void> {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path }, sections);
  await using waiting = await Waiting.start();
  const first = await place.start();
  const headers = { "idempotency-key": "restore-8" };
  const { id } = await first.migrate("vm", waiting.to, HELD_OFF, headers);
  await waiting.runs();
  await first.reaches(id, "postcopy-active");
  await first.end("SIGKILL");
  await within("the pause", waiting.destination.waitFor("postcopy-paused"));
  await Deno.rename(image.path, `${image.path}.away`);
  const mount = () => Deno.rename(`${image.path}.away`, image.path);
  try {
    await test({ id, place, daemon: await place.start(), image, waiting, mount });
  } finally {
    await mount().catch(() => {}); // it is there
  }
}

function listed(daemon: DaemonProcess): Promise<{ readonly migrations: SessionView[] }> {
  return daemon.client.ask("/migrations");
}

Deno.test("session whose image is not there is listed, with what it waits for, and counts as one that runs", () =>
  withoutImage(async ({ id, place, daemon, waiting }) => {
    const { migrations } = await listed(daemon);
    assertEquals(migrations.map((each) => [each.id, each.status, each.code, each.peer]), [
      [id, "postcopy-paused", "NO_SUCH_IMAGE", waiting.to],
    ]);
    assertStringIncludes(migrations[0]!.reason!, "cannot be gone on with yet: No such image: vm");
    const { sessions } = await daemon.client.ask<{ sessions: number }>("/health");
    assertEquals(sessions, 1);
    const { code, output } = await run("main.ts", "status", "--daemon", `unix:${place.socket}`);
    assertEquals([code, output.includes(id), output.includes("postcopy-paused")], [0, true, true]);
  }));

Deno.test("session whose image is gone for good is ended by force alone, and is not gone on with by the next daemon", () =>
  withoutImage(async ({ id, place, daemon, waiting }) => {
    const at = ["--daemon", `unix:${place.socket}`];
    const refused = await run("main.ts", "cancel", id, ...at);
    assertEquals(refused.code, 1);
    assertStringIncludes(refused.errors, "stands still at the first of them that it needs");
    assertStringIncludes(refused.errors, `postcopy cancel ${id} --force`);
    assertEquals(place.kept, [`${id}.session.json`]);
    const ended = await run("main.ts", "cancel", id, "--force", ...at);
    assertEquals(ended.code, 0, ended.errors);
    assertStringIncludes(ended.output, `postcopy migrate vm --to ${waiting.to} --recover`);
    assertEquals(place.kept, []);
    assertEquals((await daemon.session(id)).status, "cancelled");
    await daemon.client.ask(`/migrations/${id}`, { method: "DELETE" });
    await daemon.end();
    assertEquals((await listed(await place.start())).migrations, []);
  }));

Deno.test("recover tries at once what waits for its image, and says why it cannot go on", () =>
  withoutImage(async ({ id, daemon, image, waiting, mount }) => {
    const recover = () => daemon.client.ask(`/migrations/${id}/recover`, { method: "POST" });
    const error = await assertRejects(recover, ApiError, "No such image: vm");
    assertEquals(error.code, "NOT_YET");
    await mount();
    await recover();
    await within("the recovery", waiting.destination.waitFor("postcopy-active"));
    await completes(daemon, id, image, waiting);
  }));

Deno.test("request that is repeated while its session waits for the image is answered with that", () =>
  withoutImage(async ({ id, daemon, image, waiting, mount }) => {
    const again = () =>
      daemon.migrate("vm", waiting.to, HELD_OFF, { "idempotency-key": "restore-8" });
    const now = await within("the answer", again());
    assertEquals([now.id, now.status], [id, "postcopy-paused"]);
    await mount();
    await within("the recovery", waiting.destination.waitFor("postcopy-active"));
    await completes(daemon, id, image, waiting);
    assertEquals((await again()).status, "completed");
  }));

Deno.test("daemon that is told to end leaves a session that waits to the next one", () =>
  withoutImage(async ({ id, place, daemon, image, waiting, mount }) => {
    assertEquals(await daemon.says("Ready"), true); // it hears signals
    const { code, errors } = await daemon.end();
    assertEquals(code, 0, errors);
    assertStringIncludes(errors, "start the daemon, which goes on with it by itself");
    assertEquals(place.kept, [`${id}.session.json`]);
    await mount();
    const next = await place.start();
    await within("the recovery", waiting.destination.waitFor("postcopy-active"));
    await completes(next, id, image, waiting);
    assertEquals(place.kept, []);
  }));

Deno.test("session that waits keeps its place among as many as may run, and takes it when it goes on", () =>
  withoutImage(async ({ id, daemon, image, waiting, mount }) => {
    const other = () => daemon.migrate("vm", "tcp:127.0.0.1:1");
    const error = await assertRejects(other, ApiError, "As many sessions run as may: 1");
    assertEquals(error.code, "TOO_MANY_SESSIONS");
    await mount();
    await within("the recovery", waiting.destination.waitFor("postcopy-active"));
    await completes(daemon, id, image, waiting);
  }, { limits: { sessions: 1 } }));

Deno.test("session that waits is ended by force while its image is being read, and the image is let go of", async () => {
  await using daemon = await TestDaemon.start();
  const { service } = daemon;
  const begun = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const read = Promise.withResolvers<never>(); // as of one that takes hours
  read.promise.catch(() => {});
  using _ending = { [Symbol.dispose]: () => read.reject(new Error("The test is over")) };
  service.images.begin = () => {
    begun.resolve();
    return Promise.resolve({
      image: read.promise,
      indexing: Promise.resolve(),
      [Symbol.dispose]: () => released.resolve(),
    });
  };
  const kept = {
    id: "w1",
    startedAt: "2026-11-29T12:00:00.000Z",
    request: { direction: "outgoing", image: "vm", to: "tcp:127.0.0.1:1" },
  } as const;
  await service.store.keep(kept);
  void service.takeUp(kept);
  await within("its beginning", begun.promise);
  const shown = await daemon.done("GET", "/v1/migrations/w1");
  assertStringIncludes(shown.reason!, "about to go on");
  const refused = await daemon.refused("POST", "/v1/migrations/w1/cancel");
  assertEquals(refused.code, "GUEST_AT_STAKE");
  const ended = await daemon.done("POST", "/v1/migrations/w1/cancel", { force: true });
  assertEquals([ended.status, keptIn(daemon)], ["cancelled", []]);
  await within("the image", released.promise);
});

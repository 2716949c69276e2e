/** How a daemon ends, and what it reads again. */
import "../support/native.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ApiError } from "../../daemon/command/api_error.ts";
import { until, within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { DaemonPlace, DaemonProcess } from "./daemon_process.ts";
import { Waiting } from "./destinations.ts";
import { begin, completes, letGo, PAGES } from "./held_off.ts";
import { NotifySocket } from "./notify_socket.ts";

Deno.test("daemon tells systemd when it is ready, well, drains and ends, and lets no child speak for it", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  using socket = new NotifySocket(`@postcopy-test-${crypto.randomUUID()}`);
  const daemon = await place.start({ NOTIFY_SOCKET: socket.name, WATCHDOG_USEC: "200000" });
  const ready = await socket.hears("ready", (message) => message["READY"] === "1");
  assertStringIncludes(ready["STATUS"]!, "0 sessions");
  await socket.hears("a sign of life", (message) => message["WATCHDOG"] === "1");
  const { code } = await daemon.end();
  assertEquals(code, 0);
  await socket.hears("its end", (message) => message["STOPPING"] === "1");
});

Deno.test("daemon that is told to end finishes a running postcopy, takes no other session, and ends by itself", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  await using other = await Waiting.start();
  using socket = new NotifySocket(`@postcopy-test-${crypto.randomUUID()}`);
  const daemon = await place.start({ NOTIFY_SOCKET: socket.name });
  const id = await begin(daemon, waiting);
  daemon.kill("SIGTERM");
  assertEquals(await daemon.says("takes no more sessions"), true);
  const refused = await assertRejects(() => daemon.migrate("vm", other.to), ApiError);
  assertEquals([refused.status, refused.code], [503, "DRAINING"]);
  // systemd's patience is not at an end while a guest needs it.
  const { EXTEND_TIMEOUT_USEC: longer } = await socket.hears(
    "that it needs longer",
    (message) => message["EXTEND_TIMEOUT_USEC"] !== undefined,
  );
  assert(Number(longer) >= 30e6, longer);
  // A second signal cuts nothing: it says what would be lost.
  daemon.kill("SIGTERM");
  assertEquals(await daemon.says("still needed"), true);
  assertEquals((await daemon.session(id)).status, "postcopy-active");
  await letGo(daemon, id);
  const { code } = await within("the daemon to end", daemon.ended);
  assertEquals(code, 0);
  await waiting.hasAll(image);
  assertEquals(place.kept, []);
  image.assertUntouched();
});

Deno.test("daemon that is told to end keeps a paused migration on disk, and the next one goes on with it", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const first = await place.start();
  const id = await begin(first, waiting);
  await first.client.ask(`/migrations/${id}/pause`, { method: "POST" });
  await first.reaches(id, "postcopy-paused");
  const { code } = await first.end();
  assertEquals(code, 0);
  assertEquals(place.kept, [`${id}.session.json`]);
  assertEquals(image.marks.length, 1);
  const second = await place.start();
  await within("the recovery", waiting.destination.waitFor("postcopy-active"));
  await completes(second, id, image, waiting);
  assertEquals(place.kept, []);
  image.assertUntouched();
});

Deno.test("daemon that is told to end cancels what no guest needs: its image is as it was", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  // Nobody answers a connection that is taken by a socket alone.
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const daemon = await place.start();
  const to = `tcp:127.0.0.1:${silent.addr.port}`;
  const { id } = await daemon.migrate("vm", to);
  assertEquals((await daemon.session(id)).endedAt, undefined);
  const { code } = await daemon.end();
  assertEquals(code, 0);
  image.assertUntouched();
});

Deno.test("daemon that is told to end thrice by Ctrl-C ends at once, and the next one goes on", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const first = await place.start();
  const id = await begin(first, waiting);
  first.kill("SIGINT");
  assertEquals(await first.says("takes no more sessions"), true);
  first.kill("SIGINT");
  assertEquals(await first.says("Ctrl-C once more"), true);
  const { code } = await first.end("SIGINT");
  assertEquals(code, 130);
  assertEquals(place.kept, [`${id}.session.json`]);
  const second = await place.start();
  await within("the recovery", waiting.destination.waitFor("postcopy-active"));
  await completes(second, id, image, waiting);
});

Deno.test("daemon hears the signals that came while it went on with what one before had begun", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const first = await place.start();
  const id = await begin(first, waiting);
  await waiting.runs();
  await first.end("SIGKILL");
  await using second = new DaemonProcess(place, {});
  assertEquals(await second.says("is gone on with"), true);
  second.kill("SIGHUP"); // before it answers anybody
  assertEquals(await second.says("Configuration was read again"), true);
  await second.answers();
  await within("the recovery", waiting.destination.waitFor("postcopy-active"));
  await completes(second, id, image, waiting);
});

Deno.test("SIGHUP has the daemon read its configuration again, and says what holds from the next start on", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  using socket = new NotifySocket(`@postcopy-test-${crypto.randomUUID()}`);
  const daemon = await place.start({ NOTIFY_SOCKET: socket.name });
  const names = async () => {
    const { images } = await daemon.client.ask<{ images: { name: string }[] }>("/images");
    return images.map(({ name }) => name);
  };
  assertEquals(await names(), ["vm"]);
  place.configure({ vm: image.path, other: image.path }, {
    stateDirectory: `${place.directory}/elsewhere`,
  });
  daemon.kill("SIGHUP");
  await until("the other image", async () => (await names()).includes("other"));
  assertEquals(await daemon.says("stateDirectory"), true);
  await socket.hears("the reload", (message) => message["RELOADING"] === "1");
  await until("it to be ready again", () => {
    const ready = socket.take().filter((message) => message["READY"] === "1");
    return ready.length === 2;
  });
  // What cannot be used changes nothing.
  await Deno.writeTextFile(place.config, '{"images": {"fils": {}}}');
  daemon.kill("SIGHUP");
  assertEquals(await daemon.says("all stays as it was"), true);
  assertEquals(await daemon.says("did you mean files?"), true);
  const gone = `${place.directory}/gone`;
  place.configure({}, { images: { directory: gone } });
  daemon.kill("SIGHUP");
  assertEquals(await daemon.says(`No such directory: ${gone}`), true);
  assertEquals(await names(), ["other", "vm"]);
  assertEquals((await daemon.end()).code, 0);
});

Deno.test("the log names each session in each line about it, and no token", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  const token = "a-token-that-nobody-may-see-0123456789";
  await Deno.writeTextFile(`${place.directory}/token`, token, { mode: 0o600 });
  using free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = free.addr;
  free.close();
  place.configure({ vm: image.path }, {
    api: {
      tcp: {
        listen: `tcp:127.0.0.1:${port}`,
        insecure: true,
        tokenFile: `${place.directory}/token`,
      },
    },
  });
  await using waiting = await Waiting.start();
  const daemon = await place.start();
  const answer = await fetch(`http://127.0.0.1:${port}/v1/health?token=${token}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  await answer.body?.cancel();
  const { id } = await daemon.migrate("vm", waiting.to);
  assertEquals((await daemon.reaches(id, "ended")).status, "completed");
  const { errors } = await daemon.end();
  const about = daemon.log.filter((line) => {
    const { session } = line["properties"] as { session?: string };
    return session === id;
  });
  assert(about.length >= 3, errors); // started, running, completed at least
  assertEquals(errors.includes(token), false);
});

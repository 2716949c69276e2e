/** A daemon that is killed, and the next one, which goes on with what the first had begun. */
import "../support/native.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { run } from "../command/command_lines.ts";
import { within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { ScriptProcess } from "../support/processes.ts";
import { DaemonPlace } from "./daemon_process.ts";
import { Waiting } from "./destinations.ts";
import { begin, completes, HELD_OFF, PAGES } from "./held_off.ts";

Deno.test("daemon that was killed in mid-flight goes on by itself when it is started again, from the destinations' bitmaps", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using one = await Waiting.start();
  await using other = await Waiting.start();
  const first = await place.start();
  const ids = [await begin(first, one), await begin(first, other)];
  assertEquals(place.kept.length, 2);
  await first.end("SIGKILL");
  await within(
    "the pauses",
    Promise.all([
      one.destination.waitFor("postcopy-paused"),
      other.destination.waitFor("postcopy-paused"),
    ]),
  );
  const second = await place.start();
  await within(
    "the recoveries",
    Promise.all([
      one.destination.waitFor("postcopy-active"),
      other.destination.waitFor("postcopy-active"),
    ]),
  );
  await completes(second, ids[0]!, image, one);
  await completes(second, ids[1]!, image, other);
  assertEquals(place.kept, []);
  image.assertUntouched();
});

Deno.test("daemon that is started again knows the key by which a session was started", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const first = await place.start();
  const headers = { "idempotency-key": "restore-7" };
  const { id } = await first.migrate("vm", waiting.to, HELD_OFF, headers);
  await waiting.runs();
  await first.end("SIGKILL");
  await within("the pause", waiting.destination.waitFor("postcopy-paused"));
  const second = await place.start();
  const again = await second.migrate("vm", waiting.to, HELD_OFF, headers);
  assertEquals(again.id, id);
  await completes(second, id, image, waiting);
});

Deno.test("daemon that is started again connects to where the destination listened last", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const first = await place.start();
  const id = await begin(first, waiting);
  await first.client.ask(`/migrations/${id}/pause`, { method: "POST" });
  await within("the pause", waiting.destination.waitFor("postcopy-paused"));
  const to = formatSocketAddress(await waiting.destination.recover(LOOPBACK));
  await first.client.ask(`/migrations/${id}/recover`, { method: "POST", body: { to } });
  await within("the recovery", waiting.destination.waitFor("postcopy-active"));
  await first.end("SIGKILL");
  await within("the second pause", waiting.destination.waitFor("postcopy-paused"));
  const second = await place.start();
  assertEquals((await second.session(id)).peer, to);
  await within("the second recovery", waiting.destination.waitFor("postcopy-active"));
  await completes(second, id, image, waiting);
});

Deno.test("daemon waits for an image that is not there yet, and then goes on with its session", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const first = await place.start();
  const id = await begin(first, waiting);
  await first.end("SIGKILL");
  await within("the pause", waiting.destination.waitFor("postcopy-paused"));
  await Deno.rename(image.path, `${image.path}.away`); // its disk is not mounted yet
  const second = await place.start();
  assertEquals(await second.says("cannot be gone on with yet"), true);
  assertEquals(place.kept, [`${id}.session.json`]);
  const shown = await run("main.ts", "status", id, "--daemon", `unix:${place.socket}`);
  assertEquals(shown.code, 0);
  assertStringIncludes(shown.output, "cannot be gone on with yet: No such image");
  await Deno.rename(`${image.path}.away`, image.path);
  await within("the recovery", waiting.destination.waitFor("postcopy-active"));
  await completes(second, id, image, waiting);
});

Deno.test("daemon says which kept session it cannot read, and leaves its file where it is", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await Deno.mkdir(place.stateDirectory);
  await Deno.writeTextFile(`${place.stateDirectory}/x1.session.json`, '{"id": "x');
  const daemon = await place.start();
  assertEquals(await daemon.says("x1.session.json"), true);
  await daemon.end();
  assertEquals(place.kept, ["x1.session.json"]);
});

Deno.test("a second daemon is refused the state of one that runs, and is told what to do", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  const daemon = await place.start();
  place.configure({ vm: image.path }, { api: { socket: `${place.directory}/other.sock` } });
  await using second = new ScriptProcess("main.ts", [
    "daemon",
    "--config",
    place.config,
  ]);
  const { code, errors } = await within("the second daemon to end", second.ended);
  assertEquals(code, 1);
  assertStringIncludes(errors, `State directory is another daemon's: ${place.stateDirectory}`);
  assertEquals((await daemon.end()).code, 0);
});

/** The words that talk to a daemon, as their user types them. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { SessionView } from "../../daemon/service/session.ts";
import { run, runHere } from "../command/command_lines.ts";
import { within } from "../support/deadline.ts";
import { freePort } from "../support/free_port.ts";
import { TestImage } from "../support/images.ts";
import { ScriptProcess } from "../support/processes.ts";
import { DaemonPlace } from "./daemon_process.ts";
import { Waiting } from "./destinations.ts";
import { begin, letGo, PAGES } from "./held_off.ts";

/** Runs a word against a daemon. */
function word(place: DaemonPlace, ...args: string[]) {
  const [name = "", ...rest] = args;
  return run("main.ts", name, "--daemon", `unix:${place.socket}`, ...rest);
}

Deno.test("every word says what to do when no daemon listens, and ends with 6", async () => {
  await using place = new DaemonPlace();
  const words = [
    ["status"],
    ["pause", "x"],
    ["recover", "x"],
    ["cancel", "x"],
    ["events"],
    ["images"],
    ["top", "--count", "1"],
    ["migrate", "vm", "--to", "tcp:127.0.0.1:1"],
  ];
  for (const each of words) {
    const [name, ...rest] = each as [string, ...string[]];
    const at = ["--daemon", `unix:${place.socket}`];
    const { code, output, errors } = await runHere("main.ts", name, ...at, ...rest);
    assertEquals([code, output], [6, ""], `${each}: ${errors}`);
    assertStringIncludes(errors, `No daemon listens at unix:${place.socket}: start one`);
  }
});

Deno.test("migrate --to follows a restore to its end, and ends as it does", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  await using _daemon = await place.start();
  const { code, output, errors } = await word(place, "migrate", "vm", "--to", waiting.to);
  assertEquals(code, 0, errors);
  assertMatch(output, /^Completed in .*: [\w-]+, completed, 0 pages left/);
  await waiting.hasAll(image);
});

Deno.test("migrate --to ends with the exit codes of serve", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using place = new DaemonPlace();
  const bad = `${place.directory}/bad`;
  await Deno.writeTextFile(bad, "no image at all");
  place.configure({ vm: image.path, bad });
  await using _daemon = await place.start();
  const to = `tcp:127.0.0.1:${freePort()}`;
  const [unreachable, image3, unusable, usage] = await Promise.all([
    word(place, "migrate", "vm", "--to", to),
    word(place, "migrate", "no-such", "--to", `tcp:127.0.0.1:${freePort()}`),
    word(place, "migrate", "bad", "--to", `tcp:127.0.0.1:${freePort()}`),
    word(place, "migrate", "vm", "--to", "nowhere"),
  ]);
  assertEquals(unreachable.code, 4, unreachable.errors);
  assertStringIncludes(unreachable.errors, "ECONNREFUSED");
  assertEquals(image3.code, 3, image3.errors);
  assertStringIncludes(image3.errors, "no-such");
  assertEquals(unusable.code, 3, unusable.errors);
  assertEquals(usage.code, 2, usage.errors);
  assertStringIncludes(usage.errors, "nowhere");
});

Deno.test("status, pause, recover and cancel act on the one session that can be meant", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  await using daemon = await place.start();
  assertStringIncludes((await word(place, "status")).output, "No sessions: postcopy migrate");
  const slow = ["--max-postcopy-bandwidth", "1"];
  const begun = await word(place, "migrate", "vm", "--to", waiting.to, "--detach", ...slow);
  assertEquals(begun.code, 0, begun.errors);
  const id = begun.output.trim();
  await waiting.runs();
  await daemon.reaches(id, "postcopy-active");
  const table = (await word(place, "status")).output.split("\n");
  assertMatch(table[0]!, /^SESSION +IMAGE +PEER +STATUS/);
  assertMatch(table[1]!, new RegExp(`^${id} +vm +${waiting.to} +postcopy-active`));
  const json = JSON.parse((await word(place, "status", "--json")).output) as SessionView[];
  assertEquals(json.map(({ id }) => id), [id]);

  // A guest is at stake: nothing is ended, and it is said what would be lost.
  const refused = await word(place, "cancel");
  assertEquals(refused.code, 1);
  const sentences = refused.errors.trimEnd().split(". ");
  assertEquals(sentences.length, 5, refused.errors);
  assertEquals(sentences[0], "postcopy: Not cancelled");
  assertMatch(
    sentences[1]!,
    /^The guest may run at the destination already, and lacks at least 5\d{3} pages/,
  );
  assertMatch(sentences[3]!, new RegExp(`^If it is paused, postcopy recover ${id} has it go on`));
  assertMatch(sentences[4]!, new RegExp(`^Only if .*: postcopy cancel ${id} --force$`));
  const paused = await word(place, "pause");
  assertEquals(paused.code, 0, paused.errors);
  assertStringIncludes(paused.output, `${id} is paused`);
  await daemon.reaches(id, "postcopy-paused");
  const shown = await word(place, "status", id.slice(0, 4));
  assertStringIncludes(shown.output, "Paused: ");
  assertStringIncludes(shown.output, `migrate_recover ${waiting.to}`);
  const again = await word(place, "recover", id);
  assertEquals(again.code, 0, again.errors);
  await within("the recovery", waiting.destination.waitFor("postcopy-active"));
  const limited = await word(place, "limit", "--max-postcopy-bandwidth", "2");
  assertEquals(limited.code, 0, limited.errors);
  assertEquals((await word(place, "limit")).code, 2);
  const wrong = await word(place, "recover");
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.errors, "No session to recover");
});

Deno.test("events prints what happens, and nothing twice with --after", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  await using daemon = await place.start();
  const args = ["events", "--daemon", `unix:${place.socket}`, "--json"];
  await using reader = new ScriptProcess("main.ts", [...args, "--after", "0"]);
  const { id } = await daemon.migrate("vm", waiting.to);
  const ended = await reader.line("its end", (line) => {
    const event = JSON.parse(line) as { id: string; event: string; session?: SessionView };
    return event.event === "ended" ? event : undefined;
  });
  assertEquals([ended?.session?.id, ended?.session?.status], [id, "completed"]);
  assertEquals((JSON.parse(reader.lines[0]!) as { event: string }).event, "started");
  reader.kill("SIGTERM");
  assertEquals((await within("events to end", reader.ended)).code, 0);
  await using later = new ScriptProcess("main.ts", [...args, "--after", ended!.id]);
  await using another = await Waiting.start();
  await daemon.migrate("vm", another.to);
  const first = await later.line("an event", (line) => JSON.parse(line) as { event: string });
  assertEquals(first?.event, "started");
});

Deno.test("top prints a line a session at each look, when nobody sits before it", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  await using daemon = await place.start();
  const id = await begin(daemon, waiting);
  const { code, output } = await word(place, "top", "--count", "2", "--interval", "0.05");
  assertEquals(code, 0);
  const lines = output.trimEnd().split("\n");
  assertEquals(lines.length, 3);
  assertMatch(lines[0]!, /^TIME +SESSION +IMAGE/);
  for (const line of lines.slice(1)) {
    assertMatch(
      line,
      new RegExp(`^\\d{4}-[^ ]+Z +${id} +vm +${waiting.to} +postcopy-active +5,\\d{3} `),
    );
  }
  assertEquals(output.includes("\x1b"), false);
});

Deno.test("images lists what the daemon serves, and inspects one", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using _daemon = await place.start();
  const [list, text, one, none] = await Promise.all([
    word(place, "images"),
    word(place, "images", "vm"),
    word(place, "images", "vm", "--json"),
    word(place, "images", "nothing"),
  ]);
  assertMatch(list.output, /^vm +256 KiB/m);
  const inspected = await run("main.ts", "inspect", image.path);
  assertEquals(text.output, inspected.output);
  assertEquals(one.code, 0, one.errors);
  assertStringIncludes(one.output, '"blocks"');
  assertEquals(none.code, 3, none.errors);
});

Deno.test("migrate goes on showing a session whose daemon was killed and started again", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const first = await place.start();
  await using follower = new ScriptProcess("main.ts", [
    ...["migrate", "vm", "--to", waiting.to, "--max-postcopy-bandwidth", "1"],
    ...["--daemon", `unix:${place.socket}`, "--json"],
  ]);
  await waiting.runs();
  await first.end("SIGKILL");
  assertEquals(await follower.says("waiting for its next start"), true);
  const second = await place.start();
  await within("the recovery", waiting.destination.waitFor("postcopy-active"));
  const { migrations: [session] } = await second.client.ask<{ migrations: SessionView[] }>(
    "/migrations",
  );
  await letGo(second, session!.id);
  const { code, output, errors } = await within("migrate to end", follower.ended);
  assertEquals(code, 0, errors);
  assertEquals((JSON.parse(output) as SessionView).status, "completed");
  await waiting.hasAll(image);
});

Deno.test("migrate that is left says that the session goes on, and ends nothing", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  await using daemon = await place.start();
  await using follower = new ScriptProcess("main.ts", [
    ...["migrate", "vm", "--to", waiting.to, "--max-postcopy-bandwidth", "1"],
    ...["--daemon", `unix:${place.socket}`],
  ]);
  await waiting.runs();
  follower.kill("SIGINT");
  const { code, errors } = await within("migrate to end", follower.ended);
  assertEquals(code, 130);
  assertStringIncludes(errors, "goes on in the daemon");
  const { migrations: [session] } = await daemon.client.ask<{ migrations: SessionView[] }>(
    "/migrations",
  );
  const { status } = await daemon.reaches(session!.id, "postcopy-active");
  assertEquals(status, "postcopy-active");
});

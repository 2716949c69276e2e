/** Lazy sessions, by the words that talk to a daemon. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { SessionView } from "../../daemon/service/session.ts";
import { run } from "../command/command_lines.ts";
import { CriuTask, needsCriu } from "../lazy/criu/criu_task.ts";
import { memoryContent, needsVmm, Vmm } from "../lazy/vmm.ts";
import { until, within } from "../support/deadline.ts";
import { ScriptProcess } from "../support/processes.ts";
import { testUnless } from "../support/skip.ts";
import { DaemonPlace } from "./daemon_process.ts";
import { directoryWith } from "./criu_images.ts";
import { TestDaemon } from "./test_daemon.ts";

const PAGE = 4096;
const PAGES = 64;
const regions = [{ length: PAGES * PAGE, offset: 0 }];

/** Where a daemon of the tests listens. */
function at({ directory }: { readonly directory: string }): string[] {
  return ["--daemon", `unix:${directory}/daemon.sock`];
}

/** Runs a word against a daemon. */
function word(daemon: { readonly directory: string }, name: string, ...args: string[]) {
  return run("main.ts", name, ...at(daemon), ...args);
}

/** A place for daemons that have a memory file and a directory of sockets. */
async function placeWithMemory(): Promise<DaemonPlace> {
  const place = new DaemonPlace();
  const [memory, sockets] = [`${place.directory}/memory`, `${place.directory}/sockets`];
  await Deno.writeFile(memory, memoryContent(PAGES * PAGE));
  await Deno.mkdir(sockets);
  place.configure({ memory }, { directories: { sockets } });
  return place;
}

testUnless(
  needsVmm,
  "migrate --firecracker has the daemon serve VMs, of which the other words tell, and cancel ends none that is needed",
  async () => {
    await using daemon = await TestDaemon.start();
    await Deno.writeFile(`${daemon.images}/memory`, memoryContent(PAGES * PAGE));
    const words = ["memory", "--firecracker", "vm.sock", "--no-fill"];
    const begun = await word(daemon, "migrate", ...words, "--detach");
    assertEquals(begun.code, 0, begun.errors);
    const id = begun.output.trim();
    const peer = `unix:${await Deno.realPath(`${daemon.directory}/sockets`)}/vm.sock`;
    const idle = (await word(daemon, "status", id)).output.split("\n");
    assertEquals(idle.slice(0, 2), [
      `${id}: lazy, memory at ${peer}`,
      "active, no process needs it",
    ]);

    await using vmm = await Vmm.start(`${daemon.directory}/sockets/vm.sock`, { regions });
    assertEquals(await vmm.touch(PAGE), "image");
    const [shown, table, top, refused, paused] = await Promise.all([
      word(daemon, "status", id),
      word(daemon, "status"),
      word(daemon, "top", "--count", "1"),
      word(daemon, "cancel"),
      word(daemon, "pause", id),
    ]);
    assertStringIncludes(
      shown.output,
      "\nactive, 1 process, 1 pages on demand, 0 filled, 0 removed, 0 faults wait\n",
    );
    const row = `${id} +memory +${peer} +active +63 +1\\.6 % +1 +- +-`;
    assertMatch(table.output.split("\n")[1]!, new RegExp(`^${row}$`));
    assertMatch(top.output.split("\n")[1]!, new RegExp(`Z +${row}$`));
    assertEquals([refused.code, paused.code], [1, 2]);
    assertStringIncludes(refused.errors, "Not cancelled. Processes need it");
    assertMatch(refused.errors, new RegExp(`: postcopy cancel ${id} --force\n$`));
    assertStringIncludes(paused.errors, "it is lazy");
    assertEquals(await vmm.touch(2 * PAGE), "image");

    await using events = new ScriptProcess("main.ts", ["events", ...at(daemon), "--after", "0"]);
    const taken = `: Process ${vmm.pid} of user 0: 256 KiB handed over, 1 region`;
    const told = await events.line(
      "the handover",
      (line) => line.includes("handed") ? line : undefined,
    );
    assertEquals(told?.replace(/^\S+ /, ""), `${id}${taken}`);
    const ended = await word(daemon, "cancel", "--force");
    assertEquals(ended.code, 0, ended.errors);
    assertStringIncludes(ended.output, `${id} has ended: cancelled\nReason: Session was cancelled`);
    // What it came to can still be asked for.
    assertStringIncludes((await word(daemon, "status", id)).output, "\ncancelled, 1 process, 2 ");
    const { lazy } = await daemon.done<{ lazy: SessionView[] }>("GET", "/v1/lazy");
    assertEquals(lazy.map(({ code }) => code), ["CANCELLED"]);
    assertEquals((await daemon.ask("DELETE", `/v1/lazy/${id}`)).status, 204);
    assertEquals(daemon.mistakes, []);
  },
);

Deno.test("migrate --firecracker follows its session, and ends when that is cancelled or forgotten", async () => {
  await using place = await placeWithMemory();
  await using daemon = await place.start();
  const words = ["migrate", "memory", "--firecracker", "vm.sock", ...at(place)];
  for (const how of ["cancel", "delete"]) {
    await using follower = new ScriptProcess("main.ts", words);
    assertEquals(await follower.says(": memory, unix:"), true);
    const [id] = follower.errorLines[0]!.split(":");
    if (how === "cancel") await word(place, "cancel", id!);
    else await daemon.client.ask(`/lazy/${id}`, { method: "DELETE" });
    const { code, errors } = await within("migrate to end", follower.ended);
    const [status, said] = how === "cancel"
      ? [130, `Cancelled: ${id}: Session was cancelled`]
      : [1, `${id} has ended, and the daemon has forgotten how`];
    assertEquals(code, status, errors);
    assertStringIncludes(errors, said);
  }
});

Deno.test("migrate --firecracker with a key that was used starts nothing again", async () => {
  await using place = await placeWithMemory();
  await using daemon = await place.start();
  const words = ["memory", "--firecracker", "vm.sock", "--detach", "--key", "vm-1"];
  const first = await word(place, "migrate", ...words);
  const second = await word(place, "migrate", ...words);
  assertEquals([first.code, second.output], [0, first.output], first.errors);
  const { lazy } = await daemon.client.ask<{ lazy: SessionView[] }>("/lazy");
  assertEquals(lazy.map(({ id }) => id), [first.output.trim()]);
});

Deno.test("migrate --firecracker says what became of VMs whose daemon was killed", async () => {
  await using place = await placeWithMemory();
  const first = await place.start();
  const words = ["migrate", "memory", "--firecracker", "vm.sock", ...at(place)];
  await using follower = new ScriptProcess("main.ts", words);
  assertEquals(await follower.says(": memory, unix:"), true);
  await first.end("SIGKILL");
  assertEquals(await follower.says("waiting for its next start"), true);
  // Of a lazy session the next daemon knows nothing: that it goes on must not be promised.
  assertEquals(follower.errorLines.some((line) => line.includes("goes on")), false);
  await place.start();
  const { code, errors } = await within("migrate to end", follower.ended);
  assertEquals(code, 1, errors);
  assertStringIncludes(errors, "is gone with the daemon that was");
});

testUnless(
  needsCriu,
  "migrate --criu has the daemon serve a tree that a real CRIU restores, and ends when all is there",
  async () => {
    await using task = await CriuTask.start("tree");
    const directory = await directoryWith(task);
    await using daemon = await TestDaemon.start("", directory);
    await using follower = new ScriptProcess("main.ts", [
      ...["migrate", "--criu", "images"],
      ...at(daemon),
    ]);
    assertEquals(await follower.says(": images, unix:"), true);
    task.go();
    const restoring = await task.restore();
    const { code, output, errors } = await within("migrate to end", follower.ended);
    assertEquals(code, 0, errors);
    assertMatch(output, /^Completed: \w+, completed, /);
    assertEquals(await task.result(), "wrong=0 more=6");
    await within("the process's end", restoring.ended);
    await until(
      "the log to say so",
      () =>
        daemon.service.events.read(0).events.some(({ event }) =>
          event.event === "lazy" && event.text === "CRIU has restored all processes"
        ),
    );
    assertEquals(daemon.mistakes, []);
  },
);

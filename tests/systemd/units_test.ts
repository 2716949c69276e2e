/** The units that the project comes with, and that its documents show, to a real systemd. */

import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { exists } from "../../tools/debian.ts";
import { programOf } from "../support/c_program.ts";
import { until, within } from "../support/deadline.ts";
import { blocksOf, readDocument } from "../support/documents.ts";
import { ScriptProcess } from "../support/processes.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { memoryContent, MIB, needsVmm, TWO_REGIONS, Vmm } from "../lazy/vmm.ts";
import { installCommand } from "./installation.ts";
import { host, needsSystemd } from "./test_host.ts";
import { Unit } from "./unit.ts";

const PAGE = 4096;
const SERVICE = new URL("../../contrib/systemd/postcopy.service", import.meta.url);
const LIBC = new URL("../../ffi/libc.ts", import.meta.url);
/** Functions of the C library that make other calls, or none; and calls by another name. */
const OF_THE_LIBRARY = [
  ...["pread", "pwrite", "if_nametoindex", "memcpy", "sysconf", "syscall"],
  ...["epoll_pwait2", "epollWaitAsync"],
];

/** The unit that docs/lazy.md shows. */
async function lazyUnit(): Promise<string> {
  const [unit, ...others] = blocksOf(await readDocument("docs/lazy.md"), "ini");
  assertEquals(others, []);
  return unit!;
}

testUnless(
  needsSystemd,
  "SystemdHost is gone with the process that started it, also when that fails",
  async () => {
    await using process = new ScriptProcess("tests/systemd/abandoned_host.ts", []);
    const { code, output, errors } = await within("its end", process.ended);
    assertEquals([code, errors.includes("abandoned")], [1, true], errors);
    assertMatch(output, /^\/.+\/postcopy-systemd-\w+$/);
    await until("all of it to be gone", () => !exists(output));
  },
);

testUnless(
  needsSystemd,
  "systemd understands all of the units, and finds nothing wrong",
  async () => {
    const units = { postcopy: await Deno.readTextFile(SERVICE), lazy: await lazyUnit() };
    await host.run("mkdir", "/srv/units");
    for (const [name, text] of Object.entries(units)) {
      const path = `/srv/units/${name}.service`;
      // What it starts need not be installed for this.
      const started = text.replace(/^ExecStart=\S+/m, "ExecStart=/bin/sh");
      await Deno.writeTextFile(host.root + path, started);
      const words = ["verify", "--man=no", "--recursive-errors=no", path];
      const { code, output, errors } = await host.try("systemd-analyze", ...words);
      assertEquals([name, code, output + errors], [name, 0, ""]);
    }
  },
);

testUnless(
  needsSystemd,
  "postcopy.service lets through every system call that the project makes",
  async () => {
    const unit = await Deno.readTextFile(SERVICE);
    const allowed = new Set<string>();
    const add = async (word: string): Promise<void> => {
      if (!word.startsWith("@")) return void allowed.add(word);
      const said = await host.run("systemd-analyze", "syscall-filter", word);
      const lines = said.split("\n").slice(1).map((line) => line.trim());
      for (const line of lines) if (line !== "" && !line.startsWith("#")) await add(line);
    };
    for (const [, words] of unit.matchAll(/^SystemCallFilter=(.*)$/gm)) {
      for (const word of words!.split(" ")) await add(word);
    }
    const symbols = (await Deno.readTextFile(LIBC)).matchAll(
      /^ {2}([a-z]\w*): \{(?:\n {4}name: "(\w+)")?/gm,
    );
    const calls = [...symbols].map(([, name, called]) =>
      called === undefined || called === "syscall" ? name! : called
    );
    assert(calls.includes("mincore") && calls.includes("process_vm_writev"));
    const refused = calls.filter((name) => !allowed.has(name) && !OF_THE_LIBRARY.includes(name));
    assertEquals(refused, []);
  },
);

/** What starts a VMM on the host, in whose namespaces the server sees whoever connects. */
async function vmmStarter(socket: string): Promise<() => Promise<Vmm>> {
  const program = "/usr/local/bin/vmm";
  const built = await programOf(import.meta.resolve("../lazy/vmm.c"));
  await Deno.copyFile(built, host.root + program);
  return () => Vmm.start(socket, { regions: TWO_REGIONS, words: host.words(program) });
}

testUnless(
  firstOf(needsSystemd, needsVmm),
  "docs/lazy.md has a unit that loses no byte of a VM when it is restarted, or killed, under load",
  async () => {
    await installCommand(host);
    const unit = new Unit(host, "vm-memory.service");
    const text = await lazyUnit();
    const [, socket, memory] = /--firecracker (\S+) --image (\S+)/.exec(text)!;
    await Deno.writeFile(host.root + memory!, memoryContent(8 * MIB));
    await unit.write(unit.name, text);
    await unit.control("start");
    const stored = async () => Number(await unit.show("NFileDescriptorStore"));
    const listening = await stored();
    assert(listening > 0);
    const startVmm = await vmmStarter(socket!);
    await using vmm = await startVmm();
    await unit.comes("NFileDescriptorStore", (count) => Number(count) >= listening + 5);
    await vmm.order("run 41 4 1000000000 1");
    const killed = () => unit.control("kill", "--signal=KILL");
    const deeds = [
      () => unit.control("restart"),
      () => unit.startedAgainAfter(killed),
      () => unit.startedAgainAfter(() => unit.control("kill", "--signal=TERM")),
    ];
    for (const deed of deeds) {
      const pid = await unit.mainPid();
      await deed();
      assert(await unit.mainPid() !== pid);
      await using other = await startVmm();
      assertEquals(await other.touch(PAGE), "image");
      await other.check();
    }
    await vmm.order("stop");
    await vmm.ranRight();
    await vmm.check();
    // What the document warns of.
    await unit.control("stop");
    assertEquals(await stored(), 0);
    assertMatch(await unit.journal(), /Deactivated successfully/);
  },
);

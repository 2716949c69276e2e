/** `lazy --held-by systemd`: what a service's descriptor store keeps. The manager is manager.c. */

import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Lazy } from "../../client/lazy/lazy.ts";
import { programOf } from "../support/c_program.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { LineProcess } from "./line_process.ts";
import { MemoryFile, MIB, needsVmm, TWO_REGIONS, Vmm } from "./vmm.ts";

const PAGE = 4096;

/** Starts `lazy` as a service whose store has room for so many descriptors. */
async function startService(
  file: MemoryFile,
  most: number,
  notify = `${file.directory}/notify`,
): Promise<LineProcess> {
  const script = new URL("../../client/main.ts", import.meta.url).pathname;
  const lazy = [
    ...["lazy", "--firecracker", file.socket, "--image", file.path],
    ...["--held-by", "systemd", "--json"],
  ];
  const deno = [Deno.execPath(), "run", "-A", "--no-lock", "--cached-only", script];
  const program = await programOf(import.meta.resolve("./manager.c"));
  return new LineProcess(program, [notify, `${most}`, ...deno, ...lazy]);
}

async function pidOf(service: LineProcess): Promise<number> {
  return Number((await service.says("started")).split(" ")[1]);
}

testUnless(
  needsVmm,
  "lazy --held-by systemd that is killed or ended under load is started again and goes on, with VMs that came meanwhile",
  async () => {
    using file = new MemoryFile(8 * MIB);
    await using service = await startService(file, 100);
    let pid = await pidOf(service);
    await service.says("ready");
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await service.says('{"event":"handed-over"');
    await vmm.order("run 41 4 1000000000 1");
    // As systemctl restart ends it, too.
    for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"] as const) {
      await service.says('{"event":"progress"');
      Deno.kill(pid, signal);
      await service.says("ended");
      await using other = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      await other.order(`touch ${PAGE}`);
      pid = await pidOf(service);
      assertEquals(await other.says("touched"), `touched ${PAGE} image`);
      await other.kill();
      await service.says('{"event":"ended"');
    }
    await service.says('{"event":"progress"');
    await vmm.order("stop");
    await vmm.ranRight();
    await vmm.check();
  },
);

testUnless(
  needsVmm,
  "lazy --held-by systemd lets go of VMs that are gone, and says of one for which there is no room",
  async () => {
    using file = new MemoryFile(8 * MIB);
    // The listener takes two, a VM five, and to see that there was room takes one.
    await using service = await startService(file, 8, `@postcopy-${crypto.randomUUID()}`);
    await service.says("ready");
    for (let times = 0; times < 3; times++) {
      await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      await service.says('{"event":"handed-over"');
      assert(!service.hasSaid('{"event":"unheld"'), "there is room for one");
      await vmm.kill();
      await service.says('{"event":"ended"');
    }
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await service.says('{"event":"handed-over"');
    await using other = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    const { reason } = JSON.parse(await service.says('{"event":"unheld"'));
    assert(reason.includes("FileDescriptorStoreMax="), reason);
    for (const each of [vmm, other]) {
      await each.check();
    }
  },
);

testUnless(
  needsVmm,
  "Lazy that is no service cannot be held by systemd, and says what to do",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    await using lazy = await Lazy.open({ image: file.path, holder: "systemd" });
    const listening = () => lazy.listen(file.socket);
    await assertRejects(listening, Error, "NOTIFY_SOCKET is not set");
  }),
);

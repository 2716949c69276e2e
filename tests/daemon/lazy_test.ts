/** Memory that the daemon serves on demand, to the VMM of the tests. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import type { SessionView } from "../../daemon/service/session.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { Holder } from "../../client/lazy/holder/holder.ts";
import { Served } from "../lazy/remote_image.ts";
import { memoryContent, MemoryFile, needsVmm, Vmm } from "../lazy/vmm.ts";
import { until, within } from "../support/deadline.ts";
import { testUnless } from "../support/skip.ts";
import { CriuTask, needsCriu } from "../lazy/criu/criu_task.ts";
import { directoryWith } from "./criu_images.ts";
import { TestDaemon } from "./test_daemon.ts";

/** What is told of a process that writes. */
interface DirtyProcess {
  readonly pid: number;
  readonly pages: number;
  readonly bitmap: string;
}

const PAGE = 4096;
const LENGTH = 64 * PAGE;
const regions = [{ length: LENGTH, offset: 0 }];
const LAZY = { kind: "firecracker", socket: "vm.sock", image: "memory" };

testUnless(
  needsVmm,
  "POST /v1/lazy serves VMs from an image, and is not ended while one needs it",
  async () => {
    await using daemon = await TestDaemon.start();
    await Deno.writeFile(`${daemon.images}/memory`, memoryContent(LENGTH));
    const { id, peer, status } = await daemon.done("POST", "/v1/lazy", { ...LAZY, fill: false });
    const socket = `${daemon.directory}/sockets/vm.sock`;
    assertEquals([peer, status], [`unix:${await Deno.realPath(socket)}`, "active"]);
    await using vmm = await Vmm.start(socket, { regions });
    assertEquals(await vmm.touch(PAGE), "image");
    const shown = await daemon.done<
      SessionView & { statistics: { processes: { urgent: number }[] } }
    >(
      "GET",
      `/v1/lazy/${id}`,
    );
    assertEquals(shown.statistics.processes.map(({ urgent }) => urgent), [1]);
    const refused = await daemon.refused("DELETE", `/v1/lazy/${id}`);
    assertEquals([refused.status, refused.code], [409, "GUEST_AT_STAKE"]);
    assert(refused.detail.includes("1 process, "), refused.detail);
    assert(!/recover/.test(refused.detail), refused.detail);
    assertEquals(await vmm.touch(2 * PAGE), "image");
    await vmm.kill();
    await until(
      "the VM to be gone",
      async () => (await daemon.ask("DELETE", `/v1/lazy/${id}`)).status === 204,
    );
    assertEquals((await daemon.done<{ lazy: unknown[] }>("GET", "/v1/lazy")).lazy, []);
    assertEquals([...Deno.readDirSync(`${daemon.directory}/sockets`)], []);
    const kinds = daemon.service.events.read(0).events
      .map(({ event }) => event.event === "lazy" ? event.what.event : event.event);
    assertEquals(kinds.filter((kind) => kind === "handed-over" || kind === "started"), [
      "started",
      "handed-over",
    ]);
    assertEquals(daemon.mistakes, []);
  },
);

testUnless(
  needsVmm,
  "POST /v1/lazy serves VMs from an image at a page server, where there is memory for it",
  async () => {
    using file = new MemoryFile(LENGTH);
    await using served = new Served(file);
    await served.start();
    const from = `${formatSocketAddress(served.address)}/vm`;
    const body = { kind: "firecracker", socket: "vm.sock", from };
    await using daemon = await TestDaemon.start();
    const { id } = await daemon.done("POST", "/v1/lazy", body);
    await using vmm = await Vmm.start(`${daemon.directory}/sockets/vm.sock`, { regions });
    await vmm.order("check");
    assertEquals(await vmm.says("checked"), "checked wrong=0");
    assertEquals((await daemon.ask("DELETE", `/v1/lazy/${id}?force=true`)).status, 204);
    assertEquals(daemon.mistakes, []);
  },
);

testUnless(
  needsVmm,
  "GET /v1/lazy/{id}/dirty tells what VMs have written to, where that was asked for",
  async () => {
    const length = 8 << 20;
    await using daemon = await TestDaemon.start();
    await Deno.writeFile(`${daemon.images}/memory`, memoryContent(length));
    const { id } = await daemon.done("POST", "/v1/lazy", { ...LAZY, dirty: true });
    const socket = `${daemon.directory}/sockets/vm.sock`;
    const regions = [{ length, offset: 0 }];
    await using vmm = await Vmm.start(socket, { regions, track: true });
    await vmm.order("run 5 4 300 1");
    await vmm.ranRight();
    const { processes } = await daemon.done<{ processes: DirtyProcess[] }>(
      "GET",
      `/v1/lazy/${id}/dirty`,
    );
    assertEquals(processes.map(({ pid }) => pid), [vmm.pid]);
    const bitmap = Uint8Array.fromBase64(processes[0]!.bitmap);
    const changed = await vmm.changed();
    assertEquals(processes[0]!.pages, changed.length);
    assertEquals(changed.every((page) => (bitmap[page >>> 3]! >>> (page & 7) & 1) === 1), true);
    await vmm.kill();
    const plain = await daemon.done("POST", "/v1/lazy", { ...LAZY, socket: "other.sock" });
    const refused = await daemon.refused("GET", `/v1/lazy/${plain.id}/dirty`);
    assertEquals([refused.status, refused.code], [409, "UNSUPPORTED"]);
    assertEquals(daemon.mistakes, []);
  },
);

testUnless(
  needsVmm,
  "Service that is told to end leaves VMs to their holder, and the next session serves them",
  async () => {
    await using first = await TestDaemon.start();
    await Deno.writeFile(`${first.images}/memory`, memoryContent(LENGTH));
    await using holder = new Holder();
    await holder.listen(`${first.directory}/sockets/vm.holder`);
    const body = { ...LAZY, fill: false, holder: "vm.holder" };
    const { id } = await first.done("POST", "/v1/lazy", body);
    await using vmm = await Vmm.start(`${first.directory}/sockets/vm.sock`, { regions });
    assertEquals(await vmm.touch(PAGE), "image");
    await within("the drain", first.service.drain());
    assertEquals((await first.done("GET", `/v1/lazy/${id}`)).status, "cancelled");
    const touched = vmm.touch(2 * PAGE); // nobody serves it now
    await using next = await TestDaemon.start();
    await Deno.copyFile(`${first.images}/memory`, `${next.images}/memory`);
    await Deno.symlink(
      `${first.directory}/sockets/vm.holder`,
      `${next.directory}/sockets/vm.holder`,
    );
    await next.done("POST", "/v1/lazy", body);
    assertEquals(await within("the page", touched), "image");
    await vmm.kill();
    assertEquals([first.mistakes, next.mistakes], [[], []]);
  },
);

Deno.test("GET /v1/lazy/{id}/wait answers when the session stands there, has ended, or the time is over", async () => {
  await using daemon = await TestDaemon.start();
  await Deno.writeFile(`${daemon.images}/memory`, memoryContent(LENGTH));
  const { id } = await daemon.done("POST", "/v1/lazy", LAZY);
  const path = `/v1/lazy/${id}/wait`;
  assertEquals((await daemon.done("GET", `${path}?for=active&timeout=60`)).status, "active");
  assertEquals((await daemon.done("GET", `${path}?timeout=0`)).status, "active");
  const ended = daemon.done("GET", `${path}?for=ended&timeout=60`);
  await daemon.done("POST", `/v1/lazy/${id}/cancel`);
  assertEquals((await ended).status, "cancelled");
  const elsewhere = await daemon.refused("GET", `/v1/migrations/${id}/wait?timeout=0`);
  assertEquals([elsewhere.status, elsewhere.code], [404, "NO_SUCH_SESSION"]);
  const wrong = await daemon.refused("GET", `${path}?for=nothing`);
  assertEquals([wrong.status, wrong.code], [400, "BAD_REQUEST"]);
  assertEquals(daemon.mistakes, []);
});

Deno.test("POST /v1/lazy takes no copy of an image that is more than there may be of memory", async () => {
  using file = new MemoryFile(LENGTH);
  await Deno.truncate(file.path, 8 * 2 ** 30); // nothing of it is read
  await using served = new Served(file);
  await served.start();
  const from = `${formatSocketAddress(served.address)}/vm`;
  await using daemon = await TestDaemon.start('limits.memory = "4G"');
  const body = { kind: "firecracker", socket: "vm.sock", from };
  const refused = await daemon.refused("POST", "/v1/lazy", body);
  assertEquals([refused.status, refused.code], [503, "TOO_MUCH_MEMORY"]);
  assertEquals([...Deno.readDirSync(`${daemon.directory}/sockets`)], []);
  assertEquals((await daemon.done<{ lazy: unknown[] }>("GET", "/v1/lazy")).lazy, []);
  assertEquals(daemon.mistakes, []);
});

testUnless(
  needsCriu,
  "POST /v1/lazy has a holder keep a tree, and the next session goes on with it",
  async () => {
    await using task = await CriuTask.start("tree");
    const directory = await directoryWith(task);
    await using holder = new Holder();
    await holder.listen(`${directory}/sockets/criu.holder`);
    await using daemon = await TestDaemon.start("", directory);
    const body = { kind: "criu", images: "images", holder: "criu.holder", fill: false };
    const first = await daemon.done("POST", "/v1/lazy", body);
    task.go();
    const restoring = await task.restore();
    const { events } = daemon.service;
    await until("the tree", () => {
      const seen = events.read(0).events;
      return seen.some(({ event }) => event.event === "lazy" && event.what.event === "restored");
    });
    // Nothing is at stake, though the processes need it.
    await daemon.done("POST", `/v1/lazy/${first.id}/cancel`);
    const second = await daemon.done("POST", "/v1/lazy", { ...body, fill: true });
    await within("its end", daemon.service.wait(second.id, "ended", new AbortController().signal));
    assertEquals((await daemon.done("GET", `/v1/lazy/${second.id}`)).status, "completed");
    assertEquals(await task.result(), "wrong=0 more=6");
    await within("the process's end", restoring.ended);
    assertEquals(daemon.mistakes, []);
  },
);

testUnless(
  needsCriu,
  "POST /v1/lazy serves a tree that a real CRIU restores, and ends when all is there",
  async () => {
    await using task = await CriuTask.start("tree");
    const directory = await directoryWith(task);
    await using daemon = await TestDaemon.start("", directory);
    const { id, peer } = await daemon.done("POST", "/v1/lazy", { kind: "criu", images: "images" });
    assertEquals(peer, `unix:${await Deno.realPath(task.images)}/lazy-pages.socket`);
    task.go();
    const restoring = await task.restore();
    const { events } = daemon.service;
    await within("its end", daemon.service.wait(id, "ended", new AbortController().signal));
    assertEquals((await daemon.done("GET", `/v1/lazy/${id}`)).status, "completed");
    const kinds = events.read(0).events
      .map(({ event }) => event.event === "lazy" ? event.what.event : event.event);
    assertEquals(kinds.includes("restored"), true, kinds.join());
    assertEquals(await task.result(), "wrong=0 more=6");
    await within("the process's end", restoring.ended);
    assertEquals(daemon.mistakes, []);
  },
);

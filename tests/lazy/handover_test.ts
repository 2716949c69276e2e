import "../support/native.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { FirecrackerMessage, parseRegions } from "../../client/lazy/firecracker_message.ts";
import { checkedRegions, type Region } from "../../client/lazy/region.ts";
import { RegionMap } from "../../client/lazy/region_map.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { sendDescriptors } from "../../ffi/descriptor_passing.ts";
import { Socket } from "../../ffi/socket.ts";
import { Userfaultfd } from "../../ffi/userfaultfd.ts";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { needsRoot, testUnless } from "../support/skip.ts";
import { serving } from "./serving.ts";
import { MemoryFile, MIB, needsVmm, Vmm } from "./vmm.ts";

const region: Region = { address: 0x7f00_0000_0000, length: MIB, offset: 0, pageSize: 4096 };
const TEXT =
  '[{"base_host_virt_addr":139637976727552,"size":1048576,"offset":0,"page_size":4096,"x":"]}\\"["}]';

Deno.test("FirecrackerMessage finds its end wherever it is cut, and passes over what follows", () => {
  const bytes = new TextEncoder().encode(` \n${TEXT}\n`);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const message = new FirecrackerMessage();
    message.take(bytes.subarray(0, cut));
    assertEquals(message.complete, cut >= bytes.length - 1, `cut at ${cut}`);
    message.take(bytes.subarray(cut));
    assert(message.complete);
    assertEquals(message.regions(), [region]);
  }
});

Deno.test("FirecrackerMessage refuses what is no array of regions, and what never ends", () => {
  const take = (text: string) => new FirecrackerMessage().take(new TextEncoder().encode(text));
  assertThrows(() => take("GET / HTTP/1.1"), Error, "starts with byte 0x47");
  assertThrows(() => take(`[${" ".repeat(2 * MIB)}`), Error, "without an end");
});

Deno.test("parseRegions knows the page size by every name that it had", () => {
  const sizes = (member: string) =>
    parseRegions(`[{"base_host_virt_addr":0,"size":1,"offset":0${member}}]`)[0]!.pageSize;
  assertEquals(sizes(""), 4096);
  assertEquals(sizes(',"page_size_kib":2097152'), 2097152);
  assertEquals(sizes(',"page_size":2097152,"page_size_kib":4096'), 2097152);
  assertEquals(sizes(',"page_size":null,"page_size_kib":4096'), 4096);
});

Deno.test("parseRegions refuses numbers that cannot be exact, and members that are missing", () => {
  const parse = (size: string) =>
    parseRegions(`[{"base_host_virt_addr":0,"offset":0${size === "" ? "" : `,"size":${size}`}}]`);
  for (const size of ["9007199254740993", "-4096", '"4096"', "1.5", "null", ""]) {
    assertThrows(() => parse(size), Error, "size of region 0");
  }
  assertThrows(() => parseRegions("{}"), Error, "no array of regions");
  assertThrows(() => parseRegions("[3]"), Error, "region 0 is no object");
  assertThrows(() => parseRegions("[}"), Error, "Message that is not of Firecracker's regions");
});

Deno.test("checkedRegions refuses what cannot be served, and names it", () => {
  const refuses = (change: Partial<Region>, text: string) =>
    assertThrows(() => checkedRegions([{ ...region, ...change }], MIB), Error, text);
  refuses({ address: region.address + 1 }, "off the grid of its pages, address");
  refuses({ length: 4097 }, "off the grid of its pages, length: 4097");
  refuses({ offset: 12 }, "off the grid of its pages, offset: 12");
  refuses({ length: 0 }, "Region without memory");
  refuses({ pageSize: 8192 }, "neither 4096 nor 2097152: 8192");
  refuses({ pageSize: 2 * MIB }, "length: 1048576");
  refuses({ offset: 4096 }, "behind the end of the image, which holds 1048576 bytes");
  refuses({ address: 2 ** 47 }, "beyond user space");
  assertThrows(() => checkedRegions([], MIB), Error, "No region");
  assertThrows(() => checkedRegions([region, { ...region, offset: 0 }], MIB), Error, "overlap");
});

Deno.test("RegionMap finds pages by address and runs over gaps", () => {
  const other = { ...region, address: region.address + 2 * MIB, offset: MIB };
  const map = new RegionMap(checkedRegions([other, region], 2 * MIB));
  assertEquals(map.pageCount, 512);
  assertEquals(map.pageAt(region.address - 1), -1);
  assertEquals(map.pageAt(region.address + MIB - 1), 255);
  assertEquals(map.pageAt(region.address + MIB), -1);
  assertEquals(map.pageAt(other.address), 256);
  assertEquals(map.pageAt(other.address + MIB), -1);
  assertEquals([map.regionOf(255), map.regionOf(256)], [0, 1]);
  const runs: number[][] = [];
  map.eachRun(region.address + MIB - 4096, other.address + 8192, (...run) => runs.push(run));
  assertEquals(runs, [[255, 1], [256, 2]]);
});

testUnless(
  needsRoot() ?? needsVmm,
  "Lazy refuses whoever hands over something else, says why, and serves the next",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    const { lazy, events } = await serving(file);
    await using _lazy = lazy;
    using event = new Eventfd();
    using uffd = new Userfaultfd();
    const cases: [string, number[], string][] = [
      [TEXT, [], "are not one: 0"],
      [TEXT, [event.fd], "is no userfaultfd: ENOTTY"],
      [TEXT, [uffd.fd, uffd.fd], "are not one: 2"],
      ["x", [uffd.fd], "starts with byte 0x78"],
      [TEXT.slice(0, 20), [uffd.fd], "the connection ended after 20 bytes"],
      [TEXT.replace("1048576", "1052672"), [uffd.fd], "behind the end of the image"],
    ];
    using _silent = await Socket.connect({ transport: "unix", path: file.socket });
    for (const [text, fds, reason] of cases) {
      events.length = 0;
      using socket = await Socket.connect({ transport: "unix", path: file.socket });
      const bytes = new TextEncoder().encode(text);
      assertEquals(sendDescriptors(socket.fd, bytes, fds), bytes.length);
      socket.shutdown();
      await until(reason, () => events.length > 0);
      const [refused] = events;
      assert(
        refused?.event === "refused" && refused.reason.includes(reason),
        JSON.stringify(refused),
      );
    }
    await using vmm = await Vmm.start(file.socket, { regions: [{ length: MIB, offset: 0 }] });
    assertEquals(await vmm.touch(4096), "image");
  }),
);

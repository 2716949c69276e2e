/** Fields of devices whose state this project saved and described. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import {
  array,
  bool,
  bytes,
  counted,
  description,
  Devices,
  i32,
  newState,
  safeU64,
  struct,
  u16,
  u64,
  u8,
  unused,
} from "../../migration/device/mod.ts";
import { openImage } from "../../image/open_image.ts";
import { inspectFields } from "../../image/inspect/inspect_fields.ts";
import {
  bytesOf,
  structureOf,
  structuresOf,
  subsectionOf,
  valueOf,
  valuesOf,
} from "../device/find_field.ts";
import { PAGE } from "./captures.ts";
import { withImage } from "./described_devices.ts";

const RING = description({
  name: "ring",
  version: 1,
  fields: { size: u8, used: counted(u16, "size", 8) },
});
const QUEUE = description({ name: "queue", version: 3, fields: { head: u16, on: bool } });
const NET = description({
  name: "net",
  version: 2,
  fields: {
    address: u64,
    features: safeU64,
    level: i32,
    reserved: unused(3),
    mac: bytes(6),
    control: struct(QUEUE),
    queues: array(struct(QUEUE), 2),
    count: u8,
    rings: counted(struct(RING), "count", 4),
    vectors: array(u16, 3),
  },
  subsections: [description({
    name: "net/speed",
    version: 5,
    fields: { speed: i32 },
    needed: (state: { speed: number }) => state.speed !== 0,
  })],
});

Deno.test("inspectFields reads what Devices saved and described", async () => {
  const state = newState(NET);
  state.address = 0xffff_ffff_fee0_0000n;
  state.features = 2 ** 40 + 1;
  state.level = -7;
  state.mac.set([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
  state.control = { head: 9, on: true };
  state.queues = [{ head: 1, on: false }, { head: 2, on: true }];
  state.count = state.rings.push({ size: 1, used: Uint16Array.of(77) }, {
    size: 2,
    used: Uint16Array.of(78, 79),
  });
  state.vectors.set([4, 5, 6]);
  state.speed = -1;
  const devices = new Devices();
  devices.add({ name: "0000:00:02.0/net", instance: 4, description: NET, state });
  const saved = devices.save();
  await withImage({ devices: saved, description: devices.describe(PAGE) }, async (path) => {
    using image = await openImage(path);
    const [device] = inspectFields(image).devices;
    assertEquals(device!.problem, undefined);
    assertEquals([device!.name, device!.instance, device!.version], ["0000:00:02.0/net", 4, 2]);
    const net = device!.state!;
    assertEquals(valueOf(net, "address"), state.address);
    assertEquals(valueOf(net, "features"), BigInt(state.features));
    assertEquals(valueOf(net, "level"), -7);
    assertEquals(bytesOf(net, "mac").toHex(), "525400123456");
    assertEquals(valueOf(structureOf(net, "control"), "on"), true);
    assertEquals(structuresOf(net, "queues").map((queue) => valueOf(queue, "head")), [1, 2]);
    const rings = net.fields.flatMap((field) => field.name === "rings" ? [field] : []);
    assertEquals(rings.map(({ index }) => index), [0, 1]);
    const [, second] = rings;
    assertEquals("structure" in second! && valuesOf(second.structure, "used"), [78, 79]);
    assertEquals(valuesOf(net, "vectors"), [4, 5, 6]);
    assertEquals(valueOf(subsectionOf(net, "net/speed"), "speed"), -1);
  });
});

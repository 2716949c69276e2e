import { assertEquals } from "@std/assert";
import {
  array,
  bool,
  bytes,
  counted,
  countedBytes,
  description,
  type Device,
  Devices,
  newState,
  safeU64,
  since,
  struct,
  u16,
  u8,
  unused,
} from "../../migration/device/mod.ts";
import { deviceSections, parseVmDescription } from "../../migration/protocol/mod.ts";

/** The description of a device, its own name left out. */
function described<S>(device: Device<S>): unknown {
  const devices = new Devices();
  devices.add(device);
  devices.save();
  return JSON.parse(devices.describe(4096)).devices[0].fields;
}

Deno.test("Devices.describe names fields, types and sizes as QEMU does", () => {
  const part = description({
    name: "box/part",
    version: 9,
    fields: { part: u8 },
    needed: ({ part }) => part > 0,
  });
  const box = description({
    name: "box",
    version: 2,
    fields: { raw: bytes(3), gap: unused(2), words: array(u16, 4), base: safeU64, on: bool },
    subsections: [part],
  });
  const state = newState(box);
  const devices = new Devices();
  devices.add({ name: "0000:00:01.0/box", instance: 3, description: box, state });
  const device = {
    name: "0000:00:01.0/box",
    instance_id: 3,
    vmsd_name: "box",
    version: 2,
    fields: [
      { name: "raw", type: "buffer", size: 3 },
      { name: "gap", type: "unused_buffer", size: 2 },
      { name: "words", array_len: 4, type: "uint16", size: 2 },
      { name: "base", type: "uint64", size: 8 },
      { name: "on", type: "bool", size: 1 },
    ],
  };
  assertEquals(JSON.parse(devices.describe(65536)), { page_size: 65536, devices: [device] });
  state.part = 1;
  const subsections = [
    { vmsd_name: "box/part", version: 9, fields: [{ name: "part", type: "uint8", size: 1 }] },
  ];
  assertEquals(JSON.parse(devices.describe(4096)).devices, [{ ...device, subsections }]);
});

Deno.test("Devices.describe leaves out what is not saved", () => {
  const box = description({
    name: "box",
    version: 2,
    fields: { has: bool, extra: u8, late: since(2, u8), none: array(u16, 0), last: u8 },
    when: { extra: ({ has }) => has },
  });
  const names = (fields: unknown) => (fields as { name: string }[]).map(({ name }) => name);
  const state = newState(box);
  assertEquals(names(described({ name: "box", description: box, state })), ["has", "late", "last"]);
  state.has = true;
  assertEquals(
    names(described({ name: "box", description: box, state })),
    ["has", "extra", "late", "last"],
  );
  const unwanted = description({
    name: "unwanted",
    version: 1,
    fields: { value: u8 },
    needed: () => false,
  });
  const devices = new Devices();
  devices.add({ name: "unwanted", description: unwanted, state: { value: 1 } });
  assertEquals(JSON.parse(devices.describe(4096)).devices, []);
});

Deno.test("Devices.describe describes an array of equal structures once, of others one by one", () => {
  const equal = description({ name: "equal", version: 1, fields: { a: u16, b: u8 } });
  const other = description({
    name: "other",
    version: 1,
    fields: { count: u8, data: countedBytes("count", 9) },
  });
  const box = description({
    name: "box",
    version: 1,
    fields: {
      equals: array(struct(equal), 2),
      single: array(struct(equal), 1),
      count: u8,
      others: counted(struct(other), "count", 9),
    },
  });
  const state = newState(box);
  state.count = 2;
  state.others = [1, 2].map((count) => ({ count, data: new Uint8Array(count) }));
  const pair = {
    vmsd_name: "equal",
    version: 1,
    fields: [{ name: "a", type: "uint16", size: 2 }, { name: "b", type: "uint8", size: 1 }],
  };
  const element = (index: number, size: number) => ({
    name: "others",
    index,
    type: "struct",
    struct: {
      vmsd_name: "other",
      version: 1,
      fields: [
        { name: "count", type: "uint8", size: 1 },
        { name: "data", type: "buffer", size: size - 1 },
      ],
    },
    size,
  });
  assertEquals(described({ name: "box", description: box, state }), [
    { name: "equals", array_len: 2, type: "struct", struct: pair, size: 3 },
    { name: "single", type: "struct", struct: pair, size: 3 },
    { name: "count", type: "uint8", size: 1 },
    element(0, 2),
    element(1, 3),
  ]);
  state.count = 1;
  state.others.length = 1;
  const { index: _, ...only } = element(0, 2);
  assertEquals((described({ name: "box", description: box, state }) as unknown[]).at(-1), only);
});

Deno.test("Devices.describe leads past a payload that looks like a footer and a section", () => {
  const sly = description({ name: "sly", version: 1, fields: { data: bytes(24) } });
  const state = newState(sly);
  state.data.set([0x7e, 0, 0, 0, 0, 4, 0, 0, 0, 1, 1, 0x78]);
  const devices = new Devices();
  devices.add({ name: "sly", description: sly, state });
  const saved = devices.save();
  const parsed = parseVmDescription(devices.describe(4096));
  assertEquals(deviceSections(saved, parsed).map(({ size }) => size), [24]);
});

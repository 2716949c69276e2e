import { assertEquals, assertThrows } from "@std/assert";
import {
  array,
  bool,
  bytes,
  counted,
  countedBytes,
  description,
  Devices,
  i16,
  i32,
  i64,
  i8,
  newState,
  safeI64,
  safeU64,
  struct,
  u16,
  u32,
  u64,
  u8,
  unused,
} from "../../migration/device/mod.ts";
import { hexBytes } from "../support/hex.ts";

const RING = description({ name: "ring", version: 1, fields: { head: u16, base: safeU64 } });
const EVERYTHING = description({
  name: "everything",
  version: 3,
  fields: {
    a: u8,
    b: i8,
    c: u16,
    d: i16,
    e: u32,
    f: i32,
    g: u64,
    h: i64,
    i: safeI64,
    j: bool,
    raw: bytes(3),
    gap: unused(2),
    count: u8,
    data: countedBytes("count", 9),
    words: array(u16, 2),
    longs: counted(u64, "count", 9),
    one: struct(RING),
    rings: counted(struct(RING), "count", 9),
  },
  subsections: [
    description({
      name: "everything/part",
      version: 7,
      fields: { part: u8 },
      needed: ({ part }) => part > 0,
    }),
  ],
});
/** Written by hand after docs/protocol.md section 1.1. */
const BYTES = hexBytes(`
  04 00000000 03 "all" 00000005 00000003
  fe fe fffe fffe fffffffe fffffffe fffffffffffffffe fffffffffffffffe ffffffffffffffff 01
  010203 0000 02 0405 0006 0007 0000000000000008 8000000000000009
  000a 000000000000000b
  000c 001fffffffffffff 000d 000000000000000e
  05 0f "everything/part" 00000007 10
  7e 00000000`);

const VALUES = {
  a: 0xfe,
  b: -2,
  c: 0xfffe,
  d: -2,
  e: 0xffff_fffe,
  f: -2,
  g: 0xffff_ffff_ffff_fffen,
  h: -2n,
  i: -1,
  j: true,
  raw: new Uint8Array([1, 2, 3]),
  count: 2,
  data: new Uint8Array([4, 5]),
  words: new Uint16Array([6, 7]),
  longs: new BigUint64Array([8n, 0x8000_0000_0000_0009n]),
  one: { head: 10, base: 11 },
  rings: [{ head: 12, base: Number.MAX_SAFE_INTEGER }, { head: 13, base: 14 }],
  part: 16,
};

const ONE_FIELD = description({ name: "one", version: 1, fields: { value: u8 } });

Deno.test("Devices.save writes every kind of field as QEMU does", () => {
  const devices = new Devices();
  devices.add({ name: "all", instance: 5, description: EVERYTHING, state: VALUES });
  assertEquals(devices.save(), BYTES);
});

Deno.test("Devices.load reads every kind of field", () => {
  const state = newState(EVERYTHING);
  const devices = new Devices();
  devices.add({ name: "all", instance: 5, description: EVERYTHING, state });
  devices.load(BYTES);
  assertEquals(state, VALUES);
});

Deno.test("Devices.load reads device state that lies inside a larger buffer", () => {
  const state = newState(EVERYTHING);
  const devices = new Devices();
  devices.add({ name: "all", instance: 5, description: EVERYTHING, state });
  const larger = new Uint8Array(BYTES.length + 7);
  larger.set(BYTES, 3);
  devices.load(larger.subarray(3, 3 + BYTES.length));
  assertEquals(state, VALUES);
});

Deno.test("Devices.load keeps the objects and arrays that the state has where they fit", () => {
  const state = structuredClone(VALUES);
  const { raw, data, words, one, rings } = state;
  const [first] = rings;
  const devices = new Devices();
  devices.add({ name: "all", instance: 5, description: EVERYTHING, state });
  devices.load(BYTES);
  const kept = [
    state.raw === raw,
    state.data === data,
    state.words === words,
    state.one === one,
    state.rings === rings,
    state.rings[0] === first,
  ];
  assertEquals(kept, [true, true, true, true, true, true]);
});

Deno.test("Devices.load shortens and lengthens counted arrays", () => {
  const rings = description({
    name: "rings",
    version: 1,
    fields: { count: u8, rings: counted(struct(RING), "count", 9), data: countedBytes("count", 9) },
  });
  const saved = (count: number) => {
    const state = newState(rings);
    state.count = count;
    for (let i = 0; i < count; i++) state.rings.push({ head: i, base: i });
    state.data = new Uint8Array(count).fill(count);
    return state;
  };
  const state = saved(4);
  const to = new Devices();
  to.add({ name: "rings", description: rings, state });
  for (const count of [2, 5, 0, 1]) {
    const from = new Devices();
    from.add({ name: "rings", description: rings, state: saved(count) });
    to.load(from.save());
    assertEquals(state, saved(count));
  }
});

Deno.test("description.create makes the new elements of a counted array", () => {
  class Port {
    id = 0;
    read = false;
  }
  const port = description({
    name: "port",
    version: 1,
    fields: { id: u8 },
    create: () => new Port(),
    postLoad: (state: Port) => {
      state.read = true;
    },
  });
  const hub = description({
    name: "hub",
    version: 1,
    fields: { count: u8, ports: counted(struct(port), "count", 9) },
  });
  const state = newState(hub);
  const devices = new Devices();
  devices.add({ name: "hub", description: hub, state });
  devices.load(hexBytes(`04 00000000 03 "hub" 00000000 00000001 02 08 09 7e 00000000`));
  assertEquals(state.ports.map((each) => [each instanceof Port, each.id, each.read]), [
    [true, 8, true],
    [true, 9, true],
  ]);
});

Deno.test("Devices.save numbers sections in the order of add, and load takes them in any", () => {
  const state = () => ({ value: 1 });
  const devices = new Devices();
  devices.add({ name: "one", description: ONE_FIELD, state: state() });
  devices.add({ name: "one", instance: 1, description: ONE_FIELD, state: state() });
  const first = hexBytes(`04 00000000 03 "one" 00000000 00000001 01 7e 00000000`);
  const second = hexBytes(`04 00000001 03 "one" 00000001 00000001 01 7e 00000001`);
  assertEquals(devices.save(), new Uint8Array([...first, ...second]));
  devices.load(new Uint8Array([...second, ...first]));
});

Deno.test("Devices.load runs in what is around it, each device's postLoad before the next device", () => {
  const log: string[] = [];
  const logging = description({
    name: "logging",
    version: 1,
    fields: { value: u8 },
    postLoad: ({ value }) => {
      log.push(`postLoad ${value}`);
    },
  });
  const devices = new Devices();
  devices.add({ name: "a", description: logging, state: { value: 1 } });
  devices.add({ name: "b", instance: 9, description: logging, state: { value: 2 } });
  devices.load(devices.save(), {
    around: (load) => {
      log.push("begin");
      load();
      log.push("commit");
    },
    onDevice: (name, instance, nanoseconds) => {
      log.push(`${name} ${instance} ${Number.isInteger(nanoseconds)}`);
    },
  });
  assertEquals(log, ["begin", "postLoad 1", "a 0 true", "postLoad 2", "b 9 true", "commit"]);
});

Deno.test("Devices.load refuses an around that does not load", () => {
  const devices = new Devices();
  assertThrows(() => devices.load(new Uint8Array(0), { around: () => {} }), TypeError, "around");
});

Deno.test("Devices.add refuses the same device twice, and names that are none", () => {
  const devices = new Devices();
  const add = (name: string, instance: number) =>
    devices.add({ name, instance, description: ONE_FIELD, state: { value: 1 } });
  add("one", 0);
  assertThrows(() => add("one", 0), RangeError, "twice");
  assertThrows(() => add("", 0), RangeError, "1 to 255");
  assertThrows(() => add("a\nb", 0), RangeError, "control characters");
  assertThrows(() => add("one", -1), RangeError, "32 bits");
});

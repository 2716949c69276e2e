import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  array,
  bool,
  bytes,
  counted,
  countedBytes,
  description,
  Devices,
  DeviceStateError,
  newState,
  safeI64,
  safeU64,
  struct,
  u16,
  u32,
  u64,
  u8,
} from "../../migration/device/mod.ts";
import { hexBytes } from "../support/hex.ts";

const QUEUE = description({
  name: "queue",
  version: 1,
  fields: { head: u16, on: bool, base: safeU64 },
  postLoad: ({ head }) => {
    if (head === 0xdead) throw new RangeError("Head outside its ring");
  },
});
const NET = description({
  name: "net",
  version: 4,
  minimumVersion: 3,
  fields: {
    count: u32,
    data: countedBytes("count", 5),
    queues: counted(struct(QUEUE), "count", 5),
    tail: u8,
  },
  subsections: [
    description({
      name: "net/sub",
      version: 2,
      fields: { flags: array(bool, 2), offset: safeI64 },
      needed: () => true,
      postLoad: ({ offset }) => {
        if (offset === 13) throw new Error("Unlucky");
      },
    }),
  ],
});
const HEAD = `04 00000007 03 "net" 00000001`;
/** They begin at byte 17; data at 21, queues at 23, their elements of 11 bytes at 23 and 34. */
const FIELDS = `00000002 a0a1 0001 00 0000000000000002 0003 01 0000000000000004 05`;
const SUB = `05 07 "net/sub" 00000002 00 01 0000000000000006`;
const FOOTER = `7e 00000007`;
const GOOD = `${HEAD} 00000004 ${FIELDS} ${SUB} ${FOOTER}`;

function load(text: string): void {
  const devices = new Devices();
  devices.add({ name: "net", instance: 1, description: NET, state: newState(NET) });
  devices.load(hexBytes(text));
}

/** The error with which these bytes are refused. */
function refused(text: string): DeviceStateError {
  return assertThrows(() => load(text), DeviceStateError);
}

function parts(error: DeviceStateError): unknown[] {
  const { code, device, instance, field, offset } = error;
  return [code, device, instance, field, offset];
}

Deno.test("the device state that the other tests spoil is good", () => {
  load(GOOD);
});

Deno.test("Devices.load refuses a device that the machine does not have", () => {
  const error = refused(GOOD.replace("net", "bet"));
  assertEquals(parts(error), ["unknown-device", "bet", 1, "", 0]);
  assertEquals(
    error.message,
    "Cannot load device bet, instance 1, at byte 0 of the device state: expected a device of this " +
      "machine, have the same devices at both ends, found: none of that name and instance",
  );
});

Deno.test("Devices.load refuses an instance that the machine does not have", () => {
  const error = refused(GOOD.replace(`"net" 00000001`, `"net" 00000002`));
  assertEquals(parts(error), ["unknown-device", "net", 2, "", 0]);
});

Deno.test("Devices.load refuses device state without a section of every device", () => {
  assertEquals(parts(refused("")), ["missing-device", "net", 1, "", 0]);
});

Deno.test("Devices.load refuses a second section of a device", () => {
  const error = refused(GOOD + GOOD);
  assertEquals(parts(error), ["device-twice", "net", 1, "", hexBytes(GOOD).length]);
});

Deno.test("Devices.load refuses versions that it does not know", () => {
  const at = hexBytes(HEAD).length;
  const tooNew = refused(GOOD.replace(`${HEAD} 00000004`, `${HEAD} 00000005`));
  assertEquals(parts(tooNew), ["too-new", "net", 1, "", at]);
  assert(tooNew.message.includes("up to 4") && tooNew.found === "version 5", tooNew.message);
  const tooOld = refused(GOOD.replace(`${HEAD} 00000004`, `${HEAD} 00000002`));
  assertEquals(parts(tooOld), ["too-old", "net", 1, "", at]);
  assert(tooOld.message.includes("at least 3"), tooOld.message);
});

Deno.test("Devices.load refuses versions of subsections that it does not know", () => {
  const at = hexBytes(`${HEAD} 00000004 ${FIELDS} 05 07 "net/sub"`).length;
  const tooNew = refused(GOOD.replace(`"net/sub" 00000002`, `"net/sub" 00000003`));
  assertEquals(parts(tooNew), ["too-new", "net", 1, "net/sub", at]);
  const tooOld = refused(GOOD.replace(`"net/sub" 00000002`, `"net/sub" 00000001`));
  assertEquals(parts(tooOld), ["too-old", "net", 1, "net/sub", at]);
});

Deno.test("Devices.load says of any truncated device state that it is", () => {
  const good = hexBytes(GOOD);
  for (let length = 1; length < good.length; length++) {
    const devices = new Devices();
    devices.add({ name: "net", instance: 1, description: NET, state: newState(NET) });
    const error = assertThrows(() => devices.load(good.subarray(0, length)), DeviceStateError);
    assertEquals(error.code, "truncated", `${length}: ${error.message}`);
  }
});

Deno.test("Devices.load names the field in which truncated device state ends", () => {
  const error = refused(`${HEAD} 00000004 00000002 a0a1 0001 00 0000000000000002 0003 01 0000`);
  assertEquals(parts(error), ["truncated", "net", 1, "queues", 23]);
  const inside = refused(`${HEAD} 00000004 ${FIELDS} 05 07 "net/sub" 00000002 00 01 0000`);
  const at = hexBytes(`${HEAD} 00000004 ${FIELDS} 05 07 "net/sub" 00000002 00 01`).length;
  assertEquals(parts(inside), ["truncated", "net", 1, "net/sub.offset", at]);
});

Deno.test("Devices.load refuses fields that end before or behind the footer", () => {
  const long = refused(GOOD.replace(FOOTER, `00 ${FOOTER}`));
  const end = hexBytes(GOOD).length - 5;
  assertEquals(parts(long), ["wrong-size", "net", 1, "tail", end]);
  assertEquals(long.found, "bytes 00 7e 00 00 00");
  const other = refused(GOOD.replace(FOOTER, "7e 00000008"));
  assertEquals(parts(other), ["wrong-size", "net", 1, "tail", end]);
});

Deno.test("Devices.load refuses a subsection that it does not know", () => {
  const at = hexBytes(`${HEAD} 00000004 ${FIELDS}`).length;
  const own = refused(GOOD.replace("net/sub", "net/bus"));
  assertEquals(parts(own), ["unknown-subsection", "net", 1, "net/bus", at]);
  const foreign = refused(GOOD.replace("net/sub", "set/bus"));
  assertEquals(parts(foreign), ["unknown-subsection", "net", 1, "set/bus", at]);
});

Deno.test("Devices.load refuses a subsection that comes again", () => {
  const error = refused(GOOD.replace(FOOTER, `${SUB} ${FOOTER}`));
  assertEquals(parts(error), [
    "subsection-twice",
    "net",
    1,
    "net/sub",
    hexBytes(GOOD).length - 5,
  ]);
});

Deno.test("Devices.load refuses bools other than 0 and 1", () => {
  const nested = refused(GOOD.replace("0003 01", "0003 02"));
  assertEquals(parts(nested), ["bad-value", "net", 1, "queues[1].on", 36]);
  const element = refused(GOOD.replace(`00000002 00 01`, `00000002 00 ff`));
  assertEquals([element.code, element.field, element.found], [
    "bad-value",
    "net/sub.flags[1]",
    "255",
  ]);
});

Deno.test("Devices.load and save name a field with all of the structures that it lies in", () => {
  const bits = description({ name: "bits", version: 1, fields: { on: bool, mask: u64 } });
  const port = description({ name: "port", version: 1, fields: { bits: struct(bits) } });
  const hub = description({
    name: "hub",
    version: 1,
    fields: { main: struct(port), ports: array(struct(port), 2) },
  });
  const state = newState(hub);
  const devices = new Devices();
  devices.add({ name: "hub", description: hub, state });
  const field = (use: () => void) => assertThrows(use, DeviceStateError).field;
  for (const [at, path] of [[17, "main.bits.on"], [35, "ports[1].bits.on"]] as const) {
    const saved = devices.save();
    saved[at] = 2;
    assertEquals(field(() => devices.load(saved)), path);
  }
  for (const mask of [-1n, 2n ** 64n]) {
    state.ports[1]!.bits.mask = mask;
    assertEquals(field(() => devices.save()), "ports[1].bits.mask");
  }
});

Deno.test("Devices.load refuses 64 bits that a number cannot hold", () => {
  const large = refused(GOOD.replace("0000000000000002", "0020000000000000"));
  assertEquals([large.code, large.field, large.found], [
    "bad-value",
    "queues[0].base",
    "0x20000000000000",
  ]);
  const small = refused(GOOD.replace("0000000000000006", "ffe0000000000000"));
  assertEquals([small.code, small.field], ["bad-value", "net/sub.offset"]);
});

Deno.test("Devices.load refuses a count above its maximum, and reads none of the elements", () => {
  for (const count of ["00000006", "ffffffff"]) {
    const error = refused(GOOD.replace("00000004 00000002", `00000004 ${count}`));
    assertEquals(parts(error), ["bad-count", "net", 1, "data", 21]);
  }
});

Deno.test("Devices.load makes no array whose bytes are not there", () => {
  const many = description({
    name: "many",
    version: 1,
    fields: {
      count: u32,
      longs: counted(u64, "count", 2 ** 31 - 1),
      queues: counted(struct(QUEUE), "count", 2 ** 31 - 1),
    },
  });
  const state = newState(many);
  const devices = new Devices();
  devices.add({ name: "many", description: many, state });
  const bytes = hexBytes(`04 00000000 04 "many" 00000000 00000001 7fffffff 00 7e 00000000`);
  const error = assertThrows(() => devices.load(bytes), DeviceStateError);
  assertEquals([error.code, error.field, state.longs.length], ["truncated", "longs", 0]);
});

Deno.test("Devices.load keeps what a postLoad throws as the cause", () => {
  const error = refused(GOOD.replace("a0a1 0001", "a0a1 dead"));
  assertEquals(parts(error), ["hook-failed", "net", 1, "queues[0]", 34]);
  assert(error.cause instanceof RangeError && error.message.includes("Head outside its ring"));
  const sub = refused(GOOD.replace("0000000000000006", "000000000000000d"));
  assertEquals([sub.code, sub.field, (sub.cause as Error).message], [
    "hook-failed",
    "net/sub",
    "Unlucky",
  ]);
});

Deno.test("Devices.load keeps what a condition throws as the cause", () => {
  const conditional = description({
    name: "conditional",
    version: 1,
    fields: { count: u8, extra: u8 },
    when: {
      extra: ({ count }) => {
        if (count > 1) throw new Error("Not two");
        return true;
      },
    },
  });
  const devices = new Devices();
  devices.add({ name: "c", description: conditional, state: newState(conditional) });
  const bytes = hexBytes(`04 00000000 01 "c" 00000000 00000001 02 01 7e 00000000`);
  const error = assertThrows(() => devices.load(bytes), DeviceStateError);
  assertEquals([error.code, error.field, (error.cause as Error).message], [
    "hook-failed",
    "extra",
    "Not two",
  ]);
});

Deno.test("Devices.load says what in the machine's own state has no place for a value", () => {
  const wrong = description({ name: "wrong", version: 1, fields: { data: bytes(4) } });
  const devices = new Devices();
  devices.add({ name: "w", description: wrong, state: { data: new Uint8Array(3) } });
  const saved = hexBytes(`04 00000000 01 "w" 00000000 00000001 01020304 7e 00000000`);
  const error = assertThrows(() => devices.load(saved), DeviceStateError);
  assertEquals([error.code, error.field, error.found], ["bad-state", "data", "3"]);
});

Deno.test("Devices.load refuses what is no section", () => {
  assertEquals(parts(refused(`${GOOD} 00`)), ["bad-section", "", 0, "", hexBytes(GOOD).length]);
  assertEquals(parts(refused("05")), ["bad-section", "", 0, "", 0]);
});

Deno.test("Devices.load takes no name for another that looks the same", () => {
  const bom = new Devices();
  bom.add({ name: "net", instance: 1, description: NET, state: newState(NET) });
  for (const name of ["efbbbf6e6574", "6e65747f", "ff"]) {
    const length = (name.length / 2).toString(16).padStart(2, "0");
    const bytes = hexBytes(GOOD.replace(`03 "net"`, `${length} ${name}`));
    const error = assertThrows(() => bom.load(bytes), DeviceStateError);
    assertEquals(error.code, "unknown-device");
  }
});

Deno.test("Devices.save refuses values that their fields cannot hold", () => {
  const good = () => ({
    count: 1,
    data: new Uint8Array(1),
    queues: [{ head: 1, on: true, base: 1 }],
    tail: 1,
    flags: [true, false],
    offset: 1,
  });
  const spoil: Record<string, (state: ReturnType<typeof good>) => void> = {
    "queues[0].head": ({ queues }) => queues[0]!.head = 65_536,
    "queues[0].base": ({ queues }) => queues[0]!.base = -1,
    "tail": (state) => state.tail = 0.5,
    "net/sub.flags": ({ flags }) => flags.pop(),
    "net/sub.flags[1]": ({ flags }) => Object.assign(flags, { 1: 2 }),
    "net/sub.offset": (state) => state.offset = -(2 ** 53),
    "data": (state) => state.data = new Uint8Array(2),
    "queues": ({ queues }) => queues.pop(),
  };
  for (const [field, change] of Object.entries(spoil)) {
    const state = good();
    change(state);
    const devices = new Devices();
    devices.add({ name: "net", instance: 1, description: NET, state });
    const error = assertThrows(() => devices.save(), DeviceStateError);
    assertEquals([error.code, error.device, error.field], ["bad-state", "net", field]);
    assert(error.message.startsWith(`Cannot save field ${field} of device net`), error.message);
  }
});

Deno.test("Devices.save refuses more elements than their maximum", () => {
  const few = description({
    name: "few",
    version: 1,
    fields: { count: u8, data: countedBytes("count", 2) },
  });
  const devices = new Devices();
  devices.add({ name: "few", description: few, state: { count: 3, data: new Uint8Array(3) } });
  const error = assertThrows(() => devices.save(), DeviceStateError);
  assertEquals([error.code, error.field], ["bad-count", "data"]);
});

Deno.test("Devices.save keeps what a hook throws as the cause", () => {
  const cause = new Error("Not now");
  const throws = () => {
    throw cause;
  };
  const fields = { value: u8 };
  for (
    const bad of [
      description({ name: "a", version: 1, fields, preSave: throws }),
      description({ name: "a", version: 1, fields, needed: throws }),
      description({ name: "a", version: 1, fields, when: { value: throws } }),
    ]
  ) {
    const devices = new Devices();
    devices.add({ name: "a", description: bad, state: { value: 1 } });
    const error = assertThrows(() => devices.save(), DeviceStateError);
    assertEquals([error.code, error.device, error.cause === cause], ["hook-failed", "a", true]);
  }
});

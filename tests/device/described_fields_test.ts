import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import type { DescribedStructure } from "../../migration/device/described_state.ts";
import { describeFields } from "../../migration/device/described_fields.ts";
import { DescriptionError } from "../../migration/device/description_error.ts";
import {
  describeGuestSection,
  encodeGuestSection,
} from "../../migration/protocol/guest_section.ts";
import { deviceSections } from "../../migration/protocol/mod.ts";
import { hexBytes } from "../support/hex.ts";
import { Random } from "../support/random.ts";
import { randomDevice } from "./random_device.ts";

function describe(description: unknown, bytes: string): DescribedStructure {
  const payload = hexBytes(bytes);
  return describeFields(description, { name: "pic", instance: 1, version: 3, payload });
}

/** The values of a device without arrays and structures. */
function values(fields: readonly object[], bytes: string): unknown[] {
  return describe({ fields }, bytes).fields.map((field) => "value" in field && field.value);
}

function problem(description: unknown, bytes: string): DescriptionError {
  return assertThrows(() => describe(description, bytes), DescriptionError);
}

Deno.test("describeFields reads integers as big-endian, with a sign and without", () => {
  const types = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"];
  const fields = types.map((type, i) => ({ name: type, type, size: 2 ** (i >> 1) }));
  assertEquals(
    values(fields, "fe fe fffe fffe fffffffe fffffffe fffffffffffffffe fffffffffffffffe"),
    [254, -2, 65534, -2, 4294967294, -2, 2n ** 64n - 2n, -2n],
  );
  assertEquals(
    values(fields, "01 01 0102 0102 01020304 01020304 0102030405060708 0102030405060708"),
    [1, 1, 258, 258, 16909060, 16909060, 0x102030405060708n, 0x102030405060708n],
  );
});

Deno.test("describeFields takes `equal` and `le` of a type for comparisons, not for byte orders", () => {
  const fields = [
    { name: "a", type: "uint8 equal", size: 1 },
    { name: "b", type: "int32 equal", size: 4 },
    { name: "c", type: "int32 le", size: 4 },
  ];
  assertEquals(values(fields, "81 fffffff0 00000002"), [129, -16, 2]);
});

Deno.test("describeFields reads booleans, timers and null pointers", () => {
  const fields = [
    { name: "off", type: "bool", size: 1 },
    { name: "on", type: "bool", size: 1 },
    { name: "timer", type: "timer", size: 8 },
    { name: "pointer", type: "nullptr", size: 1 },
  ];
  assertEquals(values(fields, "00 01 ffffffffffffffff 30"), [false, true, -1n, null]);
});

Deno.test("describeFields gives types that it does not know as bytes", () => {
  const fields = [
    { name: "a", type: "buffer", size: 3 },
    { name: "b", type: "pci config", size: 2 },
    { name: "c", type: "virtio", size: 0 },
    { name: "d", type: "qtailq", size: 2, vmsd_name: "e", version: 1, fields: [] },
  ];
  assertEquals(values(fields, "010203 0405 0607"), ["010203", "0405", "", "0607"].map(hexBytes));
});

Deno.test("describeFields says where each field lies", () => {
  const structure = { vmsd_name: "channel", version: 2, fields: [] as object[] };
  structure.fields = [{ name: "count", type: "uint8", size: 1 }];
  const fields = [
    { name: "irr", type: "uint16", size: 2 },
    { name: "isr", type: "uint8", size: 1, array_len: 3 },
    { name: "one", type: "struct", struct: structure, size: 1 },
    { name: "two", type: "struct", struct: structure, size: 1, array_len: 2 },
  ];
  const state = describe({ vmsd_name: "i8259", version: 3, fields }, "0001 020304 05 06 07");
  const channel = (offset: number, value: number): DescribedStructure => ({
    name: "channel",
    version: 2,
    offset,
    size: 1,
    fields: [{ name: "count", type: "uint8", offset, size: 1, value }],
    subsections: [],
  });
  assertEquals(state, {
    name: "i8259",
    version: 3,
    offset: 0,
    size: 8,
    fields: [
      { name: "irr", type: "uint16", offset: 0, size: 2, value: 1 },
      { name: "isr", type: "uint8", offset: 2, size: 3, values: [2, 3, 4] },
      { name: "one", type: "struct", offset: 5, size: 1, structure: channel(5, 5) },
      {
        name: "two",
        type: "struct",
        offset: 6,
        size: 2,
        structures: [channel(6, 6), channel(7, 7)],
      },
    ],
    subsections: [],
  });
});

Deno.test("describeFields reads a subsection behind the fields, in a structure too", () => {
  const subsection = (name: string) => ({
    vmsd_name: name,
    version: 7,
    fields: [{ name: "khz", type: "uint8", size: 1 }],
  });
  const inner = { vmsd_name: "pm", version: 1, fields: [], subsections: [subsection("pm/tco")] };
  const state = describe({
    fields: [{ name: "pm", type: "struct", struct: inner, size: 13 }],
    subsections: [subsection("pic/khz")],
  }, `05 06 "pm/tco" 00000007 aa 05 07 "pic/khz" 00000007 bb`);
  const found = (name: string, offset: number, value: number): DescribedStructure => ({
    name,
    version: 7,
    offset,
    size: 7 + name.length,
    fields: [{ name: "khz", type: "uint8", offset: offset + 6 + name.length, size: 1, value }],
    subsections: [],
  });
  assertEquals(state.subsections, [found("pic/khz", 13, 0xbb)]);
  const [pm] = state.fields;
  assert("structure" in pm!);
  assertEquals(pm.structure.subsections, [found("pm/tco", 0, 0xaa)]);
});

Deno.test("describeFields reads the fields of `tmp` and `vstruct`, which stand beside their name", () => {
  for (const type of ["tmp", "vstruct"]) {
    const fields = [{ name: "mantissa", type: "uint8", size: 1 }];
    const state = describe({
      fields: [{ name: "x", type, vmsd_name: "fpreg_tmp", version: 0, fields, size: 1 }],
    }, "2a");
    const [field] = state.fields;
    assert("structure" in field!);
    assertEquals(field.structure, {
      name: "fpreg_tmp",
      version: 0,
      offset: 0,
      size: 1,
      fields: [{ name: "mantissa", type: "uint8", offset: 0, size: 1, value: 42 }],
      subsections: [],
    });
  }
});

Deno.test("describeFields numbers fields of one name, which are the elements of an array", () => {
  const fields = [
    { name: "before", type: "uint8", size: 1 },
    { name: "dev", type: "nullptr", size: 1 },
    { name: "dev", type: "uint8", size: 1, array_len: 3 },
    { name: "dev", type: "nullptr", size: 1 },
    { name: "port", index: 5, type: "uint8", size: 1 },
  ];
  const state = describe({ fields }, "01 30 02 03 04 30 05");
  assertEquals(state.fields.map(({ index }) => index), [undefined, 0, 1, 4, 5]);
});

Deno.test("describeFields reads an array of null pointers as QEMU 7.2 describes it", () => {
  const fields = [{ name: "css", type: "struct", struct: {}, size: 1, array_len: 2 }];
  const [field] = describe({ fields }, "30 30").fields;
  assert("values" in field!);
  assertEquals(field.values, [null, null]);
  problem({ fields }, "30 31");
});

Deno.test("describeFields reads the section that a guest of this project is in", () => {
  const state = Uint8Array.of(1, 2, 3, 4, 5);
  const bytes = encodeGuestSection(7, state);
  const [section] = deviceSections(bytes);
  const { devices } = JSON.parse(describeGuestSection(state.length, 4096));
  const payload = bytes.subarray(section!.start, section!.start + section!.size);
  const tree = describeFields(devices[0], { ...section!, payload });
  assertEquals(tree.fields.map((field) => "value" in field && field.value), [5, state]);
});

Deno.test("describeFields names device, instance, field and offset of what does not fit", () => {
  const inner = {
    vmsd_name: "regs",
    version: 1,
    fields: [
      { name: "now", type: "uint16", size: 2 },
      { name: "mode", type: "bool", size: 1 },
    ],
  };
  const fields = [
    { name: "irr", type: "uint8", size: 1 },
    { name: "regs", type: "struct", struct: inner, size: 3, array_len: 2 },
  ];
  const error = problem({ fields }, "01 0000 01 0000 07");
  assertEquals(
    error.message,
    "Cannot read field regs[1] > mode of device pic, instance 1, by its description, at byte 6 of " +
      "its section: expected 0 or 1, found: 7",
  );
  assertEquals(
    [error.code, error.device, error.instance, error.field, error.offset],
    ["mismatch", "pic", 1, "regs[1] > mode", 6],
  );
});

Deno.test("describeFields refuses a section that is shorter or longer than its fields", () => {
  const fields = [
    { name: "a", type: "uint32", size: 4 },
    { name: "b", type: "uint16", size: 2, array_len: 3 },
  ];
  const short = problem({ fields }, "00000000 0000 0000");
  assertEquals([short.code, short.field, short.offset], ["mismatch", "b", 4]);
  const long = problem({ fields }, "00000000 0000 0000 0000 00");
  assertEquals([long.code, long.field, long.offset, long.found], [
    "mismatch",
    "",
    10,
    "1 more bytes",
  ]);
});

Deno.test("describeFields refuses a structure that is not as long as the fields in it", () => {
  const inner = { vmsd_name: "s", version: 1, fields: [{ name: "x", type: "uint16", size: 2 }] };
  for (const [size, code] of [[1, "mismatch"], [3, "bad-description"]] as const) {
    const error = problem({
      fields: [
        { name: "s", type: "struct", struct: inner, size },
        { name: "rest", type: "buffer", size: 4 - size },
      ],
    }, "00000000");
    assertEquals(error.code, code);
    assert(error.field.startsWith("s"), error.field);
  }
});

Deno.test("describeFields refuses a subsection with another name, another version, or none", () => {
  const description = {
    fields: [],
    subsections: [{
      vmsd_name: "pic/a",
      version: 1,
      fields: [{ name: "x", type: "uint8", size: 1 }],
    }],
  };
  describe(description, `05 05 "pic/a" 00000001 00`);
  for (
    const bytes of [
      `05 05 "pic/b" 00000001 00`,
      `05 04 "pic/" 00 00000001 00`,
      `05 05 "pic/a" 00000002 00`,
      `06 05 "pic/a" 00000001 00`,
      `05 05 "pic/a" 0000`,
      `05`,
      "",
    ]
  ) {
    const { code, field } = problem(description, bytes);
    assertEquals([code, field], ["mismatch", "pic/a"], bytes);
  }
});

Deno.test("describeFields refuses a type of another size, and another version of the device", () => {
  for (const [type, size] of [["uint32", 4], ["int8", 1], ["timer", 8], ["bool", 1]] as const) {
    for (const wrong of [size - 1, size + 1]) {
      const payload = "00 ".repeat(wrong);
      const error = problem({ fields: [{ name: "a", type, size: wrong }] }, payload);
      assertEquals([error.code, error.expected, error.found], [
        "bad-description",
        `${size} bytes of type ${type}`,
        `${wrong}`,
      ]);
    }
  }
  assertEquals(problem({ version: 2, fields: [] }, "").found, "version 3");
});

Deno.test("describeFields refuses what is no description", () => {
  const field = { name: "a", type: "uint8", size: 1 };
  const field64 = { name: "a", type: "buffer", size: 2 ** 52, array_len: 2 ** 52 };
  let deep: object = { fields: [] };
  for (let depth = 0; depth < 2000; depth++) {
    deep = { fields: [{ name: "a", type: "struct", struct: deep, size: 0 }] };
  }
  const descriptions: unknown[] = [
    null,
    7,
    { fields: 7 },
    { fields: [null] },
    { fields: [{ ...field, name: undefined }] },
    { fields: [{ ...field, type: 7 }] },
    { fields: [{ ...field, size: -1 }] },
    { fields: [{ ...field, size: "1" }] },
    { fields: [{ ...field, size: { toString: 1, valueOf: 1 } }] },
    { fields: [{ ...field, array_len: 1.5 }] },
    { fields: [{ ...field, index: -1 }] },
    { fields: [field64] },
    { fields: [{ ...field, type: "struct" }] },
    { fields: [{ ...field, type: "struct", struct: [] }] },
    { version: "3", fields: [field] },
    { fields: [field], subsections: [{ version: 1, fields: [] }] },
    { fields: [field], subsections: [{ vmsd_name: "a", fields: [] }] },
    deep,
  ];
  for (const description of descriptions) problem(description, "00");
});

Deno.test("describeFields does not run on for arrays of elements without bytes", () => {
  const none = { vmsd_name: "none", version: 1, fields: [{ name: "n", type: "buffer", size: 0 }] };
  const array = { name: "a", type: "struct", struct: none, size: 0, array_len: 1e9 };
  assertEquals(problem({ fields: [array] }, "").code, "bad-description");
  const some = { name: "a", type: "buffer", size: 0, array_len: 2000 };
  const wide = { fields: Array.from({ length: 2000 }, () => some) };
  assertEquals(problem(wide, "").code, "bad-description");
  const bytes = { name: "a", type: "buffer", size: 0, array_len: 2 ** 40 };
  assertEquals(problem({ fields: [bytes] }, "").code, "bad-description");
});

Deno.test("describeFields gives what went into a random device", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const { description, payload, tree } = randomDevice(new Random(seed));
    const section = { name: "random", instance: 0, version: 1, payload };
    assertEquals(describeFields(description, section), tree, `seed ${seed}`);
  }
});

Deno.test("describeFields refuses each truncation of a random device", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const { description, payload } = randomDevice(new Random(seed));
    for (let length = 0; length < payload.length; length++) {
      const cut = { name: "random", instance: 0, version: 1, payload: payload.subarray(0, length) };
      const error = assertThrows(() => describeFields(description, cut), DescriptionError);
      assertEquals(error.code, "mismatch");
      assert(error.offset <= length);
    }
  }
});

Deno.test("describeFields meets changed descriptions with fields that add up or a DescriptionError", () => {
  let refused = 0;
  for (let seed = 1; seed <= 1000; seed++) {
    const random = new Random(seed);
    const { description, payload } = randomDevice(random);
    const changed = changeSomewhere(random, description);
    try {
      const tree = describeFields(changed, {
        name: "random",
        instance: 0,
        version: 1,
        payload,
      });
      assertEquals(tree.size, payload.length);
    } catch (error) {
      assertInstanceOf(error, DescriptionError, `seed ${seed}`);
      refused++;
    }
  }
  assert(refused > 300, `Only ${refused} were refused`);
});

/** A copy with another value in one random place. */
function changeSomewhere(random: Random, description: object): unknown {
  const copy = structuredClone(description);
  const places: [object, string][] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const key of Object.keys(value)) {
      places.push([value, key]);
      visit((value as Record<string, unknown>)[key]);
    }
  };
  visit(copy);
  const [object, key] = random.pick(places);
  const record = object as Record<string, unknown>;
  const others = [null, -1, 0, 1, 2, 3, 1e12, "x", "uint16", "struct", "tmp", [], {}, undefined];
  record[key] = random.pick(others);
  return copy;
}

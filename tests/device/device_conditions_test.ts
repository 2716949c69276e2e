/** What is in the stream only sometimes, and what runs around it. */
import { assertEquals } from "@std/assert";
import {
  bool,
  bytes,
  description,
  Devices,
  newState,
  since,
  struct,
  u8,
} from "../../migration/device/mod.ts";
import { hexBytes } from "../support/hex.ts";

const ONE_FIELD = description({ name: "one", version: 1, fields: { value: u8 } });

Deno.test("Devices leave out what is not needed, and load what came without it", () => {
  const optional = description({
    name: "optional",
    version: 1,
    fields: { value: u8 },
    needed: ({ value }) => value > 0,
  });
  const state = { value: 0 };
  const devices = new Devices();
  devices.add({ name: "one", description: ONE_FIELD, state: { value: 3 } });
  devices.add({ name: "optional", description: optional, state });
  const without = devices.save();
  assertEquals(without, hexBytes(`04 00000000 03 "one" 00000000 00000001 03 7e 00000000`));
  state.value = 9;
  devices.load(without);
  assertEquals(state.value, 9);
});

Deno.test("a field since a version is not read from an older device, and keeps its value", () => {
  const grown = description({
    name: "grown",
    version: 2,
    minimumVersion: 1,
    fields: { first: u8, added: since(2, u8), last: u8 },
  });
  const state = { first: 0, added: 5, last: 0 };
  const devices = new Devices();
  devices.add({ name: "grown", description: grown, state });
  devices.load(hexBytes(`04 00000000 05 "grown" 00000000 00000001 0103 7e 00000000`));
  assertEquals(state, { first: 1, added: 5, last: 3 });
  assertEquals(
    devices.save(),
    hexBytes(`04 00000000 05 "grown" 00000000 00000002 010503 7e 00000000`),
  );
});

Deno.test("a field with a condition is read by what came before it and by the version", () => {
  const asked: unknown[] = [];
  const optional = description({
    name: "optional",
    version: 4,
    minimumVersion: 2,
    fields: { has: bool, extra: u8 },
    when: {
      extra: ({ has, extra }, version) => {
        asked.push([has, extra, version]);
        return has;
      },
    },
  });
  const state = { has: false, extra: 5 };
  const devices = new Devices();
  devices.add({ name: "optional", description: optional, state });
  devices.load(hexBytes(`04 00000000 08 "optional" 00000000 00000002 00 7e 00000000`));
  devices.load(hexBytes(`04 00000000 08 "optional" 00000000 00000003 01 08 7e 00000000`));
  assertEquals(state, { has: true, extra: 8 });
  assertEquals(asked, [[false, 5, 2], [true, 5, 3]]);
});

Deno.test("a nested structure is read by the version that its user gives", () => {
  const inner = description({
    name: "inner",
    version: 2,
    minimumVersion: 1,
    fields: { old: u8, young: since(2, u8) },
  });
  const outer = description({
    name: "outer",
    version: 1,
    fields: { before: struct(inner, 1), now: struct(inner) },
  });
  const state = newState(outer);
  const devices = new Devices();
  devices.add({ name: "outer", description: outer, state });
  const bytes = hexBytes(`04 00000000 05 "outer" 00000000 00000001 01 0203 7e 00000000`);
  devices.load(bytes);
  assertEquals(state, { before: { old: 1, young: 0 }, now: { old: 2, young: 3 } });
  assertEquals(devices.save(), bytes);
});

Deno.test("a subsection is told from a field that begins like one by its name", () => {
  const inner = description({
    name: "in",
    version: 1,
    fields: { value: u8 },
    subsections: [
      description({
        name: "in/sub",
        version: 1,
        fields: { sub: u8 },
        needed: ({ sub }) => sub > 0,
      }),
    ],
  });
  const outer = description({
    name: "outer",
    version: 1,
    fields: { inner: struct(inner), data: bytes(9) },
  });
  const data = hexBytes(`05 06 "on/sub" 00`);
  for (const sub of [0, 8]) {
    const state = { inner: { value: 1, sub }, data };
    const devices = new Devices();
    devices.add({ name: "outer", description: outer, state });
    const loaded = { inner: { value: 0, sub: 0 }, data: new Uint8Array(9) };
    const to = new Devices();
    to.add({ name: "outer", description: outer, state: loaded });
    to.load(devices.save());
    assertEquals(loaded, state);
  }
});

Deno.test("hooks run from the inside out, each with its version, postLoad behind subsections", () => {
  const log: string[] = [];
  const hooks = (what: string) => ({
    preSave: () => {
      log.push(`preSave ${what}`);
    },
    postLoad: (_state: unknown, version: number) => {
      log.push(`postLoad ${what} ${version}`);
    },
  });
  const part = description({
    name: "outer/part",
    version: 5,
    fields: { part: u8 },
    needed: () => true,
    ...hooks("part"),
  });
  const inner = description({ name: "in", version: 3, fields: { value: u8 }, ...hooks("in") });
  const outer = description({
    name: "outer",
    version: 2,
    fields: { inner: struct(inner) },
    subsections: [part],
    ...hooks("outer"),
  });
  const devices = new Devices();
  devices.add({ name: "x", description: outer, state: { inner: { value: 1 }, part: 2 } });
  const saved = devices.save();
  assertEquals(log.splice(0), ["preSave outer", "preSave in", "preSave part"]);
  devices.load(saved);
  assertEquals(log, ["postLoad in 3", "postLoad part 5", "postLoad outer 2"]);
});

Deno.test("preSave sets what is saved", () => {
  const clock = description({
    name: "clock",
    version: 1,
    fields: { now: u8 },
    preSave: (state) => {
      state.now = 7;
    },
  });
  const devices = new Devices();
  devices.add({ name: "clock", description: clock, state: { now: 0 } });
  assertEquals(
    devices.save(),
    hexBytes(`04 00000000 05 "clock" 00000000 00000001 07 7e 00000000`),
  );
});

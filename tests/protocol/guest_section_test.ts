import { assertEquals, assertStrictEquals } from "@std/assert";
import { deviceSections, parseVmDescription } from "../../migration/protocol/mod.ts";
import {
  describeGuestSection,
  encodeGuestSection,
  guestState,
} from "../../migration/protocol/guest_section.ts";
import { Random } from "../support/random.ts";

Deno.test("guestState returns what encodeGuestSection encoded, of any length", () => {
  const random = new Random(1);
  for (
    const length of [
      0,
      1,
      5,
      6,
      255,
      256,
      70_000,
      ...Array.from({ length: 50 }, () => random.below(5000)),
    ]
  ) {
    const state = random.bytes(length);
    assertEquals(guestState(encodeGuestSection(random.u32(), state)), state);
  }
});

Deno.test("encodeGuestSection writes one section of a device", () => {
  const state = new Uint8Array([1, 2, 3]);
  const section = encodeGuestSection(2, state);
  const name = new TextEncoder().encode("postcopy-guest").toHex();
  assertEquals(
    section.toHex(),
    `04${"00000002"}0e${name}${"00000000"}${"00000001"}${"00000003"}010203${"7e00000002"}`,
  );
});

Deno.test("deviceSections finds the guest's section, with its description and without", () => {
  const random = new Random(2);
  for (let run = 0; run < 50; run++) {
    const state = random.bytes(random.below(300));
    const section = encodeGuestSection(7, state);
    const description = parseVmDescription(describeGuestSection(state.length, 4096));
    const [found, ...others] = deviceSections(section, description);
    assertEquals(others, []);
    const { id, name, instance, version, size } = found!;
    assertEquals([id, name, instance, version], [7, "postcopy-guest", 0, 1]);
    assertEquals(size, state.length + 4);
  }
});

Deno.test("deviceSections is led by the description where the state looks like a section's end", () => {
  const other = encodeGuestSection(7, new Uint8Array(0));
  const state = new Uint8Array([0x7e, 0, 0, 0, 7, ...other]);
  const description = parseVmDescription(describeGuestSection(state.length, 4096));
  const sections = deviceSections(encodeGuestSection(7, state), description);
  assertEquals(sections.map(({ size }) => size), [state.length + 4]);
});

Deno.test("describeGuestSection says the page size and the state's bytes", () => {
  const description = parseVmDescription(describeGuestSection(1000, 4096));
  assertEquals(description, {
    pageSize: 4096,
    devices: [{ name: "postcopy-guest", instance: 0, version: 1, size: 1004 }],
  });
});

Deno.test("guestState leaves another machine's device state as it is", () => {
  const others = [
    new Uint8Array(0),
    new Uint8Array([4]),
    new Uint8Array(200),
    new TextEncoder().encode("x".repeat(100)),
  ];
  for (const other of others) assertStrictEquals(guestState(other), other);
});

Deno.test("guestState leaves a section of its name alone that is not the only one", () => {
  const section = encodeGuestSection(2, new Uint8Array(10));
  const two = new Uint8Array([...section, ...section]);
  assertStrictEquals(guestState(two), two);
  const cut = section.subarray(0, section.length - 1);
  assertStrictEquals(guestState(cut), cut);
});

import { assertEquals, assertThrows } from "@std/assert";
import {
  deviceSections,
  joinDeviceState,
  parseVmDescription,
  ProtocolError,
  splitDeviceState,
} from "../../migration/protocol/mod.ts";
import {
  describeGuestSection,
  encodeGuestSection,
} from "../../migration/protocol/guest_section.ts";
import { hexBytes } from "../support/hex.ts";
import { Random } from "../support/random.ts";

const TIMER = `04 00000003 05 "timer" 00000000 00000002 0102030405060708 7e 00000003`;
/** A payload that holds its own footer and a section's head behind it: only its size tells them apart. */
const SLY = `04 00000004 03 "sly" 00000001 00000001 7e 00000004 04 00000005 01 "x" 00000000 00000000
  7e 00000004`;
const JSON_TEXT = JSON.stringify({
  page_size: 4096,
  devices: [
    { name: "timer", instance_id: 0, version: 2, fields: [{ name: "a", type: "uint64", size: 8 }] },
    {
      name: "sly",
      instance_id: 1,
      version: 1,
      fields: [{ name: "b", type: "uint8", array_len: 3, size: 1 }],
      subsections: [{ vmsd_name: "sly/sub", version: 1, fields: [{ name: "c", size: 4 }] }],
    },
  ],
});

function tail(devices: string, description?: string): Uint8Array {
  const head = hexBytes(`${devices} 00`);
  if (description === undefined) return head;
  const text = new TextEncoder().encode(description);
  const length = new Uint8Array([6, 0, 0, text.length >>> 8, text.length & 0xff]);
  return new Uint8Array([...head, ...length, ...text]);
}

Deno.test("splitDeviceState finds the description backwards from the end of the stream", () => {
  const { devices, description } = splitDeviceState(tail(TIMER + SLY, JSON_TEXT));
  assertEquals(devices, hexBytes(TIMER + SLY));
  assertEquals(description, JSON_TEXT);
});

Deno.test("splitDeviceState takes a last EOF byte as a stream without description", () => {
  const { devices, description } = splitDeviceState(tail(TIMER));
  assertEquals([devices, description], [hexBytes(TIMER), undefined]);
});

Deno.test("joinDeviceState puts together what splitDeviceState takes apart", () => {
  assertEquals(joinDeviceState(splitDeviceState(tail(TIMER, JSON_TEXT))), tail(TIMER, JSON_TEXT));
  assertEquals(joinDeviceState(splitDeviceState(tail(TIMER))), tail(TIMER));
});

Deno.test("splitDeviceState refuses a stream that was cut in its devices", () => {
  const whole = tail(TIMER + SLY, JSON_TEXT);
  const end = hexBytes(TIMER + SLY).length;
  for (let length = 0; length <= end; length++) {
    // Bytes of this payload look like its end.
    if (length === whole.indexOf(0x7e, hexBytes(TIMER).length) + 5) continue;
    const cut = whole.subarray(0, length);
    const error = assertThrows(() => splitDeviceState(cut), ProtocolError, undefined, `${length}`);
    assertEquals(error.code, "truncated");
  }
});

Deno.test("splitDeviceState takes the devices of a stream that was cut in its description", () => {
  const whole = tail(TIMER, JSON_TEXT);
  const devices = hexBytes(TIMER);
  for (let length = devices.length + 1; length < whole.length; length++) {
    assertEquals(splitDeviceState(whole.subarray(0, length)), { devices }, `${length} bytes`);
  }
});

const TIMER_TEXT = JSON.stringify({
  page_size: 4096,
  devices: [{ name: "timer", instance_id: 0, version: 2, fields: [{ name: "a", size: 8 }] }],
});

/** What a volume may hold behind a stream. */
const BEHIND: readonly (readonly [string, Uint8Array])[] = [
  ["zeros", new Uint8Array(5000)],
  ["other bytes", new Random(91).bytes(5000)],
  ["a byte that begins a description", Uint8Array.of(6)],
  ["the end of a longer stream, cut,", tail(SLY, JSON_TEXT).slice(9, -1)],
];

for (const [what, behind] of BEHIND) {
  Deno.test(`splitDeviceState takes a stream with ${what} behind it`, () => {
    for (const description of [TIMER_TEXT, JSON_TEXT, "{}", undefined]) {
      const bytes = new Uint8Array([...tail(TIMER, description), ...behind]);
      const found = splitDeviceState(bytes);
      const text = description === undefined ? {} : { description };
      assertEquals(found, { devices: hexBytes(TIMER), ...text });
    }
  });
}

Deno.test("splitDeviceState is not fooled by a payload that ends like a stream", () => {
  const inner = tail(TIMER, `{"page_size":4096,"devices":[]}`);
  const guest = encodeGuestSection(3, new Uint8Array([...inner, 9, 9, ...inner, 1]));
  const description = describeGuestSection(inner.length * 2 + 3, 4096);
  const whole = joinDeviceState({ devices: guest, description });
  for (const more of [0, 1, 4096]) {
    const padded = new Uint8Array(whole.length + more);
    padded.set(whole);
    assertEquals(splitDeviceState(padded), { devices: guest, description });
  }
});

Deno.test("splitDeviceState takes the EOF byte that only zeros follow for the end", () => {
  // The payload holds the footer of its section, and a zero behind it.
  const devices = hexBytes(
    `04 00000003 05 "timer" 00000000 00000002 7e 00000003 00 11 7e 00000003`,
  );
  for (const zeros of [1, 2, 700]) {
    const bytes = new Uint8Array([...devices, ...new Uint8Array(zeros)]);
    assertEquals(splitDeviceState(bytes), { devices });
  }
});

Deno.test("deviceSections lists sections without a description by their footers", () => {
  const two = hexBytes(TIMER + TIMER);
  assertEquals(deviceSections(two), [
    { id: 3, name: "timer", instance: 0, version: 2, start: 19, size: 8 },
    { id: 3, name: "timer", instance: 0, version: 2, start: 51, size: 8 },
  ]);
});

Deno.test("deviceSections believes the description where a payload looks like a footer", () => {
  const description = parseVmDescription(JSON.stringify({
    page_size: 4096,
    devices: [{ name: "sly", instance_id: 1, fields: [{ size: 20 }] }],
  }));
  const devices = hexBytes(SLY);
  assertEquals(deviceSections(devices, description).map(({ size }) => size), [20]);
  assertThrows(() => deviceSections(devices), ProtocolError);
});

Deno.test("parseVmDescription adds up fields, arrays and subsections", () => {
  assertEquals(parseVmDescription(JSON_TEXT), {
    pageSize: 4096,
    devices: [
      { name: "timer", instance: 0, version: 2, size: 8 },
      { name: "sly", instance: 1, version: 1, size: 3 + 6 + 7 + 4 },
    ],
  });
});

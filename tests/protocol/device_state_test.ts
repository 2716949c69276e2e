import { assertEquals, assertThrows } from "@std/assert";
import {
  deviceSections,
  joinDeviceState,
  parseVmDescription,
  ProtocolError,
  splitDeviceState,
} from "../../migration/protocol/mod.ts";
import { hexBytes } from "../support/hex.ts";

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

Deno.test("splitDeviceState refuses a stream that was cut", () => {
  const whole = tail(TIMER, JSON_TEXT);
  for (const cut of [1, 100, whole.length - 10, whole.length]) {
    const error = assertThrows(
      () => splitDeviceState(whole.subarray(0, whole.length - cut)),
      ProtocolError,
    );
    assertEquals(error.code, "truncated");
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

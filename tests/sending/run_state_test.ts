import { assertEquals, assertStrictEquals } from "@std/assert";
import { joinDeviceState } from "../../migration/protocol/device_state.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import { asRunning, encodeEnd } from "../../server/sending/run_state.ts";

/** A section as QEMU writes it, with a head and a footer. */
function section(id: number, name: string, payload: Uint8Array): Uint8Array {
  const bytes = [...new TextEncoder().encode(name)];
  const word = (value: number) => [0, 0, value >> 8, value & 255];
  const head = [4, ...word(id), bytes.length, ...bytes, ...word(0), ...word(1)];
  return Uint8Array.from([...head, ...payload, 0x7e, ...word(id)]);
}

function globalState(text: string): Uint8Array {
  const payload = new Uint8Array(132);
  payload[3] = text.length + 1;
  payload.set(new TextEncoder().encode(text), 4);
  return payload;
}

function devices(text: string): Uint8Array {
  const encoder = new StreamEncoder();
  for (
    const each of [
      section(3, "cpu", new Uint8Array(50).fill(9)),
      section(4, "globalstate", globalState(text)),
      section(5, "rtc", new Uint8Array(7).fill(8)),
    ]
  ) encoder.deviceState(each, 0, each.length);
  return encoder.take();
}

for (const state of ["paused", "finish-migrate", "prelaunch"]) {
  Deno.test(`asRunning has a machine run that was saved ${state}, and changes nothing else`, () => {
    const before = devices(state);
    const copy = before.slice();
    assertEquals(asRunning(before), devices("running"));
    assertEquals(before, copy);
  });
}

for (const state of ["running", "suspended"]) {
  Deno.test(`asRunning leaves a machine ${state} as it is`, () => {
    const before = devices(state);
    assertStrictEquals(asRunning(before), before);
  });
}

Deno.test("asRunning leaves a state that says nothing of it as it is", () => {
  const before = section(3, "cpu", new Uint8Array(50));
  assertStrictEquals(asRunning(before), before);
  assertEquals(asRunning(new Uint8Array()), new Uint8Array());
});

Deno.test("encodeEnd describes the devices of an image where a QEMU waits for that, and nowhere else", () => {
  const image = { deviceState: devices("paused") as Uint8Array<ArrayBuffer>, targetPageSize: 4096 };
  const description = '{"page_size":4096,"devices":[]}';
  const running = devices("running");
  const end = (text: string | undefined) =>
    joinDeviceState({ devices: running, ...text === undefined ? {} : { description: text } });
  const absent = { ...image, description: undefined };
  assertEquals(encodeEnd({ ...absent, kind: "raw" }), end(description));
  assertEquals(encodeEnd({ ...absent, kind: "qemu-stream" }), end(undefined));
  assertEquals(encodeEnd({ ...image, kind: "qemu-stream", description }), end(description));
});

import { assertEquals, assertThrows } from "@std/assert";
import { encodeWorkloadState, parseWorkloadState } from "../../workload/device_state.ts";
import { WorkloadError } from "../../workload/workload_error.ts";

const state = { seed: 0xffff_ffff, zeroEvery: 4, repeats: 8, pages: 131_072 };

/** A device state with another payload. */
function withPayload(json: string): Uint8Array {
  const head = encodeWorkloadState(state).subarray(0, 31);
  const payload = new TextEncoder().encode(json);
  const bytes = new Uint8Array([...head, ...new Uint8Array(4), ...payload, 0x7e, 0, 0, 0, 1]);
  new DataView(bytes.buffer).setUint32(31, payload.length);
  return bytes;
}

Deno.test("parseWorkloadState reads what encodeWorkloadState wrote", () => {
  for (const repeats of [1, 2, 64]) {
    const other = { ...state, repeats };
    assertEquals(parseWorkloadState(encodeWorkloadState(other)), other);
  }
});

Deno.test("parseWorkloadState takes an image made before pages could repeat words", () => {
  const old = withPayload('{"seed":1,"zeroEvery":4,"pages":5,"pageBytes":4096}');
  assertEquals(parseWorkloadState(old), { seed: 1, zeroEvery: 4, repeats: 1, pages: 5 });
  assertEquals(encodeWorkloadState({ seed: 1, zeroEvery: 4, pages: 5 }), old);
});

Deno.test("parseWorkloadState refuses a pattern that cannot be", () => {
  for (
    const json of [
      '{"seed":1,"zeroEvery":4,"repeats":3,"pages":5,"pageBytes":4096}',
      '{"seed":1,"zeroEvery":4,"repeats":128,"pages":5,"pageBytes":4096}',
      '{"seed":1,"zeroEvery":4,"repeats":"2","pages":5,"pageBytes":4096}',
      '{"seed":-1,"zeroEvery":4,"pages":5,"pageBytes":4096}',
      '{"seed":1,"zeroEvery":4,"repeats":2,"pages":5,"pageBytes":16384}',
    ]
  ) {
    assertThrows(() => parseWorkloadState(withPayload(json)), WorkloadError, "not a workload");
  }
});

Deno.test("encodeWorkloadState begins with a section and ends with its footer", () => {
  const bytes = encodeWorkloadState(state);
  assertEquals([...bytes.subarray(0, 6)], [4, 0, 0, 0, 1, 17]);
  assertEquals([...bytes.subarray(-5)], [0x7e, 0, 0, 0, 1]);
});

Deno.test("parseWorkloadState refuses any other byte and any truncation", () => {
  const bytes = encodeWorkloadState(state);
  for (let at = 0; at < bytes.length; at++) {
    assertThrows(() => parseWorkloadState(bytes.subarray(0, at)), WorkloadError);
    const changed = bytes.slice();
    changed[at]! ^= 0x80;
    assertThrows(() => parseWorkloadState(changed), WorkloadError);
  }
});

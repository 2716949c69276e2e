import { assertEquals, assertThrows } from "@std/assert";
import { encodeWorkloadState, parseWorkloadState } from "../../workload/device_state.ts";
import { WorkloadError } from "../../workload/workload_error.ts";

const state = { seed: 0xffff_ffff, zeroEvery: 4, pages: 131_072 };

Deno.test("parseWorkloadState reads what encodeWorkloadState wrote", () => {
  assertEquals(parseWorkloadState(encodeWorkloadState(state)), state);
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

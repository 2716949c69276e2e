import { assertEquals, assertThrows } from "@std/assert";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { encodeLiveState, parseLiveState } from "../../workload/live_state.ts";
import { WorkloadError } from "../../workload/workload_error.ts";

const state = {
  seed: 9,
  zeroEvery: 4,
  repeats: 8,
  pages: 131_072,
  counts: "writes",
  writes: 2 ** 40,
};

Deno.test("parseLiveState reads what encodeLiveState wrote", () => {
  for (const repeats of [1, 2, 64]) {
    const other = { ...state, repeats };
    assertEquals(parseLiveState(encodeLiveState(other)), other);
  }
});

Deno.test("encodeLiveState leaves out repeats where there are none, as it did before", () => {
  const text = new TextDecoder().decode(encodeLiveState({ ...state, repeats: 1 }));
  const { repeats: _, ...old } = state;
  const whole = { guest: "postcopy-live-workload", version: 1, pageBytes: 4096 };
  assertEquals(text, JSON.stringify({ ...whole, ...old }));
});

Deno.test("parseLiveState refuses a pattern that cannot be", () => {
  assertThrows(() => parseLiveState(encodeLiveState({ ...state, repeats: 3 })), WorkloadError);
});

Deno.test("parseLiveState leaves the state of a guest from an image to others", () => {
  assertEquals(parseLiveState(encodeWorkloadState({ seed: 9, zeroEvery: 4, pages: 1 })), undefined);
  assertEquals(parseLiveState(new Uint8Array(0)), undefined);
});

Deno.test("parseLiveState refuses any truncation and other JSON", () => {
  const bytes = encodeLiveState(state);
  for (let length = 1; length < bytes.length; length++) {
    assertThrows(() => parseLiveState(bytes.subarray(0, length)), WorkloadError);
  }
  const other = new TextEncoder().encode('{"guest":"another"}');
  assertThrows(() => parseLiveState(other), WorkloadError, "not a workload guest's");
});

import { assertEquals, assertThrows } from "@std/assert";
import {
  formatScenario,
  postcopyOf,
  scenarios,
  sharesOption,
  WAYS,
} from "../../bench/migrate/scenario.ts";
import { UsageError } from "../../bench/support/options.ts";

Deno.test("scenarios leaves hybrid to guests that precopy cannot catch", () => {
  assertEquals(scenarios(WAYS, [0.2, 1.5]).map(formatScenario), [
    "precopy, 20 %",
    "precopy, 150 %",
    "postcopy, 20 %",
    "postcopy, 150 %",
    "hybrid, 2 rounds, 150 %",
  ]);
});

Deno.test("scenarios has hybrid for a slow guest when nothing else is asked for", () => {
  assertEquals(scenarios(["hybrid"], [0.2]), [{ way: "hybrid", share: 0.2 }]);
});

Deno.test("postcopyOf gives what the command line takes", () => {
  assertEquals(WAYS.map(postcopyOf), ["never", "now", 2]);
});

Deno.test("sharesOption reads per cents", () => {
  assertEquals(sharesOption("20,150", []), [0.2, 1.5]);
  assertEquals(sharesOption(undefined, [1]), [1]);
  for (const text of ["", "0", "20,x", "-5"]) {
    assertThrows(() => sharesOption(text, []), UsageError, "--share");
  }
});

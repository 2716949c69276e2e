import { assertEquals, assertThrows } from "@std/assert";
import { workloadSettings } from "../../workload/options.ts";

Deno.test("workloadSettings fills in two random readers without a limit", () => {
  const { threads, pattern, write, rate, accesses, untilTouched } = workloadSettings({});
  assertEquals({ threads, pattern, write, rate, accesses, untilTouched }, {
    threads: 2,
    pattern: "random",
    write: false,
    rate: 0,
    accesses: 0,
    untilTouched: false,
  });
});

Deno.test("workloadSettings refuses numbers out of their range", () => {
  assertThrows(() => workloadSettings({ threads: 0 }), RangeError, "from 1 to 1024: 0");
  assertThrows(() => workloadSettings({ rate: 1.5 }), RangeError, "1.5");
  assertThrows(() => workloadSettings({ cpus: [0, 4096] }), RangeError, "4096");
});

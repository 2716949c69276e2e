/** That one daemon has a state directory at a time. */
import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { lockState } from "../../daemon/life/state_lock.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";

Deno.test(
  "lockState makes the directory for its user alone, refuses it to a second, and gives it to the next",
  leavingNoDescriptors(async () => {
    const parent = await Deno.makeTempDir({ prefix: "postcopy-test-" });
    try {
      const directory = `${parent}/a/state`;
      {
        using _first = lockState(directory);
        assertEquals(Deno.statSync(directory).mode! & 0o777, 0o700);
        assertThrows(() => lockState(directory), Error, `another daemon's: ${directory}`);
      }
      using _next = lockState(directory);
    } finally {
      await Deno.remove(parent, { recursive: true });
    }
  }),
);

Deno.test("lockState says what to do where no directory can be made", () => {
  assertThrows(() => lockState("/proc/postcopy"), Error, "cannot be written to: /proc/postcopy");
});

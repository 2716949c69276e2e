import { assertEquals } from "@std/assert";
import { commandNeed, explainMissing } from "../../tools/debian.ts";

Deno.test("explainMissing names each package once, with what it is needed for", () => {
  const missing = [
    commandNeed("ip", "iproute2", "make network namespaces"),
    commandNeed("tc", "iproute2", "shape a link"),
  ];
  assertEquals(
    explainMissing(missing),
    "Missing, needed to make network namespaces and to shape a link; as root: apt-get install iproute2",
  );
});

import { assertEquals } from "@std/assert";
import { commandNeed, explainInstalls, explainMissing, libraryNeed } from "../../tools/debian.ts";

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

Deno.test("explainInstalls has a line for each package, with all that it is needed for", () => {
  const missing = [
    commandNeed("qemu-system-x86_64", "qemu-system-x86", "run a real QEMU"),
    commandNeed("ip", "iproute2", "make network namespaces"),
    commandNeed("tc", "iproute2", "shape a link"),
  ];
  const lines = [
    "  qemu-system-x86  to run a real QEMU",
    "  iproute2         to make network namespaces, to shape a link",
  ];
  const title = "Installing from Debian, with what they depend on";
  assertEquals(explainInstalls(missing, 85).split("\n"), [`${title}: 85 packages`, ...lines]);
  assertEquals(explainInstalls(missing, undefined).split("\n"), [title, ...lines]);
});

Deno.test("libraryNeed sees whether a library is there", () => {
  assertEquals(libraryNeed("libc.so.6", "libc6", "run").present(), true);
  assertEquals(libraryNeed("libnone-such.so.0", "none", "run").present(), false);
});

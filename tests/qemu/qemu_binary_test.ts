import { assertEquals, assertStringIncludes } from "@std/assert";
import { qemuFromEnvironment, whyNoQemu } from "../../qemu/qemu_binary.ts";

Deno.test("qemuFromEnvironment takes Debian's QEMU when nothing is said", () => {
  assertEquals(qemuFromEnvironment(new Map()), {
    command: ["/usr/bin/qemu-system-x86_64"],
    root: "/",
  });
});

Deno.test("qemuFromEnvironment finds the root in a chroot command", () => {
  const command = "chroot --userspec=root /srv/trixie qemu-system-x86_64";
  assertEquals(qemuFromEnvironment(new Map([["QEMU_SYSTEM", command]])), {
    command: ["chroot", "--userspec=root", "/srv/trixie", "qemu-system-x86_64"],
    root: "/srv/trixie",
  });
});

Deno.test("qemuFromEnvironment takes the root of a wrapper script from QEMU_ROOT", () => {
  const environment = new Map([["QEMU_SYSTEM", "/opt/qemu11"], ["QEMU_ROOT", "/srv/trixie"]]);
  assertEquals(qemuFromEnvironment(environment), { command: ["/opt/qemu11"], root: "/srv/trixie" });
});

Deno.test("whyNoQemu says what to do about a missing program", async () => {
  const reason = await whyNoQemu({ command: ["/none/such"], root: "/" });
  assertStringIncludes(reason ?? "", "QEMU is missing: /none/such");
});

Deno.test("whyNoQemu says why a program does not start", async () => {
  const reason = await whyNoQemu({ command: ["/bin/ls"], root: "/" });
  assertStringIncludes(reason ?? "", "QEMU does not start");
});

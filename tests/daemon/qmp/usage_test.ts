/** What `restore` and `save` say to words that cannot be. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { runHere } from "../../command/command_lines.ts";

const CASES: readonly (readonly [string, ...string[]])[] = [
  ["No QEMU named: say where its monitor is with --qmp unix:PATH", "restore", "vm.img"],
  ["No IMAGE given", "restore", "--qmp", "unix:/run/vm.qmp"],
  ["Unknown address: /run/vm.qmp", "restore", "vm.img", "--qmp", "/run/vm.qmp"],
  ["--listen-uri tcp:0.0.0.0:4444", "restore", "vm.img", "--qmp", "tcp:host:4445"],
  [
    "--to tcp:host:1 without --listen-uri",
    "restore",
    "vm.img",
    "--qmp",
    "unix:/q",
    "--to",
    "tcp:host:1",
  ],
  [
    "Both --recover and --start-anew",
    "restore",
    "vm.img",
    "--qmp",
    "unix:/q",
    "--recover",
    "--start-anew",
  ],
  ["Unknown option: --listen", "restore", "vm.img", "--qmp", "unix:/q", "--listen", "tcp::1"],
  ["No QEMU named", "save", "vm.img"],
  ["No IMAGE given: say what to write", "save", "--qmp", "unix:/q"],
  ["One IMAGE at a time: b", "save", "a", "b", "--qmp", "unix:/q"],
  [
    "--migrate-uri tcp:h:1 without --listen",
    "save",
    "a",
    "--qmp",
    "unix:/q",
    "--migrate-uri",
    "tcp:h:1",
  ],
  ["--migrate-uri tcp:THISHOST:0", "save", "a", "--qmp", "tcp:h:1"],
  [
    "QEMU cannot be told to connect to any address",
    "save",
    "a",
    "--qmp",
    "tcp:h:1",
    "--listen",
    "tcp::0",
  ],
  ["Nothing would be encrypted", "save", "a", "--qmp", "unix:/q", "--tls-authz", "CN=a"],
];

for (const [complaint, ...words] of CASES) {
  Deno.test(`${words[0]} refuses as wrong usage: ${words.join(" ")}`, async () => {
    const { code, output, errors } = await runHere("main.ts", ...words);
    assertEquals([code, output], [2, ""], errors);
    assertStringIncludes(errors, complaint);
  });
}

Deno.test("restore and save say that nobody listens at a monitor", async () => {
  for (const command of ["restore", "save"]) {
    const { code, errors } = await runHere(
      "main.ts",
      command,
      "vm.img",
      "--qmp",
      "unix:/nowhere/qmp",
    );
    assertEquals(code, 4, errors);
    assertStringIncludes(errors, "QEMU's monitor cannot be reached at unix:/nowhere/qmp");
  }
});

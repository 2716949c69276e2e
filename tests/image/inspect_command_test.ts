import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { UsageError } from "../../migration/command/arguments.ts";
import { inspectCommand } from "../../server/command/inspect_command.ts";
import { DESCRIBED, withImage } from "./described_devices.ts";

async function inspect(...args: string[]): Promise<{ code: number; out: string; errors: string }> {
  const main = new URL("../../server/main.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", main, "inspect", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), errors: text(stderr) };
}

Deno.test("inspect --device prints the fields of one device", async () => {
  await withImage(DESCRIBED, async (path) => {
    const { code, out, errors } = await inspect(path, "--device", "0000:00:02.0/virtio-mem");
    assertEquals([code, errors], [0, ""]);
    assertEquals(
      out,
      `\
0000:00:02.0/virtio-mem, instance 0, version 1, 2 bytes
  offset  field  type    value
  ──────  ─────  ──────  ───────────
       0  size   uint16  0x100 (256)
`,
    );
  });
});

Deno.test("inspect --device names the devices that there are when there is none of that name", async () => {
  await withImage(DESCRIBED, async (path) => {
    const { code, errors } = await inspect(path, "--device", "slirp", "--instance", "0");
    assertEquals(code, 2);
    assertMatch(
      errors,
      /No such device in .*: slirp, instance 0: use .*i8254 \(0\), slirp \(1\)$/m,
    );
  });
});

Deno.test("inspect --fields --json prints one object with all devices", async () => {
  await withImage(DESCRIBED, async (path) => {
    const { code, out } = await inspect(path, "--fields", "--json");
    assertEquals(code, 0);
    const { devices } = JSON.parse(out);
    assertEquals(devices.map(({ name }: { name: string }) => name), [
      "0000:00:02.0/virtio-mem",
      "i8254",
      "slirp",
    ]);
  });
});

Deno.test("inspect refuses flags that mean nothing without others", async () => {
  for (
    const [args, message] of [
      [["--instance", "1"], "No --device NAME with --instance: 1"],
      [["--fields", "--instance", "1"], "No --device NAME with --instance: 1"],
      [["--all"], "No --fields or --device NAME with --all"],
      [["--device", "cpu", "--instance", "first"], "No whole number after --instance: first"],
    ] as const
  ) {
    await assertRejects(() => inspectCommand(["IMAGE", ...args]), UsageError, message);
  }
});

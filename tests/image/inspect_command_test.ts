import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { UsageError } from "../../migration/command/arguments.ts";
import { inspectCommand } from "../../server/command/inspect_command.ts";
import { concat, withDirectory } from "./captures.ts";
import { libvirtHead, XML } from "./libvirt_files.ts";
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

Deno.test("inspect --device asks for the device whose name is nearest", async () => {
  await withImage(DESCRIBED, async (path) => {
    const { code, errors } = await inspect(path, "--device", "i8245");
    assertEquals(code, 2);
    assertMatch(errors, /: i8245: did you mean i8254\? There are .*, slirp \(1\)$/m);
  });
});

Deno.test("inspect --xml prints the XML of a domain, whatever became of the stream behind it", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/domain.save`;
    await Deno.writeFile(path, concat(libvirtHead({ format: 1 }), new Uint8Array(9)));
    assertEquals(await inspect(path, "--xml"), { code: 0, out: XML, errors: "" });
    await Deno.writeTextFile(path, "no domain");
    const { code, errors } = await inspect(path, "--xml");
    assertEquals(code, 3);
    assertMatch(errors, /No XML in a file that libvirt did not save/);
  });
});

Deno.test("inspect --offset finds a stream behind other bytes", async () => {
  await withImage(DESCRIBED, async (path) => {
    await Deno.writeFile(path, concat(new Uint8Array(4096), await Deno.readFile(path)));
    const { code, out, errors } = await inspect(path, "--offset", "4K", "--json");
    assertEquals([code, errors], [0, ""]);
    assertEquals(JSON.parse(out).streamOffset, 4096);
    const hint = await inspect(path);
    assertEquals(hint.code, 3);
    assertMatch(hint.errors, /from byte 4096 on, say --offset 4096;/);
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

Deno.test("inspect says how to write what QEMU's address of a file means", async () => {
  for (
    const [image, written] of [
      ["file:/vm,1.img,offset=1M", "write /vm,1.img --offset 1M"],
      ["file:vm.img", "write vm.img"],
    ] as const
  ) {
    await assertRejects(() => inspectCommand([image]), UsageError, `: ${image}: ${written}`);
  }
});

Deno.test("inspect refuses flags that mean nothing without others", async () => {
  for (
    const [args, message] of [
      [["--instance", "1"], "No --device NAME with --instance: 1"],
      [["--fields", "--instance", "1"], "No --device NAME with --instance: 1"],
      [["--xml", "--json"], "Both --xml and --json given: leave out one"],
      [["--xml", "--offset", "1M"], "Both --xml and --offset given: leave out one"],
      [["--all"], "No --fields or --device NAME with --all"],
      [["--device", "cpu", "--instance", "first"], "No whole number after --instance: first"],
    ] as const
  ) {
    await assertRejects(() => inspectCommand(["IMAGE", ...args]), UsageError, message);
  }
});

import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { makeContent, zeroShare } from "../../bench/methods/contents.ts";
import { CpioType, encodeCpio } from "../../bench/methods/cpio.ts";
import { haltedBios } from "../../bench/methods/halted_bios.ts";
import { buildInitramfs, initScript } from "../../bench/methods/initramfs.ts";
import { captureLinuxGuest, findKernel } from "../../bench/methods/linux_guest.ts";
import { checkSameBytes, checkSameFiles } from "../../bench/methods/same_bytes.ts";
import { TemporaryDirectory } from "../../bench/support/temporary_directory.ts";
import { GUEST_SHARES } from "../../bench/support/guest_content.ts";
import { qemuFromEnvironment } from "../../qemu/qemu_binary.ts";
import { needsCommand, testUnless } from "../support/skip.ts";

const SOURCES = { kernel: undefined, binary: qemuFromEnvironment() };
const SIZE = 160 * 4096;

Deno.test("makeContent writes a mix of the shares that it says", async () => {
  using directory = new TemporaryDirectory();
  const path = `${directory.path}/mix`;
  const text = await makeContent("mix", path, SIZE, SOURCES);
  assertStringIncludes(text, "random 10 %");
  assertEquals(Deno.statSync(path).size, SIZE);
  assertEquals(zeroShare(path), GUEST_SHARES.zero / 100);
});

Deno.test("makeContent without a kernel takes files of this machine, and says so", async () => {
  using directory = new TemporaryDirectory();
  const path = `${directory.path}/guest`;
  const text = await makeContent("guest", path, 8 << 20, SOURCES);
  assertStringIncludes(text, "NO CAPTURED GUEST");
  assertEquals(Deno.statSync(path).size, 8 << 20);
  assertLess(zeroShare(path), 0.9);
});

Deno.test("findKernel takes the last by name, and none where there is none", () => {
  using directory = new TemporaryDirectory();
  const { path } = directory;
  assertEquals(findKernel([path, `${path}/missing`]), undefined);
  for (const name of ["vmlinuz-6.1.0-1", "vmlinuz-6.1.0-2", "config-6.1.0-3"]) {
    Deno.writeTextFileSync(`${path}/${name}`, "");
  }
  assertEquals(findKernel([`${path}/missing`, path]), `${path}/vmlinuz-6.1.0-2`);
});

Deno.test("checkSameFiles finds one byte that differs in the last piece", () => {
  using directory = new TemporaryDirectory();
  const [a, b] = [`${directory.path}/a`, `${directory.path}/b`];
  const bytes = new Uint8Array((3 << 20) + 4096).fill(7);
  Deno.writeFileSync(a, bytes);
  Deno.writeFileSync(b, bytes);
  checkSameFiles(a, b, bytes.length);
  bytes[bytes.length - 3] = 8;
  Deno.writeFileSync(b, bytes);
  const where = `at byte: ${bytes.length - 3}`;
  assertThrows(() => checkSameFiles(a, b, bytes.length), Error, where);
});

Deno.test("checkSameBytes does not take a file that is too short", () => {
  using directory = new TemporaryDirectory();
  const path = `${directory.path}/a`;
  Deno.writeFileSync(path, new Uint8Array(4096));
  assertThrows(() => checkSameBytes(path, (_, length) => new Uint8Array(length), 8192), Error);
});

Deno.test("haltedBios begins at the reset vector with cli and hlt", () => {
  const bios = haltedBios();
  assertEquals([...bios.subarray(bios.length - 16, bios.length - 12)], [0xfa, 0xf4, 0xeb, 0xfd]);
});

Deno.test("encodeCpio aligns headers, names and data to four bytes", () => {
  const data = new TextEncoder().encode("hello");
  const bytes = encodeCpio([
    { path: "d", mode: CpioType.DIRECTORY | 0o755 },
    { path: "d/file", mode: CpioType.FILE | 0o644, data },
  ]);
  const text = new TextDecoder().decode(bytes);
  assertEquals(bytes.length % 4, 0);
  const second = text.indexOf("070701", 6);
  assertEquals(second, 112); // 110 and "d\0", aligned
  assertEquals(text.slice(second + 6 + 8, second + 6 + 16), "000081a4");
  assertEquals(text.slice(second + 6 + 48, second + 6 + 56), "00000005");
  assertEquals(text.slice(second + 110, second + 117), "d/file\0");
  assertEquals(text.slice(second + 120, second + 125), "hello");
  assert(text.includes("TRAILER!!!\0"));
});

Deno.test("initScript is a script that bash can read", () => {
  using directory = new TemporaryDirectory();
  const path = `${directory.path}/init`;
  Deno.writeTextFileSync(path, initScript(256 << 20));
  const { success } = new Deno.Command("bash", { args: ["-n", path] }).outputSync();
  assert(success);
});

testUnless(needsCommand("perl", "perl"), "buildInitramfs takes no more files than fit", () => {
  const [small, large] = [buildInitramfs(128 << 20).length, buildInitramfs(256 << 20).length];
  assertGreater(large, small);
  assertLess(large - small, (128 << 20) * 0.1);
});

Deno.test("captureLinuxGuest refuses less memory than Linux needs", async () => {
  const capture = captureLinuxGuest("/nonexistent", 64 << 20, "/nonexistent", SOURCES.binary);
  await assertRejects(() => capture, RangeError, "at least 128 MiB: 67108864");
});

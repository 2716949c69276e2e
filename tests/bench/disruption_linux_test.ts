import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { newerQemu } from "../../bench/disruption/newer_qemu.ts";
import { scriptFiles } from "../../bench/disruption/linux_files.ts";
import { buildFileSystem } from "../../bench/methods/initramfs.ts";
import { TemporaryDirectory } from "../../bench/support/temporary_directory.ts";
import { needsCommand, needsRoot, testUnless } from "../support/skip.ts";

const SIZE = 128 << 20;
const decoder = new TextDecoder("latin1");

/** The data of the last file of that name in an archive, as text. */
function fileIn(archive: Uint8Array, name: string): string {
  const text = decoder.decode(archive);
  const at = text.lastIndexOf(`${name}\0`);
  assertGreater(at, 0, `no ${name}`);
  const header = at - 110;
  const length = Number.parseInt(text.slice(header + 54, header + 62), 16);
  const data = Math.ceil((at + name.length + 1) / 4) * 4;
  return text.slice(data, data + length);
}

Deno.test("buildFileSystem takes programs of a tree with the libraries that are there", () => {
  using directory = new TemporaryDirectory();
  const tree = directory.path;
  Deno.mkdirSync(`${tree}/usr/bin`, { recursive: true });
  Deno.copyFileSync("/bin/cat", `${tree}/usr/bin/feline`);
  const archive = buildFileSystem({
    programs: [],
    unpacked: { tree, programs: { feline: "usr/bin/feline" } },
    files: { "a/b/text": new TextEncoder().encode("hello") },
    init: "#!/bin/feline\n",
  });
  assertEquals(fileIn(archive, "a/b/text"), "hello");
  assertEquals(fileIn(archive, "init"), "#!/bin/feline\n");
  assertEquals(fileIn(archive, "bin/feline").slice(1, 4), "ELF");
  assert(decoder.decode(archive).includes("libc.so.6\0"));
  assert(!decoder.decode(archive).includes(tree.slice(1)), "a path of this machine's");
});

for (const program of ["bash", "perl"]) {
  testUnless(needsCommand(program, program), `scriptFiles is right for ${program}`, () => {
    using directory = new TemporaryDirectory();
    const init = fileIn(scriptFiles(SIZE), "init");
    assertStringIncludes(init, "/\\W+/");
    const perl = [...init.matchAll(/perl -e '([^']*)'/g)].map((match) => match[1]!);
    assertEquals(perl.length, 2);
    for (const text of program === "bash" ? [init] : perl) {
      const path = `${directory.path}/script`;
      Deno.writeTextFileSync(path, text);
      const args = program === "bash" ? ["-n", path] : ["-c", path];
      const { success } = new Deno.Command(program, { args, stderr: "null" }).outputSync();
      assert(success, text);
    }
  });
}

testUnless(needsRoot(), "newerQemu takes the tree's, unless another is named", () => {
  const before = Deno.env.get("QEMU_SYSTEM");
  using directory = new TemporaryDirectory();
  const tree = new URL(`file://${directory.path}/`);
  try {
    Deno.env.delete("QEMU_SYSTEM");
    assertEquals(newerQemu(tree), undefined);
    Deno.mkdirSync(`${directory.path}/usr/bin`, { recursive: true });
    Deno.writeTextFileSync(`${directory.path}/usr/bin/qemu-system-x86_64`, "");
    {
      using found = newerQemu(tree);
      assertStringIncludes(found!.command, `chroot ${directory.path} qemu-system-x86_64`);
    }
    Deno.env.set("QEMU_SYSTEM", "another");
    assertEquals(newerQemu(tree), undefined);
  } finally {
    if (before === undefined) Deno.env.delete("QEMU_SYSTEM");
    else Deno.env.set("QEMU_SYSTEM", before);
  }
});

/** Files that real libvirt saved. */
import "../support/native.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { viewMemory } from "../../ffi/memory.ts";
import type { Image } from "../../image/image.ts";
import { ImageError } from "../../image/image_error.ts";
import { readDomain } from "../../image/libvirt/libvirt_domain.ts";
import { openImage } from "../../image/open_image.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { findRecording } from "../../tools/recordings.ts";
import { readRecording } from "../support/fixtures.ts";
import { firstOf, needsCommand, type SkipReason, skipReason, testUnless } from "../support/skip.ts";
import { assertMemory, PAGE, withDirectory } from "./captures.ts";
import { readMappedMemory, readMemory } from "./reference.ts";

/** Their guest fills these pages: each word is the page's address and how often it was filled, the first only that. */
const FILLED = { from: 0x20_0000, to: 0x180_0000 };

function needsSave(path: string): SkipReason | undefined {
  if (findRecording(path) !== undefined) return undefined;
  return skipReason("no recordings", `No file of real libvirt, and none is made here: ${path}`);
}

/** Writes a recording as libvirt wrote it. */
async function write(file: string, path: string): Promise<Uint8Array> {
  const bytes = file.endsWith(".zst")
    ? readRecording(file)
    : Deno.readFileSync(findRecording(file)!);
  await Deno.writeFile(path, bytes);
  return bytes;
}

/** Sees what the guest itself would see of its memory: at most two neighbouring fillings. */
function assertFilled(image: Image): void {
  const locator = new PageLocator(image.pages);
  const { firstPage } = image.layout.find("pc.ram")!;
  const fillings = new Set<number>();
  for (let page = FILLED.from / PAGE; page < FILLED.to / PAGE; page++) {
    const address = locator.locate(firstPage + page);
    if (address === 0) throw new Error(`Page ${page} is zero`);
    const bytes = viewMemory(address, PAGE);
    const words = new DataView(bytes.buffer, bytes.byteOffset, PAGE);
    for (let at = 0; at < PAGE; at += 4) {
      fillings.add(words.getUint32(at, true) - (at === 0 ? 0 : page * PAGE));
    }
  }
  const [one = NaN, other = one] = fillings;
  assertEquals(fillings.size <= 2, true, `${fillings.size} fillings`);
  assertEquals(Math.abs(one - other) <= 1, true, `${one} and ${other}`);
}

const DIRECTORY = "libvirt-save";
const SAVES = [
  { name: "qemu72-libvirt9.raw.save.zst", machine: "pc-q35-7.2", offset: 67312, read: readMemory },
  {
    name: "qemu111-libvirt11.raw.save.zst",
    machine: "pc-q35-11.1",
    offset: 67250,
    read: readMemory,
  },
  {
    name: "qemu111-libvirt11.sparse.save.zst",
    machine: "pc-q35-11.1",
    offset: 67250,
    read: readMappedMemory,
  },
];
for (const { name, machine, offset, read } of SAVES) {
  const file = `${DIRECTORY}/${name}`;
  testUnless(needsSave(file), `openImage opens ${file}`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/domain.save`;
      const bytes = await write(file, path);
      for (const state of ["built", "reused"]) {
        using image = await openImage(path);
        assertEquals(image.index?.state ?? state, state);
        assertEquals(image.machine, machine);
        assertEquals([image.libvirt!.domain, image.streamOffset], ["facts", offset]);
        assertEquals(image.libvirt!.running, true);
        assertStringIncludes(image.libvirt!.xml, `machine='${machine}'`);
        assertEquals(image.libvirt!.xml.endsWith("</domain>\n"), true);
        assertMemory(image, read(bytes));
        assertFilled(image);
        assertEquals(image.deviceSections.some((section) => section.name === "cpu"), true);
        assertStringIncludes(image.description!, '"devices"');
      }
    });
  });
}

const PACKED = [
  { name: "qemu72-libvirt9.gzip.save", program: "gzip", debianPackage: "gzip" },
  { name: "qemu72-libvirt9.bzip2.save", program: "bzip2", debianPackage: "bzip2" },
  { name: "qemu72-libvirt9.xz.save", program: "xz", debianPackage: "xz-utils" },
  { name: "qemu111-libvirt11.zstd.save", program: "zstd", debianPackage: "zstd" },
];
for (const { name, program, debianPackage } of PACKED) {
  const file = `${DIRECTORY}/${name}`;
  const skip = firstOf(needsSave(file), needsCommand(program, debianPackage));
  testUnless(skip, `openImage names the command that makes an image of ${file}`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/domain.save`;
      await write(file, path);
      const { message } = await assertRejects(() => openImage(path), ImageError);
      const command = /and name that one: (.*)$/.exec(message)![1]!;
      const { success } = await new Deno.Command("sh", { args: ["-c", command] }).output();
      assertEquals(success, true, command);
      using image = await openImage(`${path}.unpacked`);
      assertMemory(image, readMemory(await Deno.readFile(`${path}.unpacked`)));
      assertFilled(image);
      assertEquals((await readDomain(path)).domain, "facts");
    });
  });
}

const LZOP = `${DIRECTORY}/qemu72-libvirt9.lzop.save.zst`;
testUnless(needsSave(LZOP), `openImage names the program that unpacks ${LZOP}`, async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/domain.save`;
    await write(LZOP, path);
    await assertRejects(() => openImage(path), ImageError, "| lzop -dc > ");
  });
});

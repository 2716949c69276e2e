/**
 * Images of captures that a real QEMU writes while its guest changes memory, held against what QEMU
 * itself says is in that memory.
 */
import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { MappedFile } from "../../ffi/mapped_file.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { openImage } from "../../image/open_image.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { testedQemus } from "../interop/qemus.ts";
import { capture } from "../../qemu/capture.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { QmpError } from "../../qemu/qmp_client.ts";
import { testUnless } from "../support/skip.ts";
import { assertMemory, PAGE, withDirectory } from "./captures.ts";
import { readMemory } from "./reference.ts";

const MIB = 2 ** 20;
/** Below it guest physical addresses also mean ROM and video memory. */
const FIRST_COMPARED = MIB;

/** What is captured, a kind of record that must be in it, the QEMU that no longer has it. */
const CASES: readonly {
  name: string;
  capabilities: Record<string, boolean>;
  record: number;
  until?: readonly [number, number];
}[] = [
  { name: "a running guest", capabilities: {}, record: 0x08 },
  { name: "a running guest with XBZRLE", capabilities: { xbzrle: true }, record: 0x40 },
  {
    name: "a running guest with compression",
    capabilities: { compress: true },
    record: 0x100,
    until: [9, 1],
  },
];

/** How often a guest is captured: under TCG a QEMU now and then loses what its guest writes meanwhile. */
const TRIES = 4;

for (const { name, binary, skip } of await testedQemus()) {
  for (const { name: kind, capabilities, record, until } of CASES) {
    /** Captures a guest; returns the first byte of the first page that its QEMU has otherwise. */
    const difference = (): Promise<number | undefined> =>
      withDirectory(async (directory) => {
        const path = `${directory}/image`;
        await using qemu = await startGuest({ binary, memoryMiB: 64 });
        await waitForRound(qemu, 2);
        const captured = capture(qemu, path, { livePasses: 2, capabilities });
        if (until !== undefined && qemu.atLeast(...until)) {
          await assertRejects(() => captured, QmpError); // it no longer knows the capability
          return;
        }
        await captured;
        const filename = qemu.directory.theirs("memory");
        await qemu.execute("pmemsave", { val: 0, size: 64 * MIB, filename });
        using memory = MappedFile.open(qemu.directory.ours("memory"), 64 * MIB);
        using image = await openImage(path);
        const expected = readMemory(await Deno.readFile(path));
        assert((expected.records.get(record) ?? 0) > 0, `No record of kind ${record}`);
        assertMemory(image, expected);
        const locator = new PageLocator(image.pages);
        const { firstPage, pageCount } = image.layout.find("pc.ram")!;
        assertEquals(pageCount, 64 * MIB / PAGE);
        let pages = 0;
        for (let offset = FIRST_COMPARED; offset < 64 * MIB; offset += PAGE) {
          const address = locator.locate(firstPage + offset / PAGE);
          const found = address === 0 ? new Uint8Array(PAGE) : viewMemory(address, PAGE);
          const wanted = memory.bytes(offset, PAGE);
          if (!found.every((byte, i) => byte === wanted[i])) return offset;
          pages += address === 0 ? 0 : 1;
        }
        assert(pages > 16 * MIB / PAGE / 2, `Only ${pages} pages with content`);
      });

    testUnless(skip, `openImage gives the memory of ${kind}, with ${name}`, async () => {
      const differing: number[] = [];
      while (differing.length < TRIES) {
        const page = await difference();
        if (page === undefined) return;
        differing.push(page);
      }
      assertEquals(differing, [], "Pages that differ, one of each try");
    });
  }
}

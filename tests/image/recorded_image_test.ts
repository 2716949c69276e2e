/** Images of the recordings of real QEMU. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { formatImageReport, inspectImage } from "../../image/inspect/inspect.ts";
import { assertGreater } from "@std/assert";
import { readRecording } from "../support/fixtures.ts";
import { CAPTURES, MAPPED_CAPTURES } from "../support/recorded.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import { assertMemory, PAGE, withDirectory } from "./captures.ts";
import { readMappedMemory, readMemory } from "./reference.ts";

for (const { path: file, machine, ramSection, switchover } of CAPTURES) {
  testUnless(needsRecording(file), `openImage opens ${file}`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      const bytes = readRecording(file);
      await Deno.writeFile(path, bytes);
      const expected = readMemory(bytes);
      for (const state of ["built", "reused"]) {
        using image = await openImage(path);
        assertEquals(image.index!.state, state);
        assertEquals(image.machine, machine);
        assertEquals(image.configuration, { machine });
        const id = ramSection ?? image.ramSection.id;
        assertEquals(image.ramSection, { id, instance: 0, version: 4 });
        assertGreater(image.deviceSections.length, 30);
        assertEquals(image.commands, switchover ? [{ kind: "switchover-start", count: 1 }] : []);
        assertMemory(image, expected);
        assertEquals(image.counts!.every(({ missing }) => missing === 0), true);
        assertEquals(image.deviceState[0], 0x04);
        assertEquals(image.deviceState.at(-5), 0x7e);
        const sizes = image.deviceSections.reduce(
          (sum, { name, size }) => sum + size + name.length + 19,
          0,
        );
        assertEquals(image.deviceState.length, sizes);
      }
    });
  });

  testUnless(
    needsRecording(file),
    `openImage refuses ${file} cut off in its devices, and needs nothing behind them`,
    async () => {
      await withDirectory(async (directory) => {
        const path = `${directory}/image`;
        const bytes = readRecording(file);
        await Deno.writeFile(path, bytes);
        const described = await openImage(path).then((image) => {
          using opened = image;
          return new TextEncoder().encode(opened.description).length;
        });
        const eof = bytes.length - described - 6;
        assertEquals([bytes[eof - 5], bytes[eof]], [0x7e, 0]);
        for (let end = eof; end > eof - 80_000; end -= end > eof - 50 ? 1 : 4001) {
          await Deno.writeFile(path, bytes.slice(0, end));
          const error = await assertRejects(() => openImage(path), ImageError, undefined, `${end}`);
          assertEquals(error.code, "truncated");
        }
        for (const end of [eof + 1, eof + 2, eof + 1000, bytes.length - 1]) {
          await Deno.writeFile(path, bytes.slice(0, end));
          using image = await openImage(path);
          assertEquals([image.deviceSections.length > 30, image.description], [true, undefined]);
        }
      });
    },
  );
}

/** QEMU writes no page of zeros into a mapped-ram file. */
function nonzeroPages(memory: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < memory.length; at += PAGE) {
    if (memory.subarray(at, at + PAGE).some((byte) => byte !== 0)) count++;
  }
  return count;
}

for (const { path: file, machine, ramSection } of MAPPED_CAPTURES) {
  testUnless(needsRecording(file), `openImage opens ${file}`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      const bytes = readRecording(file);
      await Deno.writeFile(path, bytes);
      using image = await openImage(path);
      assertEquals(image.kind, "mapped-ram");
      assertEquals(image.machine, machine);
      assertEquals(image.configuration, { machine });
      const id = ramSection ?? image.ramSection.id;
      assertEquals(image.ramSection, { id, instance: 0, version: 4 });
      assertGreater(image.deviceSections.length, 30);
      assertEquals(image.commands, [{ kind: "switchover-start", count: 1 }]);
      const expected = readMappedMemory(bytes);
      const nonzero = image.layout.blocks.map(({ name }) =>
        nonzeroPages(expected.blocks.get(name)!)
      );
      assertGreater(Math.max(...nonzero), 0);
      assertEquals(image.counts!.map(({ data }) => data), nonzero);
      assertMemory(image, expected);
      assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["image"]);
    });
  });
}

const QEMU72 = "capture-qemu72.bin.zst";
testUnless(needsRecording(QEMU72), "inspect prints what is in a capture of QEMU", async () => {
  await withDirectory(async (directory) => {
    await Deno.writeFile(`${directory}/image`, readRecording(QEMU72));
    using image = await openImage(`${directory}/image`);
    const text = formatImageReport(await inspectImage(image));
    assertMatch(text, /^machine +pc-q35-7\.2$/m);
    assertMatch(text, /^pc\.ram +67,108,864 +64 MiB +16,384 +\d/m);
    const { size } = image.deviceSections.find(({ name }) => name === "cpu")!;
    assertGreater(size, 1000);
    assertMatch(text, new RegExp(`^cpu +0 +12 +${size.toLocaleString("en")}$`, "m"));
  });
});

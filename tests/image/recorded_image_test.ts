/** Images of the recordings of real QEMU. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { formatImageReport, inspectImage } from "../../image/inspect/inspect.ts";
import { readRecording } from "../support/fixtures.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import { assertMemory, withDirectory } from "./captures.ts";
import { readMappedMemory, readMemory } from "./reference.ts";

const CAPTURES = [
  { file: "capture-qemu72.bin.zst", machine: "pc-q35-7.2", ram: 2, devices: 32, switchover: false },
  {
    file: "capture-qemu100.bin.zst",
    machine: "pc-q35-10.0",
    ram: 1,
    devices: 31,
    switchover: true,
  },
  {
    file: "capture-qemu111.bin.zst",
    machine: "pc-q35-11.1",
    ram: 1,
    devices: 32,
    switchover: true,
  },
  {
    file: "capture-qemu111-machine72.bin.zst",
    machine: "pc-q35-7.2",
    ram: 1,
    devices: 32,
    switchover: false,
  },
];

for (const { file, machine, ram, devices, switchover } of CAPTURES) {
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
        assertEquals(image.ramSection, { id: ram, instance: 0, version: 4 });
        assertEquals(image.deviceSections.length, devices);
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

  testUnless(needsRecording(file), `openImage refuses ${file} cut off in its tail`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      const bytes = readRecording(file);
      await Deno.writeFile(path, bytes);
      const { length } = await openImage(path).then((image) => {
        using opened = image;
        return opened.deviceState;
      });
      const description = bytes.lastIndexOf(0x06, bytes.length - 1000);
      const tail = description - length;
      for (let end = tail - 50; end < bytes.length; end += end < description ? 397 : 4001) {
        await Deno.writeFile(path, bytes.slice(0, end));
        const error = await assertRejects(() => openImage(path), ImageError, undefined, `${end}`);
        assertEquals(error.code, "truncated");
      }
    });
  });
}

const MAPPED = "mapped-ram-qemu111.bin.zst";
testUnless(needsRecording(MAPPED), `openImage opens ${MAPPED}`, async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const bytes = readRecording(MAPPED);
    await Deno.writeFile(path, bytes);
    using image = await openImage(path);
    assertEquals(image.kind, "mapped-ram");
    assertEquals(image.machine, "pc-q35-11.1");
    assertEquals(image.configuration, { machine: "pc-q35-11.1" });
    assertEquals(image.ramSection, { id: 1, instance: 0, version: 4 });
    assertEquals(image.deviceSections.length, 31);
    assertEquals(image.commands, [{ kind: "switchover-start", count: 1 }]);
    assertEquals(image.counts!.reduce((sum, { data }) => sum + data, 0), 60);
    assertMemory(image, readMappedMemory(bytes));
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["image"]);
  });
});

const QEMU72 = "capture-qemu72.bin.zst";
testUnless(needsRecording(QEMU72), "inspect prints what is in a capture of QEMU", async () => {
  await withDirectory(async (directory) => {
    await Deno.writeFile(`${directory}/image`, readRecording(QEMU72));
    using image = await openImage(`${directory}/image`);
    const text = formatImageReport(await inspectImage(image));
    assertMatch(text, /^machine +pc-q35-7\.2$/m);
    assertMatch(text, /^pc\.ram +67,108,864 +64 MiB +16,384 +\d/m);
    assertMatch(text, /^cpu +0 +12 +1,842$/m);
  });
});

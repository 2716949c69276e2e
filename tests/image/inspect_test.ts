import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { formatImageReport, inspectImage } from "../../image/inspect/inspect.ts";
import {
  type CaptureShape,
  deviceSection,
  makeCapture,
  PAGE,
  part,
  testPage,
  withDirectory,
} from "./captures.ts";

const SHAPE: CaptureShape = {
  configuration: {
    machine: "pc-q35-10.0",
    uuid: Uint8Array.from({ length: 16 }, (_, i) => i * 17),
  },
  blocks: [{ name: "pc.ram", usedLength: 512 * PAGE }, { name: "pc.bios", usedLength: 512 * PAGE }],
  early: deviceSection(3, "virtio-mem-early", 1, new Uint8Array(1234)),
};

async function withReport(use: (path: string) => Promise<void>): Promise<void> {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const bytes = makeCapture(SHAPE, (encoder) => {
      encoder.command({ kind: "switchover-start" });
      part(encoder, () => {
        encoder.block("pc.ram");
        encoder.page(0, testPage(1), 0);
        for (let page = 1; page < 510; page++) encoder.zeroPage(page * PAGE, 0);
        encoder.block("pc.bios");
        for (let page = 0; page < 512; page++) encoder.page(page * PAGE, testPage(page), 0);
      });
    });
    await Deno.writeFile(path, bytes);
    await use(path);
  });
}

Deno.test("formatImageReport draws aligned tables", async () => {
  await withReport(async (path) => {
    using image = await openImage(path);
    const text = formatImageReport(await inspectImage(image)).replaceAll(path, "IMAGE");
    assertEquals(
      text,
      `\
image        IMAGE
kind         captured QEMU stream
machine      pc-q35-10.0
target page  4 KiB
uuid         00112233-4455-6677-8899-aabbccddeeff
index        IMAGE.postcopy-index, made now

RAM block      bytes   size  pages  data  zero  missing
─────────  ─────────  ─────  ─────  ────  ────  ───────
pc.ram     2,097,152  2 MiB    512     1   509        2
pc.bios    2,097,152  2 MiB    512   512     0        0
all        4,194,304  4 MiB  1,024   513   509        2

device section before memory  instance  version  bytes
────────────────────────────  ────────  ───────  ─────
virtio-mem-early                     0        1  1,234
all, with heads and footers                      1,269

device section               instance  version  bytes
───────────────────────────  ────────  ───────  ─────
cpu                                 0        3     11
all, with heads and footers                        33

command           times
────────────────  ─────
switchover-start      1

2 pages are not in the stream: they are served as zero pages`,
    );
  });
});

Deno.test("inspectImage gives what JSON can hold", async () => {
  await withReport(async (path) => {
    using image = await openImage(path);
    const report = await inspectImage(image);
    assertEquals(JSON.parse(JSON.stringify(report)), report);
    assertEquals(report.uuid, "00112233-4455-6677-8899-aabbccddeeff");
    assertEquals(report.pages, { data: 513, zero: 509, missing: 2 });
    assertEquals(report.blocks[0], {
      name: "pc.ram",
      usedLength: 512 * PAGE,
      data: 1,
      zero: 509,
      missing: 2,
    });
    assertEquals(report.earlyDevices.map(({ name }) => name), ["virtio-mem-early"]);
    assertEquals(report.devices.map(({ name }) => name), ["cpu"]);
  });
});

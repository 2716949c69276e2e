import "../support/native.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { ImageError, type ImageErrorCode } from "../../image/image_error.ts";
import { formatImageReport, inspectImage } from "../../image/inspect/inspect.ts";
import { readDomain } from "../../image/libvirt/libvirt_domain.ts";
import { openImage } from "../../image/open_image.ts";
import { needsCommand, testUnless } from "../support/skip.ts";
import {
  assertMemory,
  concat,
  makeCapture,
  PAGE,
  part,
  testPage,
  withDirectory,
} from "./captures.ts";
import { HEADER, libvirtHead, type LibvirtShape, XML } from "./libvirt_files.ts";
import { makeMappedRam } from "./mapped_ram_files.ts";
import { readMappedMemory, readMemory } from "./reference.ts";

const BLOCKS = [{ name: "pc.ram", usedLength: 64 * PAGE }, {
  name: "pc.bios",
  usedLength: 5 * PAGE,
}];

/** Pages of every kind: as they are, zero, filled, and encoded as a difference to one in the image. */
const STREAM = makeCapture({ blocks: BLOCKS, description: '{"devices": []}' }, (encoder) => {
  part(encoder, () => {
    encoder.block("pc.ram");
    for (let page = 0; page < 60; page++) encoder.page(page * PAGE, testPage(page), 0);
    encoder.zeroPage(60 * PAGE, 0);
    encoder.zeroPage(61 * PAGE, 0x5a);
  });
  part(encoder, () => {
    encoder.block("pc.ram");
    encoder.xbzrlePage(3 * PAGE, Uint8Array.of(10, 3, 1, 2, 3), 0, 5);
    encoder.block("pc.bios");
    encoder.page(0, testPage(99), 0);
  });
});

async function withFile(
  bytes: Uint8Array,
  use: (path: string, directory: string) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const path = `${directory}/domain.save`;
    await Deno.writeFile(path, bytes);
    await use(path, directory);
  });
}

async function refused(
  bytes: Uint8Array,
  code: ImageErrorCode,
  ...told: string[]
): Promise<void> {
  await withFile(bytes, async (path) => {
    const error = await assertRejects(() => openImage(path), ImageError);
    assertEquals(error.code, code, error.message);
    for (const text of [path, ...told]) assertStringIncludes(error.message, text);
    assertEquals(/\bcut\b/.test(error.message), false, error.message);
  });
}

const BYTE_ORDERS: [string, LibvirtShape][] = [
  ["this host's byte order", {}],
  ["the other byte order", { bigEndian: true }],
  ["the first version", { version: 1, format: 7 }],
];
for (const [what, shape] of BYTE_ORDERS) {
  Deno.test(`openImage gives every page of a file of libvirt in ${what}`, async () => {
    const head = libvirtHead(shape);
    await withFile(concat(head, STREAM), async (path) => {
      const expected = readMemory(STREAM);
      for (const state of ["built", "reused"]) {
        using image = await openImage(path);
        assertEquals(image.index!.state, state);
        assertEquals(image.index!.path, `${path}.postcopy-index`);
        assertMemory(image, expected);
        assertEquals(image.streamOffset, head.length);
        assertEquals(image.libvirt!.domain, "web & mail");
        assertEquals(image.libvirt!.xml, XML);
        assertEquals(image.description, '{"devices": []}');
        assertEquals(image.deviceSections.map(({ name }) => name), ["cpu"]);
      }
    });
  });
}

Deno.test("openImage gives every page of a sparse file of libvirt, whose offsets are the file's", async () => {
  const head = libvirtHead({ format: 6, running: 0 });
  const { bytes } = makeMappedRam({
    before: head,
    alignment: 1 << 16,
    blocks: [
      { name: "pc.ram", pages: 70, stored: new Map([[0, testPage(1)], [69, testPage(2)]]) },
      {
        name: "pc.bios",
        pages: 3,
        stored: new Map([[1, testPage(3)]]),
        stale: new Map([[2, testPage(4)]]),
      },
    ],
  });
  await withFile(bytes, async (path, directory) => {
    using image = await openImage(path);
    assertEquals(image.kind, "mapped-ram");
    assertMemory(
      image,
      readMappedMemory(bytes, head.length + ramStart(bytes.subarray(head.length))),
    );
    assertEquals(image.counts!.map(({ data }) => data), [2, 1]);
    assertEquals(image.libvirt!.running, false);
    assertEquals([...Deno.readDirSync(directory)].length, 1);
  });
});

/** Where a stream of {@linkcode makeMappedRam} starts its memory section. */
function ramStart(stream: Uint8Array): number {
  const text = new TextDecoder("latin1").decode(stream.subarray(0, 4096));
  return text.indexOf("\x03ram") - 5;
}

Deno.test("openImage refuses files of libvirt that are not whole, or of unknown kinds", async () => {
  const file = (shape: LibvirtShape) => concat(libvirtHead(shape), STREAM);
  await refused(
    file({ magic: "LibvirtQemudPart" }),
    "truncated",
    "incomplete",
    "save the domain again",
  );
  await refused(file({ version: 3 }), "unsupported", "unknown version: 3");
  await refused(file({ format: 7 }), "unsupported", "unknown format: 7", "sparse");
  await refused(file({ dataLength: 0 }), "malformed", "without the XML", "byte 20");
  await refused(file({ dataLength: 2 ** 32 - 1 }), "truncated", "ends before its stream");
  const xml = "x".repeat(2 ** 24 + 1);
  await refused(
    concat(libvirtHead({ xml }), STREAM),
    "malformed",
    "XML of more than 16777216 bytes",
  );
  await refused(libvirtHead(), "truncated", "ends before its stream");
  await refused(libvirtHead().slice(0, HEADER - 1), "truncated", "after 91 bytes");
  await refused(new TextEncoder().encode("LibvirtQemudSave"), "truncated", "after 16 bytes");
  await refused(concat(libvirtHead(), new Uint8Array(100)), "not-an-image", "No stream of QEMU");
});

Deno.test("openImage says where in a file of libvirt the stream is damaged", async () => {
  const head = libvirtHead();
  const damaged = concat(head, STREAM);
  damaged[head.length + 7] = 9; // the version
  await withFile(damaged, async (path) => {
    const error = await assertRejects(() => openImage(path), ImageError);
    assertEquals([error.code, error.offset], ["malformed", head.length]);
  });
  const short = concat(head, STREAM.subarray(0, 10 * PAGE));
  await withFile(short, async (path) => {
    const error = await assertRejects(() => openImage(path), ImageError);
    assertEquals(error.code, "truncated");
    assert(error.offset! > head.length + 9 * PAGE && error.offset! <= short.length);
  });
});

const PACKERS: [program: string, format: number, debianPackage: string, options: string[]][] = [
  ["gzip", 1, "gzip", []],
  ["bzip2", 2, "bzip2", []],
  ["xz", 3, "xz-utils", ["-3"]],
  ["zstd", 5, "zstd", []],
];
for (const [program, format, debianPackage, options] of PACKERS) {
  const skip = needsCommand(program, debianPackage);
  testUnless(skip, `openImage names the command that unpacks what ${program} packed`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/it's packed.save`;
      await Deno.writeFile(`${directory}/stream`, STREAM);
      const packed = await new Deno.Command(program, {
        args: [...options, "-c", `${directory}/stream`],
      })
        .output();
      await Deno.writeFile(path, concat(libvirtHead({ format }), packed.stdout));
      await Deno.writeTextFile(`${path}.unpacked`, "precious");
      const { message } = await assertRejects(() => openImage(path), ImageError);
      assertStringIncludes(message, `domain web & mail, compressed by ${program}`);
      const command = /and name that one: (.*)$/s.exec(message)![1]!;
      const { success } = await new Deno.Command("sh", { args: ["-c", command] }).output();
      assert(success, command);
      assertEquals(await Deno.readTextFile(`${path}.unpacked`), "precious");
      using image = await openImage(`${path}.unpacked-2`);
      assertMemory(image, readMemory(STREAM));
      assertEquals((await readDomain(path)).xml, XML);
    });
  });
}

Deno.test("readDomain says when libvirt did not save a file", async () => {
  await withFile(STREAM, async (path) => {
    const error = await assertRejects(() => readDomain(path), ImageError);
    assertStringIncludes(error.message, "libvirt did not save");
  });
  await withFile(new Uint8Array(0), async (path) => {
    await assertRejects(() => readDomain(path), ImageError, "libvirt did not save");
  });
});

const NAMES: [xml: string, domain: string | undefined][] = [
  ["<domain><name>a&lt;b&#228;&#x4e2d;&quot;</name></domain>", 'a<bä中"'],
  ["<domain><name>first</name><x><name>second</name></x></domain>", "first"],
  ["<domain><name>&#9999999;&unknown;</name></domain>", "&#9999999;&unknown;"],
  ["<domain/>", undefined],
  ["", undefined],
];
for (const [xml, domain] of NAMES) {
  Deno.test(`openImage takes the domain's name from XML: ${xml || "none"}`, async () => {
    await withFile(concat(libvirtHead({ xml }), STREAM), async (path) => {
      using image = await openImage(path);
      assertEquals(image.libvirt!.domain, domain);
    });
  });
}

Deno.test("inspect prints the domain, and that its XML is there", async () => {
  await withFile(concat(libvirtHead({ running: 0 }), STREAM), async (path) => {
    using image = await openImage(path);
    const report = await inspectImage(image);
    const text = formatImageReport(report);
    assertMatch(text, /^libvirt domain +web & mail$/m);
    assertMatch(text, new RegExp(`^domain's XML +${XML.length} bytes, which --xml prints$`, "m"));
    assertMatch(text, /^saved +raw, to be left paused when restored$/m);
    assertMatch(text, /^kind +captured QEMU stream, from byte 1,\d+ on$/m);
    assertEquals(JSON.parse(JSON.stringify(report)).libvirt, {
      domain: "web & mail",
      running: false,
      format: "raw",
      xmlBytes: XML.length,
    });
  });
});

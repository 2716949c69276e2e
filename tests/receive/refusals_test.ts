/** Streams that must not be confirmed, and what their sources are told. */
import "../support/native.ts";
import { until } from "../support/deadline.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { joinDeviceState } from "../../migration/protocol/device_state.ts";
import { joinPackage } from "../../migration/protocol/package.ts";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { PATTERN } from "../hostile/scripted_source.ts";
import { concat, deviceSection } from "../image/captures.ts";
import { ALL, PAGES, receiving, type Reception } from "./received.ts";

const DEVICES = encodeWorkloadState({ ...PATTERN, pages: PAGES });
/** A section that every QEMU has. */
const QEMU = deviceSection(8, "cpu_common", 1, new Uint8Array(8));
const DESCRIPTION = `{"page_size":4096,"devices":[]}`;

/** The name of a section, and what its error says. */
const OTHER_SECTIONS: readonly (readonly [string, RegExp])[] = [
  ["dirty-bitmap", /: dirty-bitmap: turn the capability dirty-bitmaps off at the source: /],
  ["block", /: block: turn the capability block off at the source, /],
  ["0000:00:04.0/vfio", /: 0000:00:04.0\/vfio: unplug that device \(VFIO\): /],
  ["spapr/htab", /: spapr\/htab: use a guest with the radix MMU, /],
  ["s390-storage_attributes", /: s390-storage_attributes: turn the processor feature cmm off /],
  ["new/thing", /: new\/thing: detach the device, or turn the capability off, that adds it: /],
];

/** The start of an iterable section, as QEMU sends it when a migration begins. */
function encodeOtherSection({ source }: Reception, name: string): void {
  source.stream.sectionStart(3, name, 0, 1);
  source.stream.sectionFooter(3);
}

function encodeDevices({ source }: Reception, more: Uint8Array = new Uint8Array()): void {
  const devices = concat(more, DEVICES);
  const end = joinDeviceState({ devices, description: DESCRIPTION });
  source.stream.deviceState(end, 0, end.length);
}

function endMemory({ source }: Reception): void {
  source.stream.sectionEnd(2);
  source.stream.endOfSection();
  source.stream.sectionFooter(2);
}

for (const [name, told] of OTHER_SECTIONS) {
  Deno.test(
    `ImageReceiver refuses the section ${name} as soon as it begins, while the guest runs`,
    receiving(async (reception) => {
      const { receiver } = reception;
      await reception.begins(true);
      encodeOtherSection(reception, name);
      await reception.isRefused();
      const { code, message } = await reception.fails();
      assertEquals([code, receiver.status, reception.files], ["UNSUPPORTED", "failed", []]);
      assertMatch(message, told);
      assertStringIncludes(message, "the guest is unharmed at the source");
    }),
  );
}

Deno.test(
  "ImageReceiver confirms no stream whose memory came inside another section",
  receiving(async (reception) => {
    const { source } = reception;
    await reception.begins(true);
    encodeOtherSection(reception, "dirty-bitmap");
    source.encodePages(ALL);
    endMemory(reception);
    encodeDevices(reception);
    await reception.isRefused();
    assertEquals((await reception.fails()).code, "UNSUPPORTED");
    assertEquals(reception.files, []);
  }),
);

Deno.test(
  "ImageReceiver refuses a source whose pages go over other connections, while the guest runs",
  receiving(async (reception) => {
    const { source } = reception;
    await reception.begins(true);
    source.stream.sectionPart(2);
    source.stream.multifdFlush();
    await reception.isRefused();
    const { code, message } = await reception.fails();
    assertEquals([code, reception.files], ["UNSUPPORTED", []]);
    assertMatch(message, /capability multifd on: give --multifd .*, or turn it off there: /);
  }),
);

Deno.test(
  "ImageReceiver confirms no stream without a page",
  receiving(async (reception) => {
    await reception.begins(true);
    endMemory(reception);
    encodeDevices(reception);
    await reception.isRefused();
    const { code, message } = await reception.fails();
    assertEquals([code, reception.files], ["PAGES_MISSING", []]);
    assertMatch(message, /did not send all of its memory, .*: turn off there .*multifd/);
  }),
);

Deno.test(
  "ImageReceiver confirms no stream whose memory has no end, though every page came",
  receiving(async (reception) => {
    const { source } = reception;
    await reception.begins(true);
    source.encodePages(ALL);
    encodeDevices(reception);
    await reception.isRefused();
    const { code, message } = await reception.fails();
    assertEquals([code, reception.files], ["PAGES_MISSING", []]);
    assertMatch(message, /SECTION_END of ram/);
  }),
);

for (const [sent, files] of [[PAGES, ["image"]], [PAGES - 1, []]] as const) {
  Deno.test(
    `ImageReceiver makes ${files.length} image of a guest that runs on, with ${sent} of ${PAGES} pages`,
    receiving(async (reception) => {
      const { source } = reception;
      await reception.begins(false); // `background-snapshot` has no return path
      source.encodePages(ALL.slice(0, sent));
      encodeDevices(reception, QEMU);
      await source.flush();
      if (files.length > 0) {
        await reception.makesImage();
      } else assertEquals((await reception.fails()).code, "PAGES_MISSING");
      assertEquals(reception.files, [...files]);
    }),
  );
}

for (const device of ["0000:00:03.0/virtio-mem", "0000:00:04.0/virtio-balloon"]) {
  Deno.test(
    `ImageReceiver completes without pages that ${device} has freed`,
    receiving(async (reception) => {
      const { source, receiver } = reception;
      await reception.begins(true);
      source.encodePages(ALL.slice(5));
      endMemory(reception);
      encodeDevices(reception, concat(QEMU, deviceSection(9, device, 1, new Uint8Array(20))));
      await source.flush();
      await source.hear(({ shuts }) => shuts.length > 0);
      assertEquals([source.heard.shuts, receiver.statistics().unnamed], [[0], 5]);
      await reception.makesImage(ALL.slice(0, 5));
    }),
  );
}

Deno.test(
  "ImageReceiver confirms no stream that lacks a page which nothing can have freed",
  receiving(async (reception) => {
    const { source } = reception;
    await reception.begins(true);
    source.encodePages(ALL.slice(1)); // as with multifd in QEMU 7.2: zero pages here, the others elsewhere
    endMemory(reception);
    encodeDevices(reception, QEMU);
    await reception.isRefused();
    assertEquals([(await reception.fails()).code, reception.files], ["PAGES_MISSING", []]);
  }),
);

Deno.test(
  "ImageReceiver lets no source go after a switch to postcopy in which no page came",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    const after = [{ kind: "ping", value: 3 }, { kind: "run" }] as const;
    const contents = joinPackage({ before: [{ kind: "listen" }], devices: DEVICES, after });
    source.stream.packaged(contents.length);
    source.stream.packagedData(contents, 0, contents.length);
    source.encodeEnd();
    await source.flush();
    // It may come again, with its pages: it is told nothing that ends it.
    await source.hear(() => false);
    assertEquals(source.heard.shuts, []);
    await until("the pause", () => receiver.status === "postcopy-paused");
    assertEquals(receiver.pauseReason?.code, "PAGES_MISSING");
    assertEquals(reception.files.includes("image"), false);
  }),
);

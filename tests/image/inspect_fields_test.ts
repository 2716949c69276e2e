import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import { inspectFields } from "../../image/inspect/inspect_fields.ts";
import { fieldsReportJson } from "../../image/inspect/inspect_fields_json.ts";
import { formatFieldsReport } from "../../image/inspect/inspect_fields_text.ts";
import { readRecording } from "../support/fixtures.ts";
import { CAPTURES, MAPPED_CAPTURES } from "../support/recorded.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import { concat, deviceSection, withDirectory } from "./captures.ts";
import {
  DESCRIBED,
  describing,
  EARLY,
  instanceOne,
  PIT,
  PIT_STATE,
  SECTIONS,
  withImage,
} from "./described_devices.ts";

Deno.test("fieldsReportJson gives the tree, integers of 64 bits and bytes as texts", async () => {
  await withImage(DESCRIBED, async (path) => {
    using image = await openImage(path);
    const report = JSON.parse(fieldsReportJson(inspectFields(image)));
    assertEquals(report.image, path);
    assertEquals(report.problem, undefined);
    const [early, pit, slirp] = report.devices;
    assertEquals(early, {
      name: "0000:00:02.0/virtio-mem",
      instance: 0,
      version: 1,
      size: 2,
      fields: [{ name: "size", type: "uint16", offset: 0, size: 2, value: 256 }],
      subsections: [],
    });
    assertEquals(slirp.fields, [
      { name: "data", type: "buffer", offset: 0, size: 3, value: "010203" },
    ]);
    const [address, channels, expires, mask] = pit.fields;
    assertEquals(address.value, "4276095232");
    assertEquals(expires.value, "-1");
    assertEquals(mask.values, Array.from({ length: 40 }, (_, i) => i));
    assertEquals(channels.structures[2], {
      name: "channel",
      version: 2,
      offset: 18,
      size: 5,
      fields: [
        { name: "count", type: "int32", offset: 18, size: 4, value: -2 },
        { name: "on", type: "bool", offset: 22, size: 1, value: false },
      ],
      subsections: [],
    });
    assertEquals(pit.subsections[0].fields[0].value, 0x1234);
  });
});

Deno.test("inspectFields gives only the bytes of a device that its description does not fit", async () => {
  const wrong = { ...EARLY, fields: [{ name: "size", type: "bool", size: 1 }] };
  await withImage({ ...SECTIONS, description: describing(wrong, PIT) }, async (path) => {
    using image = await openImage(path);
    const [early, pit, slirp] = inspectFields(image).devices;
    assertMatch(early!.problem!, /^Cannot read device 0000:00:02\.0\/virtio-mem, instance 0,/);
    assertEquals(early!.state, undefined);
    assertEquals(early!.payload, Uint8Array.of(1, 0));
    assertEquals(slirp!.problem, "it is not described");
    assert(pit!.state !== undefined);
    const [shown] = JSON.parse(fieldsReportJson(inspectFields(image))).devices;
    assertEquals([shown.bytes, shown.fields], ["0100", undefined]);
    assertMatch(formatFieldsReport(inspectFields(image)), /^ {2}Only bytes: .*\n {2}0 {2}01 00$/m);
  });
});

Deno.test("inspectFields says when an image does not describe its devices", async () => {
  await withImage(SECTIONS, async (path) => {
    using image = await openImage(path);
    const report = inspectFields(image);
    assertEquals(report.problem, "the image does not describe its devices");
    assertEquals(report.devices.map(({ payload }) => payload.length), [2, PIT_STATE.length, 3]);
    assertMatch(formatFieldsReport(report), /^No fields, only bytes: the image does not describe/);
  });
});

Deno.test("inspectFields says when a description cannot be read", async () => {
  await withImage({ ...SECTIONS, description: '{"page_size":4096}' }, async (path) => {
    using image = await openImage(path);
    const report = inspectFields(image);
    assertEquals(
      report.problem,
      "the image's description of its devices cannot be read: expected a list of devices, found: " +
        "undefined",
    );
    assertEquals(report.devices.length, 3);
  });
});

Deno.test("inspectFields tells devices of one name apart by their instances", async () => {
  const devices = concat(
    deviceSection(1, "dma", 1, Uint8Array.of(1)),
    instanceOne(deviceSection(2, "dma", 1, Uint8Array.of(2))),
  );
  const dma = (instance: number): object => ({
    name: "dma",
    instance_id: instance,
    fields: [{ name: `command${instance}`, type: "uint8", size: 1 }],
  });
  await withImage({ devices, description: describing(dma(0), dma(1)) }, async (path) => {
    using image = await openImage(path);
    const names = (instance?: number) =>
      inspectFields(image, { name: "dma", instance }).devices
        .map(({ state }) => state!.fields[0]!.name);
    assertEquals(names(), ["command0", "command1"]);
    assertEquals(names(1), ["command1"]);
    assertEquals(names(2), []);
  });
});

Deno.test("inspectFields finds a section whose bytes look like the end of one", async () => {
  const inside = deviceSection(7, "x", 0, new Uint8Array(0));
  const devices = deviceSection(7, "sly", 1, concat(inside.slice(-5), inside));
  const size = devices.length - (6 + 3 + 8 + 5);
  const fields = [{ name: "data", type: "buffer", size }];
  const description = describing({ name: "sly", instance_id: 0, fields });
  await withImage({ devices, description }, async (path) => {
    using image = await openImage(path);
    const [device, ...others] = inspectFields(image).devices;
    assertEquals([device!.problem, device!.payload.length, others], [undefined, size, []]);
  });
});

Deno.test("inspectFields reads the devices of an image for huge pages", async () => {
  await withImage(DESCRIBED, async (path) => {
    using image = withHugePages(await openImage(path), ["pc.ram"]);
    const { problem, devices } = inspectFields(image);
    assertEquals([problem, devices.map(({ name }) => name)], [
      undefined,
      ["0000:00:02.0/virtio-mem", "i8254", "slirp"],
    ]);
  });
});

for (const { path: recording } of [...CAPTURES.slice(0, 1), ...MAPPED_CAPTURES]) {
  testUnless(
    needsRecording(recording),
    `inspectFields reads every device of ${recording}`,
    async () => {
      await withDirectory(async (directory) => {
        const path = `${directory}/image`;
        await Deno.writeFile(path, readRecording(recording));
        for (const _state of ["built", "reused"]) {
          using image = await openImage(path);
          const report = inspectFields(image);
          assertEquals(report.devices.length, image.deviceSections.length);
          for (const { problem, state, payload } of report.devices) {
            assertEquals([problem, state?.size], [undefined, payload.length]);
          }
          const short = formatFieldsReport(report);
          assert(short.length < 100_000, `${short.length} characters`);
          const all = formatFieldsReport(report, { all: true });
          assert(all.length > short.length);
          assert(short.includes(" more") && !all.includes(" more"));
        }
      });
    },
  );
}

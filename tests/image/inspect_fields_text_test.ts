import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { describeFields } from "../../migration/device/described_fields.ts";
import { openImage } from "../../image/open_image.ts";
import { inspectFields } from "../../image/inspect/inspect_fields.ts";
import { formatFieldsReport } from "../../image/inspect/inspect_fields_text.ts";
import { DESCRIBED, withImage } from "./described_devices.ts";

Deno.test("formatFieldsReport draws a table of fields for each device", async () => {
  await withImage(DESCRIBED, async (path) => {
    using image = await openImage(path);
    assertEquals(
      formatFieldsReport(inspectFields(image)),
      `\
0000:00:02.0/virtio-mem, instance 0, version 1, 2 bytes
  offset  field  type    value
  ──────  ─────  ──────  ───────────
       0  size   uint16  0x100 (256)

i8254, instance 0, version 3, 116 bytes
  offset  field            type        value
  ──────  ───────────────  ──────────  ─────────────────────────
       0  address          uint64      0xfee00900 (4276095232)
       8  channels         struct[3]   channel, version 2
       8    [0-1]                      2 equal elements
       8      count        int32       7
      12      on           bool        true
      18    [2]
      18      count        int32       -2
      22      on           bool        false
      23  expires          timer       not set
      31  mask             uint8[40]   0 1 2 3 4 5 6 7 … 32 more
      71  name             buffer      "idle" and 4 times 00
      79  config           buffer      20 times ee
      99  i8254/khz        subsection  version 1
     114    \\u{1b}[31mkhz  uint16      0x1234 (4660)

slirp, instance 1, version 0, 3 bytes
  offset  field  type    value
  ──────  ─────  ──────  ────────
       0  data   buffer  01 02 03`,
    );
  });
});

Deno.test("formatFieldsReport shows everything when it is asked for all", async () => {
  await withImage(DESCRIBED, async (path) => {
    using image = await openImage(path);
    assertEquals(
      formatFieldsReport(inspectFields(image, { name: "i8254" }), { all: true }),
      `\
i8254, instance 0, version 3, 116 bytes
  offset  field            type        value
  ──────  ───────────────  ──────────  ───────────────────────────────────────────────
       0  address          uint64      0xfee00900 (4276095232)
       8  channels         struct[3]   channel, version 2
       8    [0]
       8      count        int32       7
      12      on           bool        true
      13    [1]
      13      count        int32       7
      17      on           bool        true
      18    [2]
      18      count        int32       -2
      22      on           bool        false
      23  expires          timer       not set
      31  mask             uint8[40]   0 1 2 3 4 5 6 7
                                       8 9 0xa 0xb 0xc 0xd 0xe 0xf
                                       0x10 0x11 0x12 0x13 0x14 0x15 0x16 0x17
                                       0x18 0x19 0x1a 0x1b 0x1c 0x1d 0x1e 0x1f
                                       0x20 0x21 0x22 0x23 0x24 0x25 0x26 0x27
      71  name             buffer      "idle" and 4 times 00
                                       69 64 6c 65 00 00 00 00
      79  config           buffer      ee ee ee ee ee ee ee ee ee ee ee ee ee ee ee ee
                                       ee ee ee ee
      99  i8254/khz        subsection  version 1
     114    \\u{1b}[31mkhz  uint16      0x1234 (4660)`,
    );
  });
});

/** The values of one field as they are shown. */
function shown(field: object, payload: Uint8Array, all = false): string[] {
  const section = { name: "a", instance: 0, version: 0, payload };
  const state = describeFields({ fields: [{ name: "field", ...field }] }, section);
  const devices = [{ ...section, state }];
  const report = { image: "", kind: "raw", machine: "", devices } as const;
  const lines = formatFieldsReport(report, { all }).split("\n").slice(1);
  const column = lines[0]!.indexOf("value");
  return lines.slice(2).map((line) => line.slice(column));
}

Deno.test("formatFieldsReport shows signed integers in decimal digits only", () => {
  const bytes = Uint8Array.of(0, 0, 1, 0);
  assertEquals(shown({ type: "int32", size: 4 }, bytes), ["256"]);
  assertEquals(shown({ type: "uint32", size: 4 }, bytes), ["0x100 (256)"]);
  assertEquals(shown({ type: "uint32", size: 4 }, Uint8Array.of(0, 0, 0, 9)), ["9"]);
  assertEquals(shown({ type: "int16", size: 2, array_len: 2 }, bytes), ["0 256"]);
  assertEquals(shown({ type: "timer", size: 8 }, Uint8Array.of(0, 0, 0, 0, 0, 0, 1, 0)), ["256"]);
});

Deno.test("formatFieldsReport shows bytes as text when they are one, up to the first zero byte", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const shownBytes = (text: string) => shown({ type: "buffer", size: text.length }, bytes(text));
  assertEquals(shownBytes("paused"), ['"paused"']);
  assertEquals(shownBytes("paused\0\0"), ['"paused" and 2 times 00']);
  assertEquals(shownBytes("paused\0x"), ["70 61 75 73 65 64 00 78"]);
  assertEquals(shownBytes("paused\n"), ["70 61 75 73 65 64 0a"]);
  assertEquals(shownBytes("ab"), ["61 62"]);
  assertEquals(shownBytes(""), [""]);
});

Deno.test("formatFieldsReport shortens bytes and arrays, and says by how much", () => {
  const bytes = Uint8Array.from({ length: 2000 }, (_, i) => i);
  const first = "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f";
  assertEquals(shown({ type: "buffer", size: 2000 }, bytes), [`${first} … 1,984 more`]);
  const rows = shown({ type: "buffer", size: 2000 }, bytes, true);
  assertEquals([rows.length, rows[0]], [125, first]);
  assertEquals(shown({ type: "uint8", size: 1, array_len: 2000 }, bytes), [
    "0 1 2 3 4 5 6 7 … 1,992 more",
  ]);
});

Deno.test("formatFieldsReport shows the first different elements of an array of structures", () => {
  const struct = { vmsd_name: "pin", version: 1, fields: [{ name: "x", type: "uint8", size: 1 }] };
  const field = { type: "struct", struct, size: 1, array_len: 9 };
  const bytes = Uint8Array.of(1, 1, 2, 3, 3, 3, 4, 5, 6);
  assertEquals(shown(field, bytes), [
    "pin, version 1",
    "2 equal elements",
    "1",
    "",
    "2",
    "3 equal elements",
    "3",
    "",
    "4",
    "2 more, --all shows them",
  ]);
  assertEquals(shown(field, bytes, true).length, 1 + 2 * 9);
});

Deno.test("formatFieldsReport shows the first bytes of a device without fields", () => {
  const payload = new Uint8Array(1000);
  const devices = [{ name: "a", instance: 0, version: 0, payload }];
  const report = { image: "", kind: "raw", machine: "", devices } as const;
  const text = formatFieldsReport(report);
  assert(text.endsWith("\n  744 more bytes, --all shows them"));
  assertEquals(text.split("\n").length, 1 + 256 / 16 + 1);
  assertEquals(formatFieldsReport(report, { all: true }).split("\n").length, 1 + 63);
});

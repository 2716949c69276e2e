import { assertEquals, assertThrows } from "@std/assert";
import {
  type Command,
  joinPackage,
  ProtocolError,
  splitPackage,
} from "../../migration/protocol/mod.ts";
import { hexBytes } from "../support/hex.ts";

/** A device's section whose payload holds what looks like commands. */
const DEVICE = hexBytes(
  `04 00000003 05 "timer" 00000000 00000002 08 0005 0000 08 0002 0004 00000003 7e 00000003`,
);

Deno.test("splitPackage finds the commands around the device state", () => {
  const bytes = hexBytes(
    `08 0004 0000 "DEVICE" 08 0002 0004 00000003 08 0002 0004 00000042 08 0005 0000`,
  );
  const parts = joinPackage({
    before: [{ kind: "listen" }],
    devices: DEVICE,
    after: [{ kind: "ping", value: 3 }, { kind: "ping", value: 0x42 }, { kind: "run" }],
  });
  assertEquals(parts.subarray(0, 5), bytes.subarray(0, 5));
  assertEquals(parts.subarray(parts.length - 23), bytes.subarray(bytes.length - 23));
  const { before, devices, after } = splitPackage(parts);
  assertEquals(before, [{ kind: "listen" }]);
  assertEquals(devices, DEVICE);
  assertEquals(after, [
    { kind: "ping", value: 3 },
    { kind: "ping", value: 0x42 },
    { kind: "run" },
  ]);
});

Deno.test("joinPackage undoes splitPackage for any commands", () => {
  const commands: Command[] = [
    { kind: "listen" },
    { kind: "ping", value: 0x7e000000 },
    { kind: "ping", value: 0x08000500 },
    { kind: "run" },
  ];
  for (let mask = 0; mask < 256; mask++) {
    const before = commands.filter((_, i) => mask & (1 << i));
    const after = commands.filter((_, i) => mask & (16 << i));
    const bytes = joinPackage({ before, devices: DEVICE, after });
    const parts = splitPackage(bytes);
    assertEquals(parts, { before, devices: DEVICE, after });
    assertEquals(joinPackage(parts), bytes);
  }
});

Deno.test("splitPackage takes a package without devices as commands only", () => {
  const before: Command[] = [{ kind: "listen" }, { kind: "run" }];
  const parts = splitPackage(joinPackage({ before, devices: new Uint8Array(0), after: [] }));
  assertEquals([parts.before, parts.devices.length, parts.after], [before, 0, []]);
});

Deno.test("splitPackage refuses what no package holds", () => {
  const cases = {
    "an EOF byte": `08 0004 0000 00 08 0005 0000`,
    "a description": `08 0004 0000 06 00000002 "{}" 08 0005 0000`,
    "another package": `08 0007 0004 00000000`,
    "a command cut short": `08 0004`,
    "a payload cut short": `08 0002 0004 0000`,
    "a section without footer": `08 0004 0000 04 00000003 05 "timer" 00000000 00000002`,
  };
  for (const [what, text] of Object.entries(cases)) {
    assertThrows(() => splitPackage(hexBytes(text)), ProtocolError, undefined, what);
  }
});

import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { StillGuest } from "../support/still_guest.ts";
import { LOST, outcomeOf, PAGES } from "./outcome.ts";
import type { HostileSource } from "./scripted_source.ts";

await keepThreads(...DESTINATION);

/** A test of a source that goes wrong before the guest runs: nothing is to be lost, so it fails. */
function failingTest(
  name: string,
  act: (source: HostileSource) => Promise<void>,
  expected: { code: string; message: RegExp },
): void {
  Deno.test(
    name,
    leavingNoDescriptors(async () => {
      const guest = new StillGuest();
      const { status, code, message } = await outcomeOf(act, guest);
      assertMatch(message, expected.message);
      assertEquals({ status, code }, { status: "failed", code: expected.code });
      assertEquals(guest.calls.includes("start"), false);
    }),
  );
}

for (const missing of [1, 5, 30, 60]) {
  failingTest(
    `Destination fails when the source vanishes within its opening, ${missing} bytes before LISTEN`,
    async (source) => {
      await source.connect();
      source.encodeAdvise();
      source.encodeBlocks();
      const bytes = source.stream.take();
      await source.flush(bytes.subarray(0, bytes.length - missing));
      source[Symbol.dispose]();
    },
    LOST,
  );
}

failingTest(
  "Destination fails when the source vanishes within the package",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodeSwitchover();
    const bytes = source.stream.take();
    await source.flush(bytes.subarray(0, bytes.length - 20));
    source[Symbol.dispose]();
  },
  LOST,
);

failingTest(
  "Destination fails when the source has another version",
  async (source) => {
    await source.connect();
    await source.flush(new Uint8Array([0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 2, 7, 0, 0, 0, 1, 65]));
  },
  { code: "bad-header", message: /version 3/ },
);

failingTest(
  "Destination fails when the source sends garbage instead of a command",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    await source.flush();
    await source.flush(new Uint8Array([0x99, 1, 2, 3]));
  },
  { code: "bad-element", message: /the type of an element/ },
);

failingTest(
  "Destination fails when the source announces a billion RAM blocks",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.stream.sectionStart(2, "ram", 0, 4);
    source.stream.blockList(4096 * 1e9);
    const sending = (async () => {
      for (let index = 0; index < 5000; index++) {
        source.stream.blockEntry({ name: `block${index}`, usedLength: 4096 });
      }
      await source.flush();
    })();
    await sending;
  },
  { code: "bad-block-list", message: /at most 4096 RAM blocks/ },
);

failingTest(
  "Destination fails when the source announces more RAM than the host has",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.stream.sectionStart(2, "ram", 0, 4);
    source.stream.blockList(2 ** 42);
    source.stream.blockEntry({ name: "ram", usedLength: 2 ** 42 - 4096 });
    source.stream.blockEntry({ name: "more", usedLength: 4096 });
    source.stream.endOfSection();
    await source.flush();
  },
  { code: "TOO_LARGE", message: /^Source announces more RAM than this host has/ },
);

failingTest(
  "Destination fails when a RAM block is no whole number of pages",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.stream.sectionStart(2, "ram", 0, 4);
    source.stream.blockList(8192);
    source.stream.blockEntry({ name: "ram", usedLength: 5000 });
    source.stream.blockEntry({ name: "rom", usedLength: 3192 });
    source.stream.endOfSection();
    await source.flush();
  },
  { code: "BAD_RAM_LAYOUT", message: /^Length of RAM block ram is no positive multiple of 4096/ },
);

failingTest(
  "Destination fails when the source announces a package of 4 GiB",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.stream.packaged(0xffff_ffff);
    await source.flush();
  },
  { code: "TOO_LARGE", message: /^Device state is larger than/ },
);

failingTest(
  "Destination fails when the source sends pages before its RAM blocks",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.stream.sectionStart(2, "ram", 0, 4);
    source.stream.block("ram");
    source.stream.page(0, new Uint8Array(4096), 0);
    source.stream.endOfSection();
    await source.flush();
  },
  { code: "BAD_PEER", message: /^Page before the list of RAM blocks/ },
);

failingTest(
  "Destination fails when the source ends without switching over",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodePages([1, 2, 3]);
    source.encodeEnd();
    await source.flush();
  },
  { code: "UNSUPPORTED", message: /^Source ended without any device state/ },
);

failingTest(
  "Destination fails when the source switches over without ADVISE",
  async (source) => {
    await source.connect();
    source.stream.header();
    source.stream.configuration({ machine: "postcopy-workload" });
    source.encodeBlocks();
    source.encodeSwitchover();
    await source.flush();
  },
  { code: "BAD_PEER", message: /^LISTEN without ADVISE/ },
);

failingTest(
  "Destination fails when the package does not run the guest",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodeSwitchover([{ kind: "ping", value: 3 }]);
    await source.flush();
  },
  { code: "BAD_PEER", message: /a package that does not run the guest/ },
);

failingTest(
  "Destination fails when the source discards outside a RAM block",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    const ranges = [{ start: 0, length: (PAGES + 1) * 4096 }];
    source.stream.command({ kind: "discard", block: "ram", ranges });
    await source.flush();
  },
  { code: "BAD_PEER", message: /^Discard outside RAM block ram/ },
);

for (const [what, page] of [["behind the end of", PAGES], ["far outside", 2 ** 40]] as const) {
  failingTest(
    `Destination fails when the source precopies a page ${what} its block`,
    async (source) => {
      await source.connect();
      source.encodeAdvise();
      source.encodeBlocks();
      source.stream.sectionPart(2);
      source.stream.block("ram");
      source.stream.page(page * 4096, new Uint8Array(4096), 0);
      source.stream.endOfSection();
      await source.flush();
    },
    { code: "BAD_PEER", message: /^Page outside RAM block ram/ },
  );
}

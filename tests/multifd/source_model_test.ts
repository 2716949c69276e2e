/** What a live source sends over multifd, against a model of rounds: whatever overtakes what, the memory is right. */
import "../support/native.ts";
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { MigrationError } from "../../migration/migration_error.ts";
import { Buffer } from "node:buffer";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { fillRegion } from "../live/live_migration.ts";
import { WritingGuest } from "../live/writing_guest.ts";
import { writingPrecopy } from "../live/writing_precopy.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { Random } from "../support/random.ts";
import { ModelledDestination, type Scheme } from "./modelled_destination.ts";

const METHODS = ["none", "zlib", "zstd"] as const;
const MIB = 1 << 20;

/** A machine type, how its rounds are marked, and whether its zero pages stand in packets. */
const MACHINES: readonly (readonly [string, Scheme, boolean])[] = [
  ["pc-q35-7.2", "sections", false],
  ["pc-q35-8.0", "sections", false],
  ["pc-q35-8.1", "records", false],
  ["pc-q35-9.0", "records", true],
  ["microvm", "records", false],
];

for (const [machine, scheme, zeroInPackets] of MACHINES) {
  Deno.test(
    `LiveSource of a ${machine} marks its rounds by ${scheme}, and no page comes twice in one`,
    leavingNoDescriptors(async () => {
      for (let seed = 1; seed <= 6; seed++) {
        const random = new Random(seed);
        const blocks = [
          { name: "low", length: random.between(1, 300) * 4096 },
          { name: "tiny", length: 4096 },
          { name: "high", length: 2 * MIB },
        ];
        using region = new LiveRegion({ machine, blocks });
        fillRegion(region);
        await using guest = new WritingGuest(region.blocks, { threads: 1, burst: 20 });
        await using destination = new ModelledDestination(scheme, random);
        const multifd = { channels: random.between(1, 5), compression: random.pick([...METHODS]) };
        await using source = new LiveSource(
          region,
          guest,
          { to: destination.address, postcopy: "never", multifd, downtimeLimit: 30 },
          writingPrecopy({ rounds: random.between(1, 3), every: 3 }),
        );
        await within(`the source of seed ${seed}`, source.run());
        await within("all channels", destination.closed());
        const memory = destination.memory();
        region.blocks.forEach(({ name }, index) => {
          const same = Buffer.compare(memory.get(name)!, guest.snapshot[index]!) === 0;
          assert(same, `Block ${name} differs, seed ${seed}`);
        });
        assertEquals(destination.channels.map(({ id }) => id).sort(), [
          ...Array(multifd.channels).keys(),
        ]);
        const { sections } = destination.main;
        const said = new Set(sections.flat());
        // Where it may not know them in packets, and the other way round.
        if (zeroInPackets) assertEquals(said.has("zero"), false);
        else {assert(destination.channels.every(({ rounds }) =>
            rounds.flat().every(({ bytes }) => bytes)
          ));}
        assertEquals(said.has("page"), false);
        const marked = sections.filter((records) => records.includes("flush")).length;
        if (scheme === "records") assertEquals(sections[0]!.includes("flush"), true);
        assertGreater(destination.main.rounds.length, 3);
        assertEquals(marked, scheme === "records" ? destination.main.rounds.length - 1 : 0);
      }
    }),
  );
}

Deno.test(
  "LiveSource goes by precopy to the end, and says so, where a QEMU might hang in postcopy behind multifd",
  leavingNoDescriptors(async () => {
    using region = new LiveRegion({
      machine: "pc-q35-7.2",
      blocks: [{ name: "ram", length: MIB }],
    });
    fillRegion(region);
    await using guest = new WritingGuest(region.blocks, { threads: 1, burst: 20 });
    await using destination = new ModelledDestination("sections", new Random(1));
    const notes: string[] = [];
    await using source = new LiveSource(region, guest, {
      to: destination.address,
      multifd: { channels: 2 },
      onNote: (text) => void notes.push(text),
    });
    await within("the source", source.run());
    assertEquals(notes.length, 1);
    assertMatch(notes[0]!, /8\.1 or later: pc-q35-7\.2: it is precopy to the end/);
    assertThrows(() => source.startPostcopy(), MigrationError, "Cannot switch to postcopy");
  }),
);

for (const postcopy of ["now", 2] as const) {
  Deno.test(
    `LiveSource refuses postcopy ${postcopy} where a QEMU might hang in it, and the guest goes on`,
    leavingNoDescriptors(async () => {
      using region = new LiveRegion({
        machine: "pc-q35-7.2",
        blocks: [{ name: "ram", length: MIB }],
      });
      await using guest = new WritingGuest(region.blocks, { threads: 1, burst: 20 });
      await using destination = new ModelledDestination("sections", new Random(1));
      const how = { to: destination.address, multifd: { channels: 2 }, postcopy };
      await using source = new LiveSource(region, guest, how);
      const error = await assertRejects(() => source.run(), MigrationError, "use --postcopy never");
      assertMatch(error.message, /the guest goes on here$/);
      assertEquals(guest.calls, []);
    }),
  );
}

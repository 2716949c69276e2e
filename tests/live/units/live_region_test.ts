import "../../support/native.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { viewMemory } from "../../../ffi/memory.ts";
import { RamLayoutError } from "../../../migration/memory/ram_layout.ts";
import { IgnoreStream } from "../../../migration/protocol/stream.ts";
import { StreamDecoder } from "../../../migration/protocol/stream_decoder.ts";
import type { BlockEntry } from "../../../migration/protocol/ram.ts";
import type { Configuration } from "../../../migration/protocol/configuration.ts";
import type { Command } from "../../../migration/protocol/command.ts";
import { encodeGreeting, encodeOpening } from "../../../server/sending/control_stream.ts";
import { GUEST_SECTION_ID, LiveRegion, streamMachine } from "../../../server/live/live_region.ts";
import { closeAgainAndAgain } from "../../support/closing.ts";
import { leavingNoDescriptors } from "../../support/descriptors.ts";

const PAGE = 4096;
const BLOCKS = [{ name: "low", length: 3 * PAGE }, { name: "high", length: 40 * PAGE }];

/** What a destination learns from an opening. */
class Opening extends IgnoreStream {
  machine = "";
  blocks: BlockEntry[] = [];
  commands: string[] = [];
  section: unknown[] = [];
  override configuration({ machine }: Configuration): void {
    this.machine = machine;
  }
  override blockEntry(entry: BlockEntry): void {
    this.blocks.push(entry);
  }
  override command(command: Command): void {
    this.commands.push(command.kind);
  }
  override sectionStart(...section: unknown[]): void {
    this.section = section;
  }
}

function opening(region: LiveRegion, postcopy: boolean): Opening {
  const heard = new Opening();
  const machine = streamMachine(region);
  const decoder = new StreamDecoder(heard);
  decoder.feed(encodeGreeting(machine.configuration));
  decoder.feed(encodeOpening(machine, [], { postcopy }));
  return heard;
}

Deno.test(
  "LiveRegion has memory of its own in each block, and numbers its pages",
  leavingNoDescriptors(() => {
    using region = new LiveRegion({ blocks: BLOCKS });
    region.blocks.forEach(({ name, address, length, fd, pageSize }, index) => {
      assertEquals({ name, length }, BLOCKS[index]);
      assert(fd >= 0 && pageSize === PAGE);
      const bytes = viewMemory(address, length);
      assertEquals([bytes[0], bytes[length - 1]], [0, 0]);
      bytes.fill(index + 1);
    });
    assertEquals(region.blocks.map(({ address }) => viewMemory(address, 1)[0]), [1, 2]);
    assertEquals(region.layout.blocks.map(({ firstPage, pageCount }) => [firstPage, pageCount]), [
      [0, 3],
      [32, 40],
    ]);
    return Promise.resolve();
  }),
);

Deno.test(
  "LiveRegion closes twice, when others have its memory and its descriptors",
  leavingNoDescriptors(() => {
    const region = new LiveRegion({ blocks: BLOCKS });
    closeAgainAndAgain(region, region.blocks);
    return Promise.resolve();
  }),
);

Deno.test(
  "LiveRegion refuses blocks that cannot be, and leaves nothing behind",
  leavingNoDescriptors(() => {
    const twice = assertThrows(
      () => new LiveRegion({ blocks: [...BLOCKS, { name: "low", length: PAGE }] }),
      RamLayoutError,
    );
    assertEquals(twice.message, "RAM block named twice: low");
    const none = assertThrows(
      () => new LiveRegion({ blocks: [{ name: "none", length: 0 }] }),
      RamLayoutError,
    );
    assertMatch(none.message, /: 0$/);
    return Promise.resolve();
  }),
);

Deno.test("streamMachine tells a destination all that it needs to prepare", () => {
  using region = new LiveRegion({ blocks: BLOCKS, machine: "mine-1.0" });
  const { machine, blocks, commands, section } = opening(region, true);
  assertEquals(machine, "mine-1.0");
  assertEquals(blocks, BLOCKS.map(({ name, length }) => ({ name, usedLength: length })));
  assertEquals(commands, ["open-return-path", "ping", "advise"]);
  assertEquals(section, [1, "ram", 0, 4]);
  assert(GUEST_SECTION_ID !== section[0]);
});

Deno.test("encodeOpening does not advise a destination of postcopy that will not come", () => {
  using region = new LiveRegion({ blocks: BLOCKS });
  const { commands, machine } = opening(region, false);
  assertEquals(commands, ["open-return-path", "ping"]);
  assertEquals(machine, "postcopy-live");
});

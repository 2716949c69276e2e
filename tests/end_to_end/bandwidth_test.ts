/** The limit of the background stream, changed while pages go. */
import "../support/native.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...SOURCE, ...DESTINATION);

/** Bytes a second with which a batch takes minutes. */
const SLOW = 256;

const WAYS: readonly [string, Partial<SourceOptions>][] = [
  ["the main channel", {}],
  ["channels of multifd", { multifd: { channels: 2 } }],
  ["compression threads", { compress: { method: "zstd" } }],
];

for (const [name, options] of WAYS) {
  Deno.test(
    `Source goes on at once with a limit that is lifted, by ${name}`,
    leavingNoDescriptors(async () => {
      using saved = await TestImage.make({ ram: 2048 });
      using image = await openImage(saved.path);
      const guest = new StillGuest();
      const channels = options.multifd?.channels;
      await using destination = new Destination({
        guest,
        ...channels === undefined ? {} : { multifdChannels: channels },
      });
      const to = await destination.listen(LOOPBACK);
      await using source = new Source(image, { ...options, to, maxPostcopyBandwidth: SLOW });
      const run = source.run();
      run.catch(() => {}); // awaited below
      await within(
        "the first pages",
        until("the first pages", () => source.statistics().ram.transferred > 0),
      );
      assert(source.statistics().ram.remaining > 0);
      assertThrows(() => source.setMaxPostcopyBandwidth(-1), RangeError, "-1");
      source.setMaxPostcopyBandwidth(0);
      const { ram } = await within("the source to complete", run);
      assertEquals(ram.remaining, 0);
      await within("the destination", destination.finished);
      saved.assertEqualMemory(guest.blocks);
    }),
  );
}

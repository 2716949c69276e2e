/** An order whose pages must come from a disk: the guest does not wait for it longer than it was told. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { lyingIn, SlowDisk } from "../support/slow_disk.ts";

const PAGE = 4096;
const PAGES = 1000;
/** The page that does not come, the fourth of the order. */
const SLOW = 701;
const ORDER = [5, 900, 77, SLOW, 6, 7, 300].map((page) => ({ block: "ram", offset: page * PAGE }));

Deno.test(
  "Source has the guest run in time though a page of its order does not come from the disk",
  leavingNoDescriptors(async () => {
    using file = await TestImage.make({ ram: PAGES }, { zeroEvery: 0 });
    using image = await openImage(file.path);
    const content = Deno.readFileSync(file.path);
    using disk = new SlowDisk(content, SLOW * PAGE);
    const served = lyingIn(disk.memory, image);
    using destination = await ScriptedHugeDestination.listen(served.layout, content);
    const patience = { stallTimeout: 120_000 }; // the page is not read before it is there
    await using source = new Source(served, {
      to: destination.address,
      order: ORDER,
      warm: 300,
      ...patience,
    });
    const run = source.run();
    run.catch(() => {});
    const playing = destination.play(true);
    playing.catch(() => {});
    try {
      await within("the guest to run", destination.when(() => destination.running));
      assertEquals(destination.main.complete.slice(0, 3), ["ram:5", "ram:900", "ram:77"]);
      assertEquals([destination.cameBefore, source.statistics().order!.early], [3, 3]);
      // Whoever asks for another gets it meanwhile.
      await destination.ask("ram", 400 * PAGE, PAGE);
      await within("a page", destination.when(() => destination.preempt.complete.length > 0));
      assertEquals(destination.preempt.complete, ["ram:400"]);
      disk.answer();
      const [{ ram }] = await within("the migration to end", Promise.all([run, playing]));
      assert(destination.complete);
      assertEquals([ram.remaining, ram.normal], [0, PAGES]);
      const inOrder = [SLOW, 6, 7, 300].map((page) => `ram:${page}`);
      assertEquals(destination.main.complete.slice(3, 7), inOrder);
    } finally {
      disk.answer();
      await within("the source to close", source.close());
    }
  }),
);

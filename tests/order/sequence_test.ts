/** What is sent when: the head of the order, the discards of all others, the rest of the order, the rest. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { Random } from "../support/random.ts";
import { pagesOf, randomOrder } from "./orders.ts";

const BLOCKS = { ram: 6 * 512, rom: 40, video: 512 };

for (const mode of MODES) {
  for (const hugeBlocks of [[], ["ram", "video"]]) {
    const kind = hugeBlocks.length === 0 ? "small" : "huge";
    Deno.test(
      `Source in mode ${mode} sends ${kind} pages as the order has them, discards between, the rest as it lies`,
      leavingNoDescriptors(async () => {
        using file = await TestImage.make(BLOCKS);
        using opened = await openImage(file.path);
        const image = withHugePages(opened, hugeBlocks);
        const { layout } = image;
        const content = Deno.readFileSync(file.path);
        using destination = await ScriptedHugeDestination.listen(layout, content);
        const { runs } = randomOrder(new Random(51), BLOCKS, hugeBlocks.length === 0 ? 900 : 4);
        const order = runs.map((run, place) => ({ ...run, early: place < runs.length / 2 }));
        const hostPages = (wanted: typeof order) => [
          ...new Set(
            pagesOf(wanted).map((page) => {
              const [block, number] = page.split(" ") as [string, string];
              return `${block}:${Math.floor(+number / layout.find(block)!.pagesPerHostPage)}`;
            }),
          ),
        ];
        await using source = new Source(image, {
          to: destination.address,
          mode,
          order,
          warm: 60_000,
        });
        const playing = destination.play(mode !== "vanilla");
        await within("the migration to end", Promise.all([source.run(), playing]));

        const sent = destination.main.complete;
        const planned = hostPages(order);
        assertEquals(sent.slice(0, planned.length), planned);
        const all = layout.blocks.flatMap(({ name, pageCount, pagesPerHostPage }) =>
          Array.from({ length: pageCount / pagesPerHostPage }, (_, index) => `${name}:${index}`)
        );
        assertEquals(sent.length, all.length);
        // Behind the order it goes on from its last page, and begins again at the end.
        const rest = sent.slice(planned.length);
        const turn = rest.findIndex((page, at) =>
          at > 0 && all.indexOf(page) < all.indexOf(rest[at - 1]!)
        );
        const asItLies = turn < 0 ? rest : [...rest.slice(turn), ...rest.slice(0, turn)];
        const left = new Set(planned);
        assertEquals(asItLies, all.filter((page) => !left.has(page)));

        const before = new Set(hostPages(order.filter(({ early }) => early)));
        const discarded = new PageBitmap(layout.pageLimit);
        // All of it, before a page comes: a QEMU makes huge pages of what comes until then.
        const first = destination.discards.slice(0, destination.discardsBefore);
        assertEquals(
          first.map(({ block, ranges }) => [block, ranges]),
          layout.blocks.map(({ name, usedLength }) => [name, [{ start: 0, length: usedLength }]]),
        );
        for (const { block, ranges } of destination.discards.slice(first.length)) {
          const { firstPage } = layout.find(block)!;
          for (const { start, length } of ranges) {
            const count = length / 4096;
            assertEquals(discarded.fill(firstPage + start / 4096, count), count);
          }
        }
        for (const { name, firstPage, pageCount, pagesPerHostPage } of layout.blocks) {
          for (let page = 0; page < pageCount; page++) {
            const early = before.has(`${name}:${Math.floor(page / pagesPerHostPage)}`);
            assertEquals(discarded.has(firstPage + page), !early, `${name} ${page}`);
          }
        }
        assertEquals(destination.cameBefore, source.statistics().order!.early);
      }),
    );
  }
}

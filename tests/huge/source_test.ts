import "../support/native.ts";
import { assert, assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import type { Image } from "../../image/image.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { openImage } from "../../image/open_image.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { keepThreads, SOURCE } from "../support/kept_threads.ts";
import { Random } from "../support/random.ts";
import { HUGE } from "./huge_pages.ts";
import { ScriptedHugeDestination } from "./scripted_huge_destination.ts";

await keepThreads(...SOURCE);

/** Host pages of the block `ram`; the block `video` has 2 more, `rom` has 40 pages of 4 KiB. */
const HOST_PAGES = 10;

interface Scene {
  readonly image: Image;
  readonly destination: ScriptedHugeDestination;
  readonly source: Source;
}

function hugeTest(
  name: string,
  options: Partial<SourceOptions>,
  act: (scene: Scene) => Promise<void>,
): void {
  Deno.test(
    name,
    leavingNoDescriptors(async () => {
      using file = await TestImage.make({ ram: HOST_PAGES * 512, rom: 40, video: 1024 });
      using opened = await openImage(file.path);
      const image = withHugePages(opened, ["ram", "video"]);
      const content = Deno.readFileSync(file.path);
      using destination = await ScriptedHugeDestination.listen(image.layout, content);
      await using source = new Source(image, {
        to: destination.address,
        recoverTimeout: 0,
        ...options,
      });
      await act({ image, destination, source });
    }),
  );
}

function* hostPages({ layout }: Image): Generator<{ block: string; start: number; size: number }> {
  for (const { name, usedLength, pageSize } of layout.blocks) {
    for (let start = 0; start < usedLength; start += pageSize) {
      yield { block: name, start, size: pageSize };
    }
  }
}

function shuffled<T>(items: Iterable<T>, random: Random): T[] {
  const list = [...items];
  for (let at = list.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [list[at], list[other]] = [list[other]!, list[at]!];
  }
  return list;
}

async function migrated({ destination, source }: Scene, mode: Mode, asking: () => Promise<void>) {
  const playing = destination.play(mode !== "vanilla");
  const asked = destination.when(() => destination.running).then(asking);
  const [statistics] = await within(
    "the migration to end",
    Promise.all([source.run(), playing, asked]),
  );
  assert(destination.complete, `Pages came: ${destination.received}`);
  assertEquals([destination.main.open, destination.preempt.open], ["", ""]);
  return statistics;
}

for (const mode of MODES) {
  for (const maxPostcopyBandwidth of [0, 5e5]) {
    const rate = maxPostcopyBandwidth === 0 ? "full speed" : "500 kB/s";
    hugeTest(
      `Source in mode ${mode} sends host pages whole at ${rate} while they are asked for at random`,
      { mode, maxPostcopyBandwidth },
      async (scene) => {
        const { destination, image } = scene;
        const wanted = shuffled(hostPages(image), new Random(3));
        const statistics = await migrated(scene, mode, async () => {
          for (const { block, start, size } of wanted) await destination.ask(block, start, size);
        });
        assertEquals(statistics.ram["postcopy-requests"], wanted.length);
        assertEquals(statistics.ram.remaining, 0);
        if (mode === "vanilla") assertEquals(destination.preempt.complete, []);
        else if (maxPostcopyBandwidth > 0) assert(destination.preempt.complete.length > 0);
      },
    );
  }

  hugeTest(
    `Source in mode ${mode} sends host pages whole when none is asked for`,
    { mode },
    async (scene) => {
      await migrated(scene, mode, async () => {});
      assertEquals(scene.destination.main.complete.length, HOST_PAGES + 40 + 2);
      assertEquals(scene.destination.preempt.complete, []);
    },
  );

  hugeTest(
    `Source in mode ${mode} ends at once when all pages were asked for, at any bandwidth`,
    { mode, maxPostcopyBandwidth: 1 },
    async (scene) => {
      const { destination, image } = scene;
      await migrated(scene, mode, async () => {
        for (const { block, start, size } of hostPages(image)) {
          await destination.ask(block, start, size);
        }
      });
    },
  );

  hugeTest(
    `Source in mode ${mode} finishes a host page that it has begun when it is asked for, at any bandwidth`,
    // What is left of the first host page would take 100 s.
    { mode, maxPostcopyBandwidth: 20e3 },
    async ({ destination, source }) => {
      const running = source.run().catch((error) => error);
      const playing = destination.play(mode !== "vanilla");
      const { main, preempt } = destination;
      await within("a first page", destination.when(() => main.open !== ""));
      const begun = main.open;
      const [block, index] = begun.split(":");
      assertEquals(block, "ram");
      await destination.ask("ram", HUGE * Number(index), HUGE);
      await destination.ask("video", HUGE, HUGE);
      const other = mode === "vanilla" ? main : preempt;
      await within(
        "both host pages",
        destination.when(() => main.complete.includes(begun) && other.complete.includes("video:1")),
        10_000,
      );
      assertEquals(main.complete, mode === "vanilla" ? [begun, "video:1"] : [begun]);
      assertEquals(preempt.complete, mode === "vanilla" ? [] : ["video:1"]);
      await source.close();
      await Promise.all([running, playing]);
    },
  );

  for (
    const [what, block, start, length] of [
      ["a part of a huge page", "ram", 0, 4096],
      ["a page that begins inside of a huge page", "ram", 4096, HUGE],
      ["a huge page of a block of small pages that is not there", "rom", 0, HUGE],
      ["two host pages of which one is not there", "video", HUGE, 2 * HUGE],
    ] as const
  ) {
    hugeTest(
      `Source in mode ${mode} fails when the destination asks for ${what}`,
      { mode, maxPostcopyBandwidth: 1e6 },
      async ({ destination, source }) => {
        const playing = destination.play(mode !== "vanilla");
        const asked = destination.when(() => destination.running)
          .then(() => destination.ask(block, start, length));
        const error = await within("the source to fail", source.run().catch((error) => error));
        assertInstanceOf(error, Error);
        assertMatch(error.message, /^Destination asked for pages that are not there: block /);
        await Promise.all([playing, asked]);
      },
    );
  }
}

hugeTest(
  "Source says the host pages of its blocks in the block list and in ADVISE",
  {},
  async (scene) => {
    await migrated(scene, "preempt-full", async () => {});
    assertEquals(scene.destination.summary, 0x201000);
    assertEquals(scene.destination.entries, [
      { name: "ram", usedLength: HOST_PAGES * HUGE, pageSize: HUGE },
      { name: "rom", usedLength: 40 * 4096 },
      { name: "video", usedLength: 2 * HUGE, pageSize: HUGE },
    ]);
  },
);

import "../support/native.ts";
import { assertEquals, assertGreater, assertGreaterOrEqual } from "@std/assert";
import type { Timing } from "../../bench/disruption/figures.ts";
import { restoreByUs } from "../../bench/disruption/our_restore.ts";
import { WorkloadImages } from "../../bench/support/workload_images.ts";

const TIMING: Timing = { window: 200, settle: 0, undisturbed: 200 };

for (const allFirst of [false, true]) {
  const when = allFirst ? "once all is there" : "while its memory comes";
  Deno.test(`restoreByUs tells the work of a guest that runs ${when}`, async () => {
    using images = new WorkloadImages();
    const image = await images.path(8 << 20);
    const setup = { placement: "scheduler", limit: 1 << 20, timing: TIMING } as const;
    const { seen, ...figures } = await restoreByUs(image, setup, allFirst);
    if (!("done" in seen)) throw new Error("The guest runs no script");
    assertGreaterOrEqual(seen.done, 0);
    assertGreater(seen.pace, 0);
    if (allFirst) return assertEquals(figures, {});
    assertGreater(figures.faults!, 0);
    assertGreater(figures.latency!, 0);
    assertGreater(figures.total!, 0);
    assertGreater(figures.sourceCpu!, 0);
  });
}

import "../support/native.ts";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { GrantedHugePages, needsHugePages } from "../huge/granted_pages.ts";
import { serving } from "./serving.ts";
import { MemoryFile, needsVmm, Vmm } from "./vmm.ts";

const HUGE = 2 * 1024 * 1024;
/** A region of huge pages between two of small ones, as no VMM has them. */
const regions = [
  { length: HUGE, offset: 0 },
  { length: 3 * HUGE, offset: HUGE, pageSize: HUGE },
  { length: HUGE, offset: 4 * HUGE },
];
const needs = firstOf(needsVmm, needsHugePages(3));

for (const fill of [false, true]) {
  testUnless(
    needs,
    `Lazy serves regions of huge pages beside others, under a balloon without an end, fill ${fill}`,
    leavingNoDescriptors(async () => {
      using _granted = new GrantedHugePages(3);
      using file = new MemoryFile(5 * HUGE);
      const { lazy, events } = await serving(file, { fill });
      await using _lazy = lazy;
      await using vmm = await Vmm.start(file.socket, { regions });
      if (fill) await until("all is there", () => events.some(({ event }) => event === "filled"));
      await vmm.check();
      await vmm.order("run 5 3 500 1");
      await vmm.ranRight();
      await vmm.check();
    }),
  );
}

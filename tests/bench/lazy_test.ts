import { assert, assertEquals } from "@std/assert";
import { restoreOnce } from "../../bench/lazy/criu_restore.ts";
import { type FaultPrograms, measureFaults, measureTotal } from "../../bench/lazy/fault_load.ts";
import { buildProgram, touchedContent } from "../../bench/lazy/programs.ts";
import { testUnless } from "../support/skip.ts";
import { needsCriu } from "../lazy/criu/criu_task.ts";
import { needsVmm } from "../lazy/vmm.ts";

/** Calls back with a directory, which goes afterwards. */
async function withDirectory(act: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "postcopy-bench-lazy-" });
  try {
    await act(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

for (const server of ["criu", "lazy"] as const) {
  testUnless(
    needsCriu,
    `restoreOnce has a real CRIU restore a process whose pages come from ${server}`,
    () =>
      withDirectory(async (directory) => {
        const program = await buildProgram("toucher", directory);
        const times = await restoreOnce(program, server, 2, 2);
        assert(times.touches.touches === 512);
        assert(times.total > times.running);
      }),
  );
}

/** Calls back with what VMs of 2 MiB and handlers need. */
function withPrograms(act: (programs: FaultPrograms) => Promise<void>): Promise<void> {
  return withDirectory(async (directory) => {
    const memory = `${directory}/memory`;
    await Deno.writeFile(memory, touchedContent(3));
    const toucher = await buildProgram("toucher", directory);
    const plainHandler = await buildProgram("plain_handler", directory);
    await act({ toucher, plainHandler, memory, directory });
  });
}

const load = { vms: 2, threads: 2, mebibytes: 2 };

for (const handler of ["plain", "lazy"] as const) {
  testUnless(
    needsVmm,
    `measureFaults has two VMs read all of their memory by the handler ${handler}`,
    () =>
      withPrograms(async (programs) => {
        const { p50, p99, faultsPerSecond, removalsPerSecond } = await measureFaults(
          handler,
          load,
          programs,
        );
        assert(p50 > 0 && p99 >= p50 && faultsPerSecond > 0);
        assertEquals(removalsPerSecond, 0);
      }),
  );

  testUnless(
    needsVmm,
    `measureFaults has balloons without an end beside VMs served by the handler ${handler}`,
    () =>
      withPrograms(async (programs) => {
        const { p50, removalP50, removalsPerSecond } = await measureFaults(
          handler,
          { ...load, balloon: true },
          programs,
        );
        assert(p50 > 0 && removalP50 > 0 && removalsPerSecond > 0);
      }),
  );

  for (const balloon of [false, true]) {
    testUnless(
      needsVmm,
      `measureTotal has two VMs read all of their memory by ${handler}, balloon ${balloon}`,
      () =>
        withPrograms(async (programs) => {
          const figures = await measureTotal(handler, { ...load, balloon }, programs);
          assert(figures.total > 0);
          assertEquals(figures.removalP50 > 0, balloon);
        }),
    );
  }
}

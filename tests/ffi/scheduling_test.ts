import { assertEquals, assertNotEquals } from "@std/assert";
import { kernelRelease } from "../../ffi/kernel_release.ts";
import { type SkipReason, skipReason, testUnless } from "../support/skip.ts";

/** Nanoseconds of the slice of a thread of this process, or of the process; undefined where the kernel hides it. */
function sliceOf(thread: string): number | undefined {
  try {
    const text = Deno.readTextFileSync(`/proc/self/${thread}/sched`);
    const found = /^se\.slice\s*:\s*(\d+)/m.exec(text);
    return found === null ? undefined : Number(found[1]);
  } catch {
    return undefined;
  }
}

function needsSlices(): SkipReason | undefined {
  const [major = 0, minor = 0] = kernelRelease().split(".").map((part) => parseInt(part));
  if (major * 100 + minor < 612) return skipReason("no support", "slices need Linux 6.12");
  return sliceOf("") === undefined
    ? skipReason("no support", "no se.slice in /proc/self/sched")
    : undefined;
}

testUnless(
  needsSlices(),
  "becomeUrgentThread gives the thread the shortest slice that there is, and no other",
  async () => {
    const before = sliceOf("");
    const worker = new Worker(import.meta.resolve("./urgent_worker.ts"), { type: "module" });
    try {
      const { promise, resolve } = Promise.withResolvers<number>();
      worker.onmessage = ({ data }) => resolve(data);
      assertEquals(sliceOf(`task/${await promise}`), 100_000);
      assertEquals(sliceOf(""), before);
      assertNotEquals(before, 100_000);
    } finally {
      worker.terminate();
    }
  },
);

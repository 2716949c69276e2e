import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { type CallFigures, measureListeners } from "../../bench/device_load/listeners.ts";
import { kvmAbsence } from "../../ffi/kvm.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";

Deno.test(
  "measureListeners measures every listener, and says why those of KVM are missing",
  leavingNoDescriptors(() => {
    const figures = measureListeners({ ranges: 8, rounds: 2 });
    const calls: CallFigures[] = [figures.userfault];
    assertEquals(figures.kvmAbsence, kvmAbsence());
    if (figures.kvmAbsence === undefined) calls.push(figures.slots!, figures.events!);
    for (const { add, remove } of calls) {
      assertGreater(add, 100);
      assertGreater(remove, 100);
    }
    for (const time of [figures.lookup, figures.reverseLookup, figures.table]) {
      assertGreater(time, 0);
    }
    return Promise.resolve();
  }),
);

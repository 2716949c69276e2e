import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Lazy, type LazyEvent } from "../../client/lazy/lazy.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { MemoryFile, MIB, needsVmm, Vmm } from "./vmm.ts";

const regions = [{ length: MIB, offset: 0 }];

testUnless(
  needsVmm,
  "Lazy has a thread before it listens, one more than VMs as far as the pool goes, and gives all back",
  leavingNoDescriptors(async () => {
    using file = new MemoryFile(MIB);
    await using pool = new ThreadPool({ urgentThreads: 2, linger: 0 });
    const events: LazyEvent[] = [];
    const onEvent = (event: LazyEvent) => void events.push(event);
    {
      await using lazy = await Lazy.open({ image: file.path, pool, onEvent });
      assertEquals(pool.threads, 0);
      await lazy.listen(file.socket);
      assertEquals(pool.threads, 1);
      for (let times = 0; times < 3; times++) {
        await using vmm = await Vmm.start(file.socket, { regions });
        await vmm.check();
        assertEquals(pool.threads, 2);
        await vmm.kill();
        await until(
          "its end",
          () => events.filter(({ event }) => event === "ended").length > times,
        );
      }
    }
    assertEquals(pool.threads, 0);
  }),
);

import "../../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  LazyTree,
  type LazyTreeEvent,
  type LazyTreeOptions,
} from "../../../client/lazy/criu/lazy_tree.ts";
import { until, within } from "../../support/deadline.ts";
import { leavingNoDescriptors } from "../../support/descriptors.ts";
import { freePort } from "../../support/free_port.ts";
import { testUnless } from "../../support/skip.ts";
import { CRIU_TASK } from "../../../client/lazy/criu/criu_task.ts";
import { ThreadPool } from "../../../migration/threads/thread_pool.ts";
import { CriuTask, needsCriu } from "./criu_task.ts";
import { spreadOverDumps } from "./incremental.ts";

const MIB = 1024 * 1024;

/** A server for a task's images that listens, and what it told. */
async function serving(
  task: CriuTask,
  options: Partial<LazyTreeOptions> = {},
): Promise<{ readonly tree: LazyTree; readonly events: LazyTreeEvent[] }> {
  const events: LazyTreeEvent[] = [];
  const onEvent = (event: LazyTreeEvent) => void events.push(event);
  const tree = await LazyTree.open({ images: task.images, onEvent, ...options });
  await tree.listen();
  return { tree, events };
}

function countOf(events: readonly LazyTreeEvent[], kind: LazyTreeEvent["event"]): number {
  return events.filter(({ event }) => event === kind).length;
}

for (const mode of ["memory", "tree", "churn"] as const) {
  for (const fill of [true, false]) {
    testUnless(
      needsCriu,
      `LazyTree serves every byte of what a real CRIU restores from its images: ${mode}, fill ${fill}`,
      leavingNoDescriptors(async () => {
        await using task = await CriuTask.start(mode);
        await task.dump();
        const { tree, events } = await serving(task, { fill });
        await using _tree = tree;
        task.go();
        const restoring = await task.restore();
        const result = await task.result();
        assert(/^wrong=0 more=\d+$/.test(result), result);
        await within("the process's end", restoring.ended);
        await within("the server's end", tree.done);
        const handed = events.filter((event) => event.event === "handed-over");
        // One that forks all the time may be dumped with a child.
        assert(mode === "churn" || handed.length === (mode === "tree" ? 7 : 1));
        assertEquals(countOf(events, "restored"), 1);
        assertEquals(countOf(events, "ended"), handed.length + countOf(events, "forked"));
        assertEquals([countOf(events, "lost"), countOf(events, "held")], [0, 0]);
        if (mode === "memory") assert(handed[0]!.bytes > 50 * MIB);
        if (!fill) assertEquals(countOf(events, "filled"), 0);
        if (!fill && mode !== "memory") assert(countOf(events, "forked") > 0);
      }),
    );
  }

  testUnless(
    needsCriu,
    `LazyTree serves every byte of what a real CRIU restores from its page server: ${mode}`,
    leavingNoDescriptors(async () => {
      await using task = await CriuTask.start(mode);
      const port = freePort();
      const dumping = await task.dumpLazily(port);
      const pageServer = { transport: "tcp" as const, host: "127.0.0.1", port };
      const { tree, events } = await serving(task, { pageServer });
      await using _tree = tree;
      const restoring = await task.restore();
      await until("it is restored", () => countOf(events, "restored") === 1);
      task.go();
      await within("all memory is there", tree.done);
      await within("the dump's end", dumping.ended);
      const result = await task.result();
      assert(/^wrong=0 more=\d+$/.test(result), result);
      await within("the process's end", restoring.ended);
      assertEquals([countOf(events, "lost"), countOf(events, "held")], [0, 0]);
    }),
  );
}

testUnless(
  needsCriu,
  "LazyTree serves pages from the dumps that the last one builds on",
  leavingNoDescriptors(async () => {
    await using task = await CriuTask.start("memory");
    await task.dump();
    spreadOverDumps(task.images, task.pid);
    const { tree, events } = await serving(task);
    await using _tree = tree;
    task.go();
    const restoring = await task.restore();
    assertEquals(await task.result(), "wrong=0 more=0");
    await within("all memory is there", Promise.all([tree.done, restoring.ended]));
    assertEquals([countOf(events, "lost"), countOf(events, "held")], [0, 0]);
  }),
);

testUnless(
  needsCriu,
  "LazyTree that is ended before CRIU has restored all leaves the process going on at the source",
  leavingNoDescriptors(async () => {
    for (const listens of [true, false]) {
      await using task = await CriuTask.start("memory");
      const port = freePort();
      const dumping = await task.dumpLazily(port);
      const pageServer = { transport: "tcp" as const, host: "127.0.0.1", port };
      const tree = await LazyTree.open({ images: task.images, pageServer });
      if (listens) await tree.listen();
      await tree.close();
      await assertRejects(
        () => within("the dump's end", dumping.ended),
        Error,
        "criu dump: exit 1",
      );
      task.go();
      assertEquals(await task.result(), "wrong=0 more=0");
      await within("the process's end", task.ended);
    }
  }),
);

testUnless(
  needsCriu,
  "LazyTree that is ended has processes get SIGBUS, and no zeros, where they touch a missing page",
  leavingNoDescriptors(async () => {
    await using task = await CriuTask.start("memory");
    await task.dump();
    const { tree, events } = await serving(task, { fill: false });
    const restoring = await task.restore();
    await until("it is restored", () => countOf(events, "restored") === 1);
    await tree.close();
    task.go();
    await within("the process's end", restoring.ended.catch(() => {}));
    assert(!task.has("result"));
    const ended = events.find((event) => event.event === "ended");
    assert(ended?.event === "ended" && ended.poisoned > 1000, JSON.stringify(ended));
  }),
);

testUnless(
  needsCriu,
  "LazyTree holds whoever wants a page of a file that was cut, and serves it once the file is back",
  leavingNoDescriptors(async () => {
    await using task = await CriuTask.start("memory");
    await task.dump();
    const pages = `${task.images}/pages-1.img`;
    Deno.utimeSync(pages, 1000, 1000);
    const { tree, events } = await serving(task, { fill: false });
    await using _tree = tree;
    const restoring = await task.restore();
    await until("it is restored", () => countOf(events, "restored") === 1);
    const bytes = Deno.readFileSync(pages);
    Deno.truncateSync(pages, 4096);
    task.go();
    await until("the loss is told", () => countOf(events, "lost") === 1);
    assert(!task.has("result"));
    Deno.writeFileSync(pages, bytes);
    Deno.utimeSync(pages, 1000, 1000);
    assertEquals(await task.result(), "wrong=0 more=0");
    assertEquals(countOf(events, "found"), 1);
    await within("the process's end", Promise.all([restoring.ended, tree.done]));
  }),
);

testUnless(
  needsCriu,
  "LazyTree says that CRIU gave up, and why there is nothing to serve",
  leavingNoDescriptors(async () => {
    await using task = await CriuTask.start("memory");
    await task.dump();
    const { tree } = await serving(task);
    await using _tree = tree;
    // Of images that lack what only CRIU needs.
    Deno.removeSync(`${task.images}/files.img`);
    const restoring = await task.restore();
    await assertRejects(() => restoring.ended);
    await assertRejects(
      () => within("the server's end", tree.done),
      Error,
      "CRIU did not restore all processes",
    );
  }),
);

for (const onLoss of ["hold", "poison"] as const) {
  testUnless(
    needsCriu,
    `LazyTree whose page server is gone gives no zeros to whoever wants a page: ${onLoss}`,
    leavingNoDescriptors(async () => {
      await using task = await CriuTask.start("memory");
      const port = freePort();
      const dumping = await task.dumpLazily(port);
      const pageServer = { transport: "tcp" as const, host: "127.0.0.1", port };
      const { tree, events } = await serving(task, { pageServer, onLoss, fill: false });
      await using _tree = tree;
      const restoring = await task.restore();
      await until("it is restored", () => countOf(events, "restored") === 1);
      dumping.kill();
      await assertRejects(() => dumping.ended);
      task.go();
      await until("the loss is told", () => countOf(events, "lost") === 1);
      const lost = events.find((event) => event.event === "lost");
      assert(lost?.event === "lost" && /^Page server tcp:127.0.0.1:\d+ is lost/.test(lost.reason));
      if (onLoss === "poison") {
        await within("its end by SIGBUS", restoring.ended.catch(() => {}));
      } else {
        await until("it waits", () => tree.statistics()[0]!.waiting >= 1);
      }
      assert(!task.has("result"));
    }),
  );
}

testUnless(
  needsCriu,
  "LazyTree whose thread dies has processes get SIGBUS, and no zeros",
  leavingNoDescriptors(async () => {
    await using task = await CriuTask.start("memory");
    await task.dump();
    const pool = new ThreadPool({ linger: 0 });
    const { tree, events } = await serving(task, { fill: false, pool });
    await using _tree = tree;
    const restoring = await task.restore();
    await until("it is restored", () => countOf(events, "restored") === 1);
    pool.kill(CRIU_TASK.thread);
    await assertRejects(() => within("the server's end", tree.done));
    task.go();
    await within("the process's end", restoring.ended.catch(() => {}));
    assert(!task.has("result"));
  }),
);

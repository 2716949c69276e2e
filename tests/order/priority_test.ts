/** Who gives way to whom: a guest waits for what goes before it, and for nothing of the stream behind it. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Source } from "../../server/source.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { skipReason, testUnless } from "../support/skip.ts";

/** What a background thread gives itself. */
const BACKGROUND_NICE = 5;

/** The nice value of a thread of this process; its number is that of the process for the first. */
function niceOf(thread: string): number {
  const stat = Deno.readTextFileSync(`/proc/self/task/${thread}/stat`);
  // The 19th field of proc(5), counted behind the thread's name, which may hold anything.
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
}

/** Threads of this process that give way to others. */
function yielding(): number {
  const threads = [...Deno.readDirSync("/proc/self/task")].map(({ name }) => name);
  return threads.filter((each) => niceOf(each) === BACKGROUND_NICE).length;
}

const nice = niceOf(`${Deno.pid}`);
const skip = nice < BACKGROUND_NICE
  ? undefined
  : skipReason("no support", `Its threads give way already, their nice value is: ${nice}`);

testUnless(
  skip,
  "Source gives way to others only when what goes before the guest was sent",
  async () => {
    using file = await TestImage.make({ ram: 600 }, { zeroEvery: 0 });
    using image = await openImage(file.path);
    const content = Deno.readFileSync(file.path);
    using destination = await ScriptedHugeDestination.listen(image.layout, content);
    // Its threads stay until they were looked at.
    await using pool = new ThreadPool({ linger: 3_600_000 });
    const before = Promise.withResolvers<void>();
    await using source = new Source(image, {
      to: destination.address,
      pool,
      order: [{ block: "ram", offset: 0, length: 64 * 4096 }],
      warm: 60_000,
      beforeRun: () => before.promise,
    });
    const ended = Promise.all([source.run(), destination.play(true)]);
    ended.catch(() => {});
    try {
      const early = () => destination.received === 64;
      await within("what goes before the guest", Promise.race([destination.when(early), ended]));
      assertEquals([yielding(), destination.running], [0, false]);
    } finally {
      before.resolve();
    }
    await within("the migration to end", ended);
    assertEquals(yielding(), 1);
  },
);

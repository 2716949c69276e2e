/** Hand-overs that are marked, however early they end. */
import "../support/native.ts";
import { assertRejects } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { GuardedSource } from "../../server/command/guarded_source.ts";
import { HandOverGuard } from "../../server/command/hand_over_guard.ts";
import { OrderKeeper } from "../../server/command/order_keeper.ts";
import { until, within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";

Deno.test("GuardedSource that is cancelled while it gets ready leaves no mark of a guest that ran nowhere", async () => {
  using saved = await TestImage.make({ ram: 16 });
  using image = await openImage(saved.path);
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = silent.addr as Deno.NetAddr;
  const to = { transport: "tcp", host: "127.0.0.1", port } as const;
  using guard = await HandOverGuard.look(image, to, "start", "");
  const keeper = await OrderKeeper.open(image, { order: "off", options: {} });
  const abort = new AbortController();
  const asked = Promise.withResolvers<void>();
  const ready = Promise.withResolvers<void>();
  const beforeRun = () => {
    asked.resolve();
    return ready.promise;
  };
  const options = { to, beforeRun, signal: abort.signal };
  let told = 0;
  await using source = new GuardedSource(image, options, guard, keeper, () => void told++);
  const run = source.run();
  run.catch(() => {}); // awaited below
  using _connection = await within("its connection", silent.accept());
  await within("that it gets ready", asked.promise);
  abort.abort(new Error("cancelled"));
  await within("its end", source.source.close());
  ready.resolve();
  await assertRejects(() => within("the end", run), Error, "cancelled");
  // Of the mark that it makes, and of the one that is removed, in whatever order.
  await until("both to be told", () => told === 2);
  saved.assertUntouched(0);
});

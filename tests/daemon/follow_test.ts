/** Following a session of a daemon that is gone. */
import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { ApiError } from "../../daemon/command/api_error.ts";
import { follow } from "../../daemon/command/follow.ts";
import { within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { DaemonPlace } from "./daemon_process.ts";
import { Waiting } from "./destinations.ts";
import { begin, PAGES } from "./held_off.ts";

Deno.test("follow of a session that ended unheard does not say that nothing ran", async () => {
  using image = await TestImage.make(PAGES);
  await using place = new DaemonPlace();
  place.configure({ vm: image.path });
  await using waiting = await Waiting.start();
  const first = await place.start();
  const id = await begin(first, waiting);
  const following = follow(first.client, await first.session(id));
  following.catch(() => {}); // awaited below
  await first.end("SIGKILL");
  // As if the one that is gone had seen it complete.
  for (const name of place.kept) await Deno.remove(`${place.stateDirectory}/${name}`);
  await place.start();
  const { message } = await assertRejects(() => within("its end", following), ApiError);
  assertEquals(/its guest may run: do not start it again/.test(message), true, message);
});

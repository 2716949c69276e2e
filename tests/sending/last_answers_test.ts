/** What was asked for before the end of a stream comes before it. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";

const PAGES = 128;
/** More bytes than a small receive buffer takes, and fewer than that and a send buffer. */
const ASKED = 40;

/** Asks for pages, and reads everything but them. Returns how the source failed, and whether it had sent the end. */
async function unanswered(
  image: TestImage,
  mode: "preempt" | "preempt-full",
  stallTimeout: number,
): Promise<{ readonly error: Error & { readonly code?: string }; readonly ended: boolean }> {
  using opened = await openImage(image.path);
  using destination = await HostileDestination.listen();
  const options = { to: destination.address, mode, stallTimeout, recoverTimeout: 0 };
  await using source = new Source(opened, options);
  const failed = source.run().then(() => new Error("It completed"), (error) => error);
  const played = (async () => {
    await destination.play("blocks");
    (await destination.acceptPreempt()).setReceiveBuffer(4096);
    await destination.play("package");
    for (let page = 0; page < ASKED; page++) {
      destination.say.requestPages("ram", page * 4096, 4096);
    }
    await destination.send(destination.say.take());
    await destination.play();
  })().catch(() => {}); // the source may have lost its patience before
  const error = await within("the source to fail", failed, 20_000 + 3 * stallTimeout);
  await within("the destination's part to end", played);
  return { error, ended: destination.reached("end") };
}

for (const mode of ["preempt-full", "preempt"] as const) {
  Deno.test(
    `Source in mode ${mode} does not end a stream before the destination has what it asked for`,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make({ ram: PAGES });
      let last = "";
      // On a busy machine it may lose its patience sooner, with another reason: ten times that must do.
      for (const stallTimeout of [300, 3000, 30_000]) {
        const { error, ended } = await unanswered(image, mode, stallTimeout);
        assertEquals(ended, false);
        assertEquals(error.code, "STALLED", error.message);
        last = error.message;
        if (/on the preempt channel|: preempt channel: ETIMEDOUT/.test(last)) return;
      }
      assertMatch(last, /preempt channel/);
    }),
  );
}

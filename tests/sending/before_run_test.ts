/** What a source's owner has to do before the guest may run at the destination. */
import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

/** Migrates with a `beforeRun`; the destination's guest, the source, and how it ended. */
async function migrate(
  beforeRun: (source: Source) => void | Promise<void>,
  check: (source: Source, guest: StillGuest, ended: Promise<unknown>) => Promise<void>,
): Promise<void> {
  using image = await TestImage.make({ ram: 64 });
  using opened = await openImage(image.path);
  const guest = new StillGuest();
  await using destination = new Destination({ guest });
  const to = await destination.listen(LOOPBACK);
  await using source: Source = new Source(opened, { to, beforeRun: () => beforeRun(source) });
  await check(source, guest, within("the source to end", source.run()));
}

for (
  const [how, fail] of [
    ["throws", () => {
      throw new Error("No mark");
    }],
    ["rejects", () => Promise.reject(new Error("No mark"))],
  ] as const
) {
  Deno.test(
    `Source hands no guest over when its beforeRun ${how}`,
    leavingNoDescriptors(() =>
      migrate(fail, async (source, guest, ended) => {
        await assertRejects(() => ended, Error, "No mark");
        assertEquals([source.status, source.ranNowhere], ["failed", true]);
        assertEquals(guest.calls, []);
      })
    ),
  );
}

Deno.test(
  "Source calls its beforeRun once, connected and before it hands the guest over",
  leavingNoDescriptors(async () => {
    const seen: string[] = [];
    const look = async (source: Source) => {
      assert(source.ranNowhere && !source.guestMayRun);
      await Promise.resolve();
      seen.push(source.status);
    };
    await migrate(look, async (source, guest, ended) => {
      await ended;
      assertEquals(source.ranNowhere, false);
      assertEquals(guest.calls, ["load", "start"]);
    });
    assertEquals(seen, ["setup"]);
  }),
);

Deno.test(
  "Source that is closed does not wait for its beforeRun",
  leavingNoDescriptors(() =>
    migrate((source) => {
      void source.close();
      return new Promise(() => {});
    }, async (source, guest, ended) => {
      await assertRejects(() => ended, Error, "closed");
      assertEquals([source.ranNowhere, guest.calls], [true, []]);
    })
  ),
);

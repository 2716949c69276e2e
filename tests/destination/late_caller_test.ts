/** A source that connects anew before a destination knows that the old connection is no more. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

Deno.test(
  "Destination that fails before its guest runs tells so to a source that had connected anew before",
  leavingNoDescriptors(async () => {
    await using destination = new Destination({ guest: new StillGuest() });
    const to = await destination.listen(LOOPBACK);
    using source = new HostileSource(to);
    await source.connect();
    source.encodeAdvise();
    await source.flush();
    await within("the PONG", source.hear(({ pongs }) => pongs.includes(1)));
    using again = new HostileSource(to);
    await again.connect();
    source.main.close();
    await within("the failure", destination.finished.catch(() => {}));
    again.encodeRecovery();
    await again.flush();
    await within("the answer", again.hear(({ shuts }) => shuts.length > 0));
    assertEquals(again.heard.shuts, [1]);
  }),
);

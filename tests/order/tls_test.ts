/** An order over TLS: one task and the control plane take turns on one session. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { openSsl } from "../../ffi/tls/libssl.ts";
import { MODES } from "../../server/sending/mode.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, migrate } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { preSharedKey } from "../tls/credentials.ts";
import { randomOrder } from "./orders.ts";

openSsl(); // stays open for the thread's life: no test is to be blamed for it

const BLOCKS = { ram: 4099, rom: 64 };

for (const mode of MODES) {
  testUnless(
    needsOpenssl(),
    `Source in mode ${mode} sends an order before the guest runs, over TLS`,
    leavingNoDescriptors(async () => {
      await using both = await preSharedKey();
      using image = await TestImage.make(BLOCKS);
      const { runs, pages } = randomOrder(new Random(41), BLOCKS, 2000);
      const guest = new StillGuest();
      const { encryption } = both;
      await migrate(
        image.path,
        { mode, guest, encryption, order: runs, warm: 60_000 },
        (migrated) => {
          assertEachPageOnce(migrated);
          image.assertEqualMemory(guest.blocks);
          assertEquals(migrated.source.order!.early, pages);
        },
      );
    }),
  );
}

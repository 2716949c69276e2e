/** Guests of stock QEMU that come over TLS: into an image, and into a destination's memory. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { setCapabilities, setParameters, waitForMigration } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { filesOf, useCredentials } from "../../qemu/credentials.ts";
import { certificatesShared, issued } from "./qemu_credentials.ts";
import { assertSameMemory } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest } from "./saved_guest.ts";
import { serve } from "./serve_process.ts";

const SLOW = 512 << 10;

for (const { name, binary, skip } of await testedQemus()) {
  const reason = firstOf(skip, needsOpenssl());

  testUnless(
    reason,
    `ImageReceiver over TLS takes a guest that switches, and serve over TLS runs it again, with ${name}`,
    leavingNoDescriptors(async () => {
      await using authority = await issued();
      const directory = await Deno.makeTempDir();
      await using stack = new AsyncDisposableStack();
      stack.defer(() => Deno.remove(directory, { recursive: true }));
      const path = `${directory}/image`;
      await using qemu = await startGuest({ binary });
      await waitForRound(qemu, 2);
      const tls = { credentials: authority.directory, authorized: ["O=facts,CN=src.example"] };
      await using receiver = new ImageReceiver({ path, tls });
      const to = await receiver.listen(LOOPBACK);
      await offerCertificate(qemu, await filesOf(authority, "client"));
      await setCapabilities(qemu, PREEMPT);
      await setParameters(qemu, { "max-bandwidth": SLOW });
      await qemu.execute("migrate", { uri: formatSocketAddress(to) });
      await until("some pages", () => receiver.statistics().normal > 75);
      await qemu.execute("migrate-start-postcopy");
      await within("the image", receiver.finished);
      await waitForMigration(qemu, ["completed"]);
      const { pages, received, duplicates } = receiver.statistics();
      assertEquals([received, duplicates], [pages, 0]);
      await using shared = await certificatesShared();
      await using saved = await SavedGuest.capture({ binary });
      const give = (waiting: Qemu) => shared.give(waiting);
      const { qemu: again, uri } = await saved.destination(PREEMPT, {}, give);
      const { code, stderr } = await serve(path, uri, "--tls-creds", shared.tls.credentials);
      assertEquals(code, 0, stderr);
      await waitForMigration(again, ["completed"]);
    }),
  );

  testUnless(
    reason,
    `Destination over TLS has every byte of a stopped guest, with ${name}`,
    leavingNoDescriptors(async () => {
      await using authority = await issued();
      await using qemu = await startGuest({ binary });
      await waitForRound(qemu, 2);
      const guest = new StillGuest();
      await using destination = new Destination({
        guest,
        tls: { credentials: authority.directory },
      });
      const to: SocketAddress = await destination.listen(LOOPBACK);
      await offerCertificate(qemu, await filesOf(authority, "client"));
      await setCapabilities(qemu, PREEMPT);
      await setParameters(qemu, { "max-bandwidth": SLOW });
      await qemu.execute("stop");
      await qemu.execute("migrate", { uri: formatSocketAddress(to) });
      await qemu.execute("migrate-start-postcopy");
      await within("the destination", destination.finished);
      await waitForMigration(qemu, ["completed"]);
      const blocks = guest.blocks.map(({ name, address, length }) =>
        [name, viewMemory(address, length)] as const
      );
      await assertSameMemory(qemu, new Map(blocks));
    }),
  );
}

async function offerCertificate(qemu: Qemu, files: Record<string, string>): Promise<void> {
  const object = { "qom-type": "tls-creds-x509", endpoint: "client", "verify-peer": true };
  await useCredentials(qemu, files, object);
}

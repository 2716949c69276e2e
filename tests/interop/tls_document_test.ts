/** Credentials made by the lines of docs/security.md, as real QEMUs take them. */
import "../support/native.ts";
import { openImage } from "../../image/open_image.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { waitForMigration } from "../../qemu/migration.ts";
import { Source } from "../../server/source.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import {
  DocumentedCredentials,
  type Maker,
  MAKERS,
  needsMaker,
  shellBlocks,
} from "../tls/security_document.ts";
import { useCredentials } from "../../qemu/credentials.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest } from "./saved_guest.ts";

/** What is in a directory. */
function filesIn(directory: string): Record<string, string> {
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name);
  return Object.fromEntries(
    names.map((name) => [name, Deno.readTextFileSync(`${directory}/${name}`)]),
  );
}

for (const { name, binary, skip } of await testedQemus()) {
  for (const maker of Object.keys(MAKERS) as Maker[]) {
    testUnless(
      firstOf(skip, needsMaker(maker)),
      `docs/security.md makes certificates with ${maker} by which a guest goes on in ${name}`,
      leavingNoDescriptors(async () => {
        await using made = await DocumentedCredentials.certificates(maker);
        const object = { "qom-type": "tls-creds-x509", endpoint: "server" };
        const give = (qemu: Qemu) =>
          useCredentials(qemu, filesIn(made.path("destination")), object);
        await using saved = await SavedGuest.capture({ binary });
        const { qemu, address } = await saved.destination(PREEMPT, {}, give);
        using image = await openImage(saved.path);
        const tls = { credentials: made.path("source"), hostname: "host2.example" };
        await using source = new Source(image, { to: address, tls });
        await within("the source to complete", source.run());
        await waitForMigration(qemu, ["completed"]);
        await saved.countsOn(qemu);
      }),
    );

    testUnless(
      firstOf(skip, needsMaker(maker)),
      `docs/security.md makes certificates with ${maker} that ${name} takes as a source's`,
      async () => {
        await using made = await DocumentedCredentials.certificates(maker);
        await using saved = await SavedGuest.capture({ binary });
        const object = { "qom-type": "tls-creds-x509", endpoint: "client" };
        // QEMU checks them when the object is made.
        await saved.destination(
          PREEMPT,
          {},
          (qemu) => useCredentials(qemu, filesIn(made.path("source")), object),
        );
      },
    );
  }

  testUnless(
    firstOf(skip, needsMaker("openssl")),
    `docs/security.md makes a pre-shared key by which a guest goes on in ${name}`,
    leavingNoDescriptors(async () => {
      await using made = new DocumentedCredentials();
      await made.type((await shellBlocks("Pre-shared keys"))[1]!);
      const object = { "qom-type": "tls-creds-psk", endpoint: "server" };
      await using saved = await SavedGuest.capture({ binary });
      const { qemu, address } = await saved.destination(
        PREEMPT,
        {},
        (qemu) => useCredentials(qemu, filesIn(made.directory), object),
      );
      using image = await openImage(saved.path);
      const tls = { credentials: made.path("keys.psk") };
      await using source = new Source(image, { to: address, tls });
      await within("the source to complete", source.run());
      await waitForMigration(qemu, ["completed"]);
      await saved.countsOn(qemu);
    }),
  );
}

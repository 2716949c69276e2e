/** What docs/security.md tells to type makes credentials that a migration takes. */
import "../support/native.ts";
import { assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "@std/assert";
import { loadCredentials } from "../../channel/tls/credentials.ts";
import { TlsError } from "../../ffi/tls/tls_error.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, type Encryption, migrate } from "../support/migrate.ts";
import { firstOf, needsCommand, testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { Ends } from "./ends.ts";
import {
  DocumentedCredentials,
  KEY_MAKERS,
  type Maker,
  MAKERS,
  needsMaker,
  shellBlocks,
} from "./security_document.ts";

/** Moves an image over TLS, and compares every byte. */
async function moves(encryption: Encryption): Promise<void> {
  using image = await TestImage.make({ ram: 64 });
  const guest = new StillGuest();
  await migrate(image.path, { guest, encryption }, (migrated) => {
    assertEachPageOnce(migrated);
    image.assertEqualMemory(guest.blocks);
  });
}

function fileMode(path: string): number {
  return Deno.statSync(path).mode! & 0o777;
}

/** Credentials that work and of which nothing is warned. */
function load(path: string, role: "client" | "server") {
  return loadCredentials(path, role, {}, (warning) => assertEquals(warning, "no warning"));
}

for (const maker of Object.keys(MAKERS) as Maker[]) {
  const unless = needsMaker(maker);

  testUnless(
    unless,
    `docs/security.md makes certificates with ${maker} by which a guest moves`,
    leavingNoDescriptors(async () => {
      await using made = await DocumentedCredentials.certificates(maker);
      const [source, destination] = [made.path("source"), made.path("destination")];
      for (const file of ["ca/ca-key.pem", "source/client-key.pem", "destination/server-key.pem"]) {
        assertEquals(fileMode(made.path(file)), 0o600, file);
      }
      const authorized = ["O=example,CN=host1"];
      for (const hostname of ["host2.example", "192.0.2.2"]) {
        await moves({
          source: { credentials: source, hostname },
          destination: { credentials: destination, authorized },
        });
      }
      using clients = load(source, "client");
      using servers = load(destination, "server");
      using ends = await Ends.connect(clients, servers, "host1.example");
      const { client } = ends.shakeHands();
      assertInstanceOf(client, TlsError);
      assertEquals(client.code, "WRONG_NAME");
      // Each is for its own end: neither is good at the other.
      for (const part of ["cert", "key"]) {
        await Deno.copyFile(`${source}/client-${part}.pem`, `${source}/server-${part}.pem`);
      }
      const wrong = assertThrows(() => load(source, "server"), TlsError);
      assertEquals(wrong.code, "WRONG_PURPOSE");
    }),
  );

  testUnless(
    firstOf(unless, needsCommand("openssl", "openssl")),
    `docs/security.md takes a certificate back with ${maker}, and another one holds`,
    leavingNoDescriptors(async () => {
      await using made = await DocumentedCredentials.certificates(maker);
      const blocks = await shellBlocks("Taking a certificate back");
      assertEquals(blocks.length, Object.keys(MAKERS).length);
      const block = blocks[Object.keys(MAKERS).indexOf(maker)]!;
      assertStringIncludes(block, `${maker} `);
      await made.type(block);
      using clients = load(made.path("source"), "client");
      using servers = load(made.path("destination"), "server");
      using revoked = await Ends.connect(clients, servers, "host2.example");
      const { server } = revoked.shakeHands();
      assertInstanceOf(server, TlsError);
      assertEquals(server.code, "REVOKED");
      // The client looks the server's up in the same list, which does not name that.
      await Deno.copyFile(made.path("destination/ca-crl.pem"), made.path("source/ca-crl.pem"));
      await Deno.remove(made.path("destination/ca-crl.pem"));
      using listing = load(made.path("source"), "client");
      using forgetting = load(made.path("destination"), "server");
      using good = await Ends.connect(listing, forgetting, "host2.example");
      good.open();
    }),
  );
}

for (const [index, [maker, debianPackage]] of KEY_MAKERS.entries()) {
  testUnless(
    needsCommand(maker, debianPackage),
    `docs/security.md makes a pre-shared key with ${maker} by which a guest moves`,
    leavingNoDescriptors(async () => {
      await using made = new DocumentedCredentials();
      const blocks = await shellBlocks("Pre-shared keys");
      assertEquals(blocks.length, KEY_MAKERS.length);
      assertStringIncludes(blocks[index]!, maker);
      await made.type(blocks[index]!);
      assertEquals(fileMode(made.path("keys.psk")), 0o600);
      const [identity, key, ...more] = Deno.readTextFileSync(made.path("keys.psk")).trim().split(
        ":",
      );
      assertEquals([identity, key!.length, more], ["qemu", 64, []]);
      load(made.directory, "client").close(); // nothing is warned of
      const tls = { credentials: made.directory };
      await moves({ source: tls, destination: tls });
    }),
  );
}

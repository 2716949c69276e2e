/** A source and a real QEMU that do not accept each other: nothing is touched, and the next try works. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import type { Qemu } from "../../qemu/qemu.ts";
import { setParameters, waitForMigration } from "../../qemu/migration.ts";
import { within } from "../support/deadline.ts";
import { ServeProcess } from "../support/processes.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import type { Authority } from "../../qemu/authority.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { filesOf, useCredentials } from "../../qemu/credentials.ts";
import { issued, keysShared } from "./qemu_credentials.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest, type WaitingQemu } from "./saved_guest.ts";

const X509 = { "qom-type": "tls-creds-x509", endpoint: "server" };

/** A directory with an authority's own certificate, and for a client what another has issued. */
async function directoryOf(
  trusted: Authority,
  shown?: Authority,
  name = "client",
): Promise<string> {
  const directory = await Deno.makeTempDir();
  await Deno.copyFile(trusted.path("ca-cert.pem"), `${directory}/ca-cert.pem`);
  for (const part of shown === undefined ? [] : ["cert", "key"]) {
    await Deno.copyFile(shown!.path(`${name}-${part}.pem`), `${directory}/client-${part}.pem`);
  }
  return directory;
}

/** Runs `serve`, which is to fail as expected. */
async function fails(
  saved: SavedGuest,
  { uri }: WaitingQemu,
  message: RegExp,
  ...args: string[]
): Promise<void> {
  await using served = new ServeProcess(saved.path, uri, args);
  const { code, errors } = await within("serve to fail", served.ended);
  assertMatch(errors, message);
  assertEquals(code, 1, errors);
  // What is wrong is not the machine, and a guest was never in danger.
  assertEquals(/machine type|--recover/.test(errors), false, errors);
  saved.assertUntouched();
}

/** Runs `serve`, which says that it is encrypted, and sees that the guest goes on there. */
async function succeeds(
  saved: SavedGuest,
  { uri, qemu }: WaitingQemu,
  ...args: string[]
): Promise<void> {
  await using served = new ServeProcess(saved.path, uri, args);
  await served.statistics();
  assertEquals(await served.says("Encrypted (TLSv1.3"), true);
  await waitForMigration(qemu, ["completed"]);
  await saved.countsOn(qemu);
}

for (const { name, binary, skip } of await testedQemus()) {
  const test = (title: string, body: () => Promise<void>) =>
    testUnless(firstOf(skip, needsOpenssl()), `${title}, with ${name}`, body);

  test("serve tells what is wrong with a certificate, and serves the same QEMU after that", async () => {
    await using authority = await issued();
    await using other = await issued();
    await using saved = await SavedGuest.capture({ binary });
    const directories: string[] = [];
    const has = async (...of: Parameters<typeof directoryOf>) => {
      directories.push(await directoryOf(...of));
      return ["--tls-creds", directories.at(-1)!];
    };
    const good = ["--tls-creds", authority.directory];
    try {
      const waiting = await saved.destination(PREEMPT, {}, async (qemu) => {
        await useCredentials(qemu, await filesOf(authority, "server"), X509);
      });
      const refused = (message: RegExp, ...args: string[]) =>
        fails(saved, waiting, message, ...args);
      await refused(/No such directory or file: \/nowhere/, "--tls-creds", "/nowhere");
      await refused(
        /The certificate of tcp:127\.0\.0\.1:\d+ comes from an authority that is not in ca-cert\.pem here/,
        ...await has(other, other),
      );
      await refused(
        /The certificate of .* is not for elsewhere\.example: connect by a name that it has/,
        ...[...good, "--tls-hostname", "elsewhere.example"],
      );
      const silently =
        /ended the connection right after the handshake: it probably does not accept the certificate/;
      await refused(silently, ...await has(authority));
      await refused(
        /client-cert\.pem comes from an authority that is not in ca-cert\.pem/,
        ...await has(authority, other),
      );
      await authority.issue("old", { to: "20210101000000Z" });
      await refused(
        /The certificate in .*client-cert\.pem has expired/,
        ...await has(authority, authority, "old"),
      );
      await succeeds(saved, waiting, ...good);
    } finally {
      for (const directory of directories) await Deno.remove(directory, { recursive: true });
    }
  });

  test("serve tells that the certificate of a QEMU has expired", async () => {
    await using authority = await issued();
    await using saved = await SavedGuest.capture({ binary });
    await authority.issue("server", { to: "20210101000000Z" });
    const object = { ...X509, "sanity-check": false };
    const waiting = await saved.destination(PREEMPT, {}, async (qemu) => {
      await useCredentials(qemu, await filesOf(authority, "server"), object);
    });
    const good = ["--tls-creds", authority.directory];
    await fails(saved, waiting, /The certificate of .* or of its authority has expired: /, ...good);
  });

  test("serve tells that a QEMU does not let it in, and lets in whom that names", async () => {
    await using authority = await issued();
    await authority.issue("other", { subject: "/O=facts/CN=other.example" });
    await using saved = await SavedGuest.capture({ binary });
    const waiting = await saved.destination(PREEMPT, {}, async (qemu: Qemu) => {
      const identity = "O=facts,CN=other.example";
      await qemu.execute("object-add", { "qom-type": "authz-simple", id: "az", identity });
      await useCredentials(qemu, await filesOf(authority, "server"), X509);
      await setParameters(qemu, { "tls-authz": "az" });
    });
    const denied = /ended the connection right after the handshake: .* see its .*tls-authz/;
    await fails(saved, waiting, denied, "--tls-creds", authority.directory);
    const directory = await directoryOf(authority, authority, "other");
    try {
      await succeeds(saved, waiting, "--tls-creds", directory);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });

  test("serve in clear to a QEMU with TLS says what may be missing, and serves it after that", async () => {
    await using shared = await keysShared();
    await using saved = await SavedGuest.capture({ binary });
    const waiting = await saved.destination(PREEMPT, {}, shared.give);
    await using served = new ServeProcess(saved.path, waiting.uri);
    const { code, errors } = await within("serve to fail", served.ended);
    assertEquals(code, 1, errors);
    assertMatch(errors, /if its connections are encrypted \(tls-creds\), give --tls-creds here/);
    const { credentials, username } = shared.tls;
    await succeeds(saved, waiting, "--tls-creds", credentials, "--tls-username", username!);
  });

  test("serve tells of a wrong pre-shared key, and serves with the right one after that", async () => {
    await using shared = await keysShared();
    await using saved = await SavedGuest.capture({ binary });
    const waiting = await saved.destination(PREEMPT, {}, shared.give);
    const { credentials } = shared.tls;
    const user = ["--tls-username", "guest"];
    const wrong = await Deno.makeTempFile();
    try {
      const text = await Deno.readTextFile(credentials);
      await Deno.writeTextFile(wrong, text.replaceAll("0", "1"));
      const refused = /closed the connection during the handshake: .* wrong pre-shared key/;
      await fails(saved, waiting, refused, "--tls-creds", wrong, ...user);
      await fails(saved, waiting, /No key for identity in .*: qemu/, "--tls-creds", credentials);
      await succeeds(saved, waiting, "--tls-creds", credentials, ...user);
    } finally {
      await Deno.remove(wrong);
    }
  });
}

import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { TlsContext } from "../../ffi/tls/context.ts";
import { TlsError } from "../../ffi/tls/tls_error.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { type SkipReason, testUnless } from "../support/skip.ts";
import { Authority } from "../../qemu/authority.ts";
import { needsOpenssl } from "./authority.ts";
import { context, Ends, readOnce, writeAll } from "./ends.ts";

const KEY = new Uint8Array(32).map((_, at) => at + 1);
const OTHER = new Uint8Array(32).map((_, at) => at + 2);

function test(name: string, body: () => Promise<void>, reason?: SkipReason): void {
  testUnless(reason, name, leavingNoDescriptors(body));
}

async function refusals(
  client: TlsContext,
  server: TlsContext,
): Promise<{ readonly client: TlsError; readonly server: TlsError }> {
  using ends = await Ends.connect(client, server, "localhost");
  const told = ends.shakeHands();
  assertInstanceOf(told.client, TlsError);
  assertInstanceOf(told.server, TlsError);
  return { client: told.client, server: told.server };
}

test("two ends with one pre-shared key read what the other wrote, with AES-128-GCM", async () => {
  using clients = TlsContext.psk("client", [{ identity: "other", key: KEY }]);
  using servers = TlsContext.psk("server", [
    { identity: "qemu", key: OTHER },
    { identity: "other", key: KEY },
  ]);
  using ends = await Ends.connect(clients, servers);
  const { client, server } = ends.open();
  assertEquals(client.cipher, "TLSv1.3 TLS_AES_128_GCM_SHA256");
  const words = new TextEncoder().encode("pages");
  const bytes = new Uint8Array(16);
  assertEquals(writeAll(client, words), 5);
  assertEquals(readOnce(server, bytes), 5);
  assertEquals(writeAll(server, words), 5);
  assertEquals(readOnce(client, bytes), 5);
  assertEquals(bytes.subarray(0, 5), words);
});

test("a server refuses a client with another key for its identity", async () => {
  using clients = TlsContext.psk("client", [{ identity: "qemu", key: OTHER }]);
  using servers = TlsContext.psk("server", [{ identity: "qemu", key: KEY }]);
  const { client, server } = await refusals(clients, servers);
  assertEquals(server.code, "WRONG_KEY");
  assertStringIncludes(server.message, "keys.psk");
  assertEquals(client.code, "REFUSED");
  assertStringIncludes(client.message, "keys");
});

test("a server refuses an identity that it does not know, and names it without control characters", async () => {
  using clients = TlsContext.psk("client", [{ identity: "qe\x1b[31mmu", key: KEY }]);
  using servers = TlsContext.psk("server", [{ identity: "qemu", key: KEY }]);
  const { client, server } = await refusals(clients, servers);
  assertEquals(server.code, "UNKNOWN_IDENTITY");
  assertStringIncludes(server.message, ": qe?[31mmu: ");
  assertEquals(client.code, "REFUSED");
});

test(
  "a client with a key refuses a server with certificates, and the other way round",
  async () => {
    await using authority = await Authority.make();
    await authority.issue("server");
    await authority.issue("client");
    using keyClients = TlsContext.psk("client", [{ identity: "qemu", key: KEY }]);
    using keyServers = TlsContext.psk("server", [{ identity: "qemu", key: KEY }]);
    using clients = context("client", authority, { certificate: "client" });
    using servers = context("server", authority, { certificate: "server" });
    const toCertificates = await refusals(keyClients, servers);
    assertEquals(toCertificates.client.code, "WRONG_KEY");
    const toKeys = await refusals(clients, keyServers);
    assertStringIncludes(toCertificates.client.message, "give both ends credentials of one kind");
    assertEquals(toKeys.server.code, "WRONG_KEY");
    assertStringIncludes(toKeys.server.message, "give both ends credentials of one kind");
    assertEquals(toKeys.client.code, "REFUSED");
    assertStringIncludes(toKeys.client.message, "pre-shared keys");
  },
  needsOpenssl(),
);

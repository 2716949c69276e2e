import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { Errno } from "../../ffi/errno.ts";
import { readCertificates } from "../../ffi/tls/pem.ts";
import { TlsStream } from "../../ffi/tls/stream.ts";
import { TlsError, type TlsErrorCode } from "../../ffi/tls/tls_error.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { Authority, type Issue } from "../../qemu/authority.ts";
import { needsOpenssl } from "./authority.ts";
import { context, Ends, type Has, readOnce, writeAll } from "./ends.ts";

/** One of two ends is not as it should be. */
interface Case {
  readonly client?: Has;
  readonly server?: Has;
  readonly host?: string;
  readonly serverIssue?: Issue;
  readonly clientIssue?: Issue;
  readonly before?: (authority: Authority) => Promise<void>;
}

async function shake(
  { client, server, host = "127.0.0.1", serverIssue, clientIssue, before }: Case,
): Promise<{ readonly client: Error | undefined; readonly server: Error | undefined }> {
  await using authority = await Authority.make();
  await authority.issue("server", serverIssue);
  await authority.issue("client", clientIssue);
  await before?.(authority);
  using clients = context("client", authority, { certificate: "client", ...client });
  using servers = context("server", authority, { certificate: "server", ...server });
  using ends = await Ends.connect(clients, servers, host);
  const told = ends.shakeHands();
  // TLS 1.3: a client is done before the server has looked at its certificate.
  if (told.client !== undefined || told.server === undefined) return told;
  const stream = new TlsStream(ends.client.init);
  assertEquals(readOnce(stream, new Uint8Array(16)), -Errno.EPROTO);
  return { client: stream.error, server: told.server };
}

function assertTls(error: Error | undefined, code: TlsErrorCode, ...words: string[]): void {
  assertInstanceOf(error, TlsError);
  assertEquals(error.code, code, error.message);
  for (const word of words) assertStringIncludes(error.message, word);
}

function test(name: string, body: () => Promise<void>): void {
  testUnless(needsOpenssl(), name, leavingNoDescriptors(body));
}

const OLD = { from: "20200101000000Z", to: "20210101000000Z" };
const FUTURE = { from: "21000101000000Z", to: "21200101000000Z" };

test("two ends with certificates of one authority read what the other wrote, and its closing word", async () => {
  await using authority = await Authority.make();
  await authority.issue("server", { purpose: "serverAuth" });
  await authority.issue("client", { purpose: "clientAuth" });
  using clients = context("client", authority, { certificate: "client" });
  using servers = context("server", authority, { certificate: "server" });
  for (const host of ["127.0.0.1", "localhost", "::1"]) {
    using ends = await Ends.connect(clients, servers, host);
    const { client, server } = ends.open();
    assertEquals(client.cipher, "TLSv1.3 TLS_AES_256_GCM_SHA384");
    const words = new TextEncoder().encode(`pages for ${host}`);
    assertEquals(writeAll(client, words), words.length);
    const bytes = new Uint8Array(100);
    assertEquals(readOnce(server, bytes), words.length);
    assertEquals(bytes.subarray(0, words.length), words);
    assertEquals(client.end(), 0);
    assertEquals(client.end(), 0);
    assertEquals(readOnce(server, bytes), 0);
    assertEquals(server.error, undefined);
    // The other direction goes on.
    assertEquals(writeAll(server, words), words.length);
    assertEquals(readOnce(client, bytes), words.length);
  }
});

test("a client refuses a certificate that has expired, and the server hears it", async () => {
  const { client, server } = await shake({ serverIssue: OLD });
  assertTls(client, "EXPIRED", "the server");
  assertTls(server, "REFUSED", "expired", "clocks");
});

test("a client refuses a certificate that is not valid yet", async () => {
  const { client, server } = await shake({ serverIssue: FUTURE });
  assertTls(client, "NOT_YET_VALID", "the server", "clocks");
  assertTls(server, "REFUSED", "the client");
});

test("a client refuses a certificate for another name or address", async () => {
  const names = "DNS:elsewhere.example";
  const address = await shake({ serverIssue: { names } });
  assertTls(address.client, "WRONG_NAME", "127.0.0.1", "--tls-hostname");
  assertTls(address.server, "REFUSED", "the client", "for that name", "--tls-hostname");
  const host = await shake({ serverIssue: { names }, host: "here.example" });
  assertTls(host.client, "WRONG_NAME", "here.example");
  assertEquals(
    (await shake({ serverIssue: { names }, host: "elsewhere.example" })).client,
    undefined,
  );
  const wild = { serverIssue: { names: "DNS:*.wild.example" } };
  assertEquals((await shake({ ...wild, host: "a.wild.example" })).client, undefined);
  assertTls((await shake({ ...wild, host: "a.b.wild.example" })).client, "WRONG_NAME");
});

test("a client refuses a certificate of another authority", async () => {
  await using other = await Authority.make();
  await other.issue("server");
  const { client, server } = await shake({ server: { of: other } });
  assertTls(client, "UNKNOWN_AUTHORITY", "ca-cert.pem");
  assertTls(server, "REFUSED", "both ends need certificates of one authority");
});

test("a client refuses a certificate that is made for clients", async () => {
  const { client, server } = await shake({ serverIssue: { purpose: "clientAuth" } });
  assertTls(client, "WRONG_PURPOSE", "serverAuth");
  assertTls(server, "REFUSED", "serverAuth for who listens");
});

test("a client refuses a revoked certificate, and takes others of that authority", async () => {
  const client = { revocations: true };
  const revoked = await shake({ client, before: (authority) => authority.revoke("server") });
  assertTls(revoked.client, "REVOKED", "the server");
  assertTls(revoked.server, "REFUSED", "revoked");
  const other = await shake({ client, before: (authority) => authority.revoke("client") });
  assertEquals(other.client, undefined);
});

test("a client that is told to check nothing takes any certificate for any name", async () => {
  const policy = { verifyPeer: false };
  const { client } = await shake({ client: { policy }, serverIssue: OLD, host: "elsewhere" });
  assertEquals(client, undefined);
});

test("a server refuses each wrong certificate of a client, which hears why with its first read", async () => {
  const old = await shake({ clientIssue: OLD });
  assertTls(old.server, "EXPIRED", "the client");
  assertTls(old.client, "REFUSED", "expired");
  assertTls((await shake({ clientIssue: FUTURE })).server, "NOT_YET_VALID");
  assertTls((await shake({ clientIssue: { purpose: "serverAuth" } })).server, "WRONG_PURPOSE");
  await using other = await Authority.make();
  await other.issue("client");
  const unknown = await shake({ client: { of: other } });
  assertTls(unknown.server, "UNKNOWN_AUTHORITY");
  assertTls(unknown.client, "REFUSED", "authority");
  const server = { revocations: true };
  const revoked = await shake({ server, before: (authority) => authority.revoke("client") });
  assertTls(revoked.server, "REVOKED");
  assertTls(revoked.client, "REFUSED", "revoked", "issue a new one");
});

test("a server refuses a client without a certificate unless it is told to check nothing", async () => {
  await using authority = await Authority.make();
  await authority.issue("server");
  using clients = context("client", authority, {});
  using strict = context("server", authority, { certificate: "server" });
  using lax = context("server", authority, {
    certificate: "server",
    policy: { verifyPeer: false },
  });
  {
    using ends = await Ends.connect(clients, strict, "localhost");
    assertTls(ends.shakeHands().server, "NO_CERTIFICATE", "client-cert.pem");
    const stream = new TlsStream(ends.client.init);
    assertEquals(readOnce(stream, new Uint8Array(16)), -Errno.EPROTO);
    assertTls(stream.error, "REFUSED", "client-cert.pem");
  }
  using ends = await Ends.connect(clients, lax, "localhost");
  ends.open();
});

test("a server with names of who may connect refuses others whose certificates are good", async () => {
  const subject = "/O=facts/CN=src.example";
  const clientIssue = { subject, names: "DNS:alt.example,DNS:*.wild.example,IP:127.0.0.1" };
  const outcome = async (...authorized: string[]) =>
    (await shake({ clientIssue, server: { policy: { verifyPeer: true, authorized } } })).server;
  for (const name of ["O=facts,CN=src.example", "src.example", "alt.example", "127.0.0.1"]) {
    assertEquals(await outcome("O=nobody", name), undefined, name);
  }
  for (const name of ["CN=src.example", "facts", "a.wild.example", ".example", "", "127.0.0.2"]) {
    assertTls(await outcome(name), "DENIED", "O=facts,CN=src.example");
  }
});

test("Certificate writes whose it is as GnuTLS does", async () => {
  await using authority = await Authority.make();
  const written = async (subject: string) => {
    await authority.issue("some", { subject });
    using certificate = readCertificates(
      await Deno.readFile(authority.path("some-cert.pem")),
      "some",
    )[0]!;
    return certificate.subject;
  };
  assertEquals(await written("/C=DE/O=a, b\\+c/CN=x"), "C=DE,O=a\\, b\\+c,CN=x");
  assertEquals(await written("/CN=x/emailAddress=a@b.c"), "CN=x,EMAIL=a@b.c");
  assertEquals(await written("/CN=x+UID=7/DC=example"), "CN=x+UID=7,DC=example");
  assertEquals(await written("/CN=Zoë"), "CN=Zoë");
});

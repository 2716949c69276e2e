/** TLS sessions with real QEMU at the other end, in both roles and with both kinds of credentials. */
import "../support/native.ts";
import { assertEquals, assertInstanceOf, assertMatch, assertThrows } from "@std/assert";
import { loadCredentials } from "../../channel/tls/credentials.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { TlsError, type TlsErrorCode } from "../../ffi/tls/tls_error.ts";
import { listenForMigration, setParameters, waitForMigration } from "../../qemu/migration.ts";
import { Qemu } from "../../qemu/qemu.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { readOnce, shakeHands, writeAll } from "../tls/ends.ts";
import { filesOf, useCredentials } from "../../qemu/credentials.ts";
import { issued } from "./qemu_credentials.ts";
import { testedQemus } from "./qemus.ts";

const KEY = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

function assertTls(error: unknown, code: TlsErrorCode): void {
  assertInstanceOf(error, TlsError);
  assertEquals(error.code, code, error.message);
}

const none = (warning: string) => assertEquals(warning, "none");

/** Connects to a QEMU that listens, with credentials from a path. */
async function connect(port: number, path: string): Promise<Disposable & { session: TlsSession }> {
  const stack = new DisposableStack();
  using clients = loadCredentials(path, "client", {}, none);
  const socket = stack.use(await Socket.connect({ transport: "tcp", host: "127.0.0.1", port }));
  const session = stack.use(new TlsSession(clients, socket.fd, socket.peer, "127.0.0.1"));
  return { session, [Symbol.dispose]: () => stack.dispose() };
}

/** Says something to a QEMU that it answers by its end: it got what was written. */
async function assertHears(qemu: Qemu, port: number, path: string, cipher: string): Promise<void> {
  using connected = await connect(port, path);
  const stream = shakeHands(connected.session);
  assertEquals(stream.cipher, cipher);
  writeAll(stream, new TextEncoder().encode("no migration stream"));
  assertEquals(stream.end(), 0);
  await until("QEMU says what it got", () => /Not a migration stream/.test(qemu.stderr));
}

/** Has a QEMU migrate to a server of ours, which reads until the end. */
async function readMigration(qemu: Qemu, path: string, options = {}): Promise<TlsSession> {
  using servers = loadCredentials(path, "server", options, none);
  using listener = await Listener.listen(LOOPBACK);
  const { address } = listener;
  if (address.transport !== "tcp") throw new Error("not tcp");
  await qemu.execute("migrate", { uri: `tcp:127.0.0.1:${address.port}` });
  using socket = await within("QEMU connects", listener.accept());
  using session = new TlsSession(servers, socket.fd, socket.peer);
  const stream = shakeHands(session);
  const bytes = new Uint8Array(65_536);
  let total = 0;
  for (let count; (count = readOnce(stream, bytes)) > 0; total += count) {
    if (total === 0) assertEquals(new TextDecoder().decode(bytes.subarray(0, 4)), "QEVM");
  }
  // No version says the closing word on its main channel.
  if (total === 0) throw stream.error;
  assertEquals(stream.truncated || stream.error === undefined, true, String(stream.error));
  await waitForMigration(qemu, ["completed"]);
  return session;
}

for (const { name, binary, skip } of await testedQemus()) {
  const test = (title: string, body: () => Promise<void>) =>
    testUnless(firstOf(skip, needsOpenssl()), `${name}: ${title}`, body);

  test("a QEMU that listens with certificates hears a TlsStream, and refuses a stranger's", async () => {
    await using authority = await issued();
    await using qemu = await Qemu.start({ binary, incoming: true });
    const files = await filesOf(authority, "server");
    const object = { "qom-type": "tls-creds-x509", endpoint: "server", "verify-peer": true };
    await useCredentials(qemu, files, object);
    const port = await listenForMigration(qemu);
    {
      await using bare = await issued();
      for (const file of ["client-cert.pem", "client-key.pem"]) await Deno.remove(bare.path(file));
      await Deno.copyFile(authority.path("ca-cert.pem"), bare.path("ca-cert.pem"));
      using connected = await connect(port, bare.directory);
      const stream = shakeHands(connected.session);
      assertEquals(readOnce(stream, new Uint8Array(16)) < 0, true);
      assertTls(stream.error, "REFUSED");
    }
    {
      await using other = await issued();
      using connected = await connect(port, other.directory);
      assertTls(assertThrows(() => shakeHands(connected.session)), "UNKNOWN_AUTHORITY");
    }
    await assertHears(qemu, port, authority.directory, "TLSv1.3 TLS_AES_256_GCM_SHA384");
  });

  test("a QEMU that listens with pre-shared keys hears a TlsStream, and refuses another key", async () => {
    const directory = await Deno.makeTempDir();
    const file = async (name: string, text: string) => {
      await Deno.writeTextFile(`${directory}/${name}`, text, { mode: 0o600 });
      return `${directory}/${name}`;
    };
    try {
      await using qemu = await Qemu.start({ binary, incoming: true });
      const object = { "qom-type": "tls-creds-psk", endpoint: "server" };
      await useCredentials(qemu, { "keys.psk": `qemu:${KEY}\n` }, object);
      const port = await listenForMigration(qemu);
      const wrong = await file("wrong.psk", `qemu:${KEY.replaceAll("0", "1")}\n`);
      {
        using connected = await connect(port, wrong);
        assertTls(assertThrows(() => shakeHands(connected.session)), "REFUSED");
      }
      const right = await file("keys.psk", `qemu:${KEY}\n`);
      await assertHears(qemu, port, right, "TLSv1.3 TLS_AES_128_GCM_SHA256");
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });

  test("a QEMU that migrates with certificates is read to the end by a TlsStream", async () => {
    await using authority = await issued();
    await using qemu = await Qemu.start({ binary, stopped: true });
    const object = { "qom-type": "tls-creds-x509", endpoint: "client" };
    await useCredentials(qemu, await filesOf(authority, "client"), object);
    await readMigration(qemu, authority.directory, { authorized: ["O=facts,CN=src.example"] });
  });

  test("a QEMU that is not among those who may connect, or refuses this end, is told from others", async () => {
    await using authority = await issued();
    await using qemu = await Qemu.start({ binary, stopped: true });
    const object = { "qom-type": "tls-creds-x509", endpoint: "client" };
    await useCredentials(qemu, await filesOf(authority, "client"), object);
    const outcome = (options: object) =>
      readMigration(qemu, authority.directory, options).then(() => undefined, (error) => error);
    await setParameters(qemu, { "tls-hostname": "elsewhere.example" });
    assertTls(await outcome({}), "REFUSED");
    await waitForMigration(qemu, ["failed"]);
    const { "error-desc": reason } = await qemu.execute<{ "error-desc"?: string }>("query-migrate");
    assertMatch(reason ?? "", /elsewhere\.example/);
    await setParameters(qemu, { "tls-hostname": "" });
    // Nothing hears of this one: a source without a return path may think that all has been taken.
    assertTls(await outcome({ authorized: ["CN=src.example"] }), "DENIED");
  });

  test("a QEMU that migrates with pre-shared keys is read to the end by a TlsStream", async () => {
    const path = await Deno.makeTempFile();
    try {
      await Deno.writeTextFile(path, `other:${KEY}\n`);
      await using qemu = await Qemu.start({ binary, stopped: true });
      const object = { "qom-type": "tls-creds-psk", endpoint: "client", username: "other" };
      await useCredentials(qemu, { "keys.psk": `other:${KEY}\n` }, object);
      await readMigration(qemu, path);
    } finally {
      await Deno.remove(path);
    }
  });
}

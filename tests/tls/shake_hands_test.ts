import "../support/native.ts";
import { assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { shakeHands } from "../../channel/tls/shake_hands.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { TlsContext } from "../../ffi/tls/context.ts";
import { openSsl } from "../../ffi/tls/libssl.ts";
import { KernelTls } from "../../ffi/tls/kernel_tls.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { TlsError, type TlsErrorCode } from "../../ffi/tls/tls_error.ts";
import { waitReady } from "../../ffi/wait_ready.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Pair } from "../channel/pair.ts";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { type SkipReason, testUnless } from "../support/skip.ts";
import { Authority } from "../../qemu/authority.ts";
import { needsOpenssl } from "./authority.ts";
import { context, Ends } from "./ends.ts";

openSsl();

const KEYS = [{ identity: "qemu", key: new Uint8Array(32).fill(7) }];
const THREAD = new URL("../../channel/tls/handshake_worker.ts", import.meta.url);

function test(name: string, body: (pool: ThreadPool) => Promise<void>, reason?: SkipReason): void {
  testUnless(
    reason,
    name,
    leavingNoDescriptors(async () => {
      await using pool = new ThreadPool({ linger: 0 });
      await body(pool);
    }),
  );
}

/** Shakes hands at both ends, each on a thread of the pool. */
function both(pool: ThreadPool, { client, server }: Ends) {
  return Promise.allSettled([
    shakeHands(pool, () => client.handshake),
    shakeHands(pool, () => server.handshake),
  ]);
}

function assertTls(error: unknown, code: TlsErrorCode): void {
  assertInstanceOf(error, TlsError);
  assertEquals(error.code, code, error.message);
}

test("shakeHands tells the cipher, and whose certificate it saw", async (pool) => {
  await using authority = await Authority.make();
  await authority.issue("server", { subject: "/O=tests/CN=there" });
  using clients = context("client", authority, {});
  using servers = context("server", authority, {
    certificate: "server",
    policy: { verifyPeer: false },
  });
  using ends = await Ends.connect(clients, servers, "localhost");
  const [client, server] = await both(pool, ends);
  if (client.status === "rejected") throw client.reason;
  const { cipher, subject } = client.value;
  assertEquals([cipher, subject], ["TLSv1.3 TLS_AES_256_GCM_SHA384", "O=tests,CN=there"]);
  assertEquals(server, {
    status: "fulfilled",
    value: { cipher: "TLSv1.3 TLS_AES_256_GCM_SHA384", kernel: KernelTls.UNASKED },
  });
}, needsOpenssl());

test("shakeHands with pre-shared keys asks for them on its thread", async (pool) => {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  using ends = await Ends.connect(clients, servers);
  for (const outcome of await both(pool, ends)) {
    if (outcome.status === "rejected") throw outcome.reason;
    assertEquals(outcome.value.cipher, "TLSv1.3 TLS_AES_128_GCM_SHA256");
  }
});

test("shakeHands rejects with the TlsError of its thread", async (pool) => {
  await using authority = await Authority.make();
  await authority.issue("server");
  using clients = context("client", authority, {});
  using servers = context("server", authority, { certificate: "server" });
  using ends = await Ends.connect(clients, servers, "elsewhere.example");
  const [client, server] = await both(pool, ends);
  assertTls((client as PromiseRejectedResult).reason, "WRONG_NAME");
  assertStringIncludes((client as PromiseRejectedResult).reason.message, "elsewhere.example");
  assertTls((server as PromiseRejectedResult).reason, "REFUSED");
}, needsOpenssl());

test("shakeHands with an end that is reset says that it may not speak TLS", async (pool) => {
  using clients = TlsContext.psk("client", KEYS);
  using pair = await Pair.connect();
  using session = new TlsSession(clients, pair.here.fd, "a stranger");
  const shaking = shakeHands(pool, () => session.handshake);
  pair.there.shutdown();
  pair.there.close();
  const error = await assertRejects(() => shaking, TlsError);
  assertEquals(error.code, "REFUSED");
  assertStringIncludes(error.message, "it may not speak TLS");
});

test("shakeHands with an end that is silent gives up in time", async (pool) => {
  using clients = TlsContext.psk("client", KEYS);
  using pair = await Pair.connect();
  using session = new TlsSession(clients, pair.here.fd, "who is silent");
  const shaking = shakeHands(pool, () => session.handshake, { timeout: 50 });
  const error = await assertRejects(() => shaking, DOMException);
  assertEquals(error.name, "TimeoutError");
  assertStringIncludes(error.message, "No TLS handshake within 0.05 s: who is silent");
});

test("shakeHands ends by its signal, with the signal's reason", async (pool) => {
  using clients = TlsContext.psk("client", KEYS);
  using pair = await Pair.connect();
  using session = new TlsSession(clients, pair.here.fd, "who is silent");
  const abort = new AbortController();
  const shaking = shakeHands(pool, () => session.handshake, { signal: abort.signal });
  shaking.catch(() => {});
  await waitReady(pair.there.fd, PollEvents.IN, "its first word", {});
  abort.abort(new MigrationError("CANCELLED", "enough"));
  assertEquals((await assertRejects(() => shaking, MigrationError)).code, "CANCELLED");
  // Before it began nobody is connected to.
  const never = () => Promise.reject(new Error("connected"));
  const again = shakeHands(pool, never, { signal: abort.signal });
  assertEquals((await assertRejects(() => again, MigrationError)).code, "CANCELLED");
});

test("shakeHands rejects when its thread dies, or nobody could be connected to", async (pool) => {
  using clients = TlsContext.psk("client", KEYS);
  using pair = await Pair.connect();
  using session = new TlsSession(clients, pair.here.fd, "who is silent");
  const refused = shakeHands(pool, () => Promise.reject(new RangeError("nobody")));
  await assertRejects(() => refused, RangeError, "nobody");
  let begun = false;
  const shaking = shakeHands(pool, () => {
    begun = true;
    return session.handshake;
  });
  shaking.catch(() => {});
  await until("the handshake begins", () => begun);
  pool.kill(THREAD);
  assertEquals((await assertRejects(() => shaking, MigrationError)).code, "THREAD_DIED");
});

test("a TlsSession made before its connection is attached to it, and to another when that failed", async (pool) => {
  using clients = TlsContext.psk("client", KEYS);
  using servers = TlsContext.psk("server", KEYS);
  using session = new TlsSession(clients, -1, "the server");
  {
    using pair = await Pair.connect();
    const shaking = shakeHands(pool, () => session.attach(pair.here.fd));
    pair.there.close();
    assertTls(await assertRejects(() => shaking), "REFUSED");
  }
  using pair = await Pair.connect();
  using server = new TlsSession(servers, pair.there.fd, "the client");
  const shaken = await Promise.all([
    shakeHands(pool, () => session.attach(pair.here.fd)),
    shakeHands(pool, () => server.handshake),
  ]);
  assertEquals(shaken.map(({ cipher }) => cipher), Array(2).fill("TLSv1.3 TLS_AES_128_GCM_SHA256"));
});

for (
  const [what, made, code] of [
    ["not accepted by a peer that leaves without a word", "at its connection", "TLS_FAILED"],
    ["cut off by a peer that accepted another of its connections", "before", "CONNECTION_LOST"],
  ] as const
) {
  test(`a TlsSession made ${made} is taken for ${what}`, async (pool) => {
    using clients = TlsContext.psk("client", KEYS);
    using servers = TlsContext.psk("server", KEYS);
    using pair = await Pair.connect();
    const { fd } = pair.here;
    using session = new TlsSession(clients, made === "before" ? -1 : fd, "the server");
    using server = new TlsSession(servers, pair.there.fd, "the client");
    await Promise.all([
      shakeHands(pool, () => made === "before" ? session.attach(fd) : session.handshake),
      shakeHands(pool, () => server.handshake),
    ]);
    const end = new SendingEnd({ fd, tls: { ...session.init, fd } }, TO_DESTINATION.PREEMPT);
    pair.there.close();
    let error: unknown;
    await until("a write to fail", () => {
      try {
        end.offer(new Uint8Array(16), 16);
        return false;
      } catch (thrown) {
        error = thrown;
        return true;
      }
    });
    assertInstanceOf(error, MigrationError);
    assertEquals(error.code, code, error.message);
  });
}
